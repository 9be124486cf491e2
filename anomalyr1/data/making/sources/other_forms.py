"""Trees whose folders are not labels, told by their names, and the source that reads them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from anomalyr1.data.making.sources.item import found_in
from anomalyr1.errors import InputError

# Folders that hold images or annotations in other forms; none is a type of defect.
STRUCTURE = frozenset(
    {"images", "image", "imgs", "img", "labels", "annotations", "jpegimages", "imagesets"}
)


def form_of(folder: Path) -> tuple[str, str] | None:
    """The form of the annotations in or beside a folder, and the source that reads it.

    Looks into `folder` and the one above it; None where there is none that is known.
    """
    for place in (folder, folder.parent):
        if _has(place, "labels", "*.txt"):
            return "images/ and labels/: a detection tree (YOLO)", "yolo"
        if _has(place, "annotations", "*.xml"):
            return "images and Annotations/*.xml: a Pascal VOC tree", "voc"
        if found_in(place, "*coco*.json") or _has(place, "annotations", "*.json"):
            return "images and a COCO file", "coco"
        if any(image.with_suffix(".json").exists() for image in found_in(place, "images/*.*g")):
            return "images with a JSON file each: a LabelMe tree", "labelme"
        if (place / "annotations.xml").exists():
            return "images/ and annotations.xml: a CVAT export", "cvat"
    return None


def refuse_other_form(part: Path, labels: Iterable[Path], tree: str) -> None:
    """Refuse a tree where folders like images/ would be taken for types of defects.

    Raises:
        InputError: there is such a folder; the form, and the source that reads it, are named.
    """
    structure = [label for label in labels if label.name.casefold() in STRUCTURE]
    if not structure:
        return
    form = form_of(part)
    if form is None:
        raise InputError(
            f"expected {tree}, found {structure[0]}, which is no label; name the folders of images "
            "by what is wrong with the parts, or give the annotations"
        )
    found, source = form
    raise InputError(
        f"expected {tree}, found {found} in {part}; read it with `data build {source}`"
    )


def _has(place: Path, folder: str, pattern: str) -> bool:
    """True when the folder of that name (in any case) holds such files, or one below it does."""
    return place.is_dir() and any(
        below.is_dir()
        and below.name.casefold() == folder
        and (found_in(below, pattern) or found_in(below, f"*/{pattern}"))
        for below in place.iterdir()
    )
