"""A COCO detection file whose categories are types of defects, or a tree with one for each side.

Licence and citation are the user's. ROOT is the JSON file, or a folder::

    <any>.json   annotations/<any>.json            one file
    annotations/<side>.json (instances_train2017.json)   with images in <side>/ or images/<side>/
    <side>/_annotations.coco.json                  with its images beside it (Roboflow)

where a side is train, valid (val) or test. Images are looked for in `images=DIR` if that is given,
else beside the file, in images/, in the folder above, and in the side's folder there. A name that
climbs (`../images/1.png`) or is absolute has to stay below `images=DIR` or ROOT (or the folder that
holds annotations/, where that is ROOT)::

    {"images": [{"id", "file_name"}], "categories": [{"id", "name"}],
     "annotations": [{"image_id", "category_id", "bbox": [x, y, width, height], "segmentation"}]}

An image without annotations is normal, so the file has to annotate every defect. Polygons and run
lengths become masks where all annotations of an image have them. Hidden files are passed over.
Refused, each by name: several files that are no sides, an annotation of an unknown image or
category, a box without area, a crowd region (its boxes do not count defects), two images or
categories of one id, one file under two ids, an image that is not there or there twice, a declared
width and height that are not the file's (unless `rescale=true` and the shape is the same).
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from anomalyr1.data.fault_lists import refusal
from anomalyr1.data.making.questions import words
from anomalyr1.data.making.sources.coco_records import CocoImage, read_records, repeated
from anomalyr1.data.making.sources.image_names import files_below, files_in, outside_image
from anomalyr1.data.making.sources.item import (
    Item,
    Source,
    folders_in,
    found_in,
    not_one_file,
    require_items,
)
from anomalyr1.errors import InputError, listed
from anomalyr1.storage import read_json
from anomalyr1.values import is_below

TREE = "a COCO file with images, categories and annotations"

_SIDES = {"train": "train", "training": "train", "val": "valid", "valid": "valid"}
_SIDES |= {"validation": "valid", "test": "test", "testing": "test"}
_SIDE = re.compile(r"(?:^|[^a-z])(train(?:ing)?|val(?:id(?:ation)?)?|test(?:ing)?)(?![a-z])")


def read_coco(
    root: Path,
    *,
    dataset: str | None = None,
    category: str = "product",
    images: str = "",
) -> Source:
    """Read a COCO file or a tree of them.

    Args:
        root: the file or the tree.
        dataset: first part of the keys; the folder's name by default.
        category: the product.
        images: folder of the images, relative to ROOT or absolute; empty to look for them.

    Raises:
        InputError: a file is broken, or images are missing.
    """
    found, passed_over = _find(root)
    folder = root if root.is_dir() else root.parent
    name = dataset or folder.resolve().name
    if images and not (folder / images).is_dir():
        raise InputError(
            f"expected a folder of images at {folder / images}, found none; correct images=DIR"
        )
    items, notes = [], []
    twice = 0
    for side, file, content in found:
        records = read_records(content, file, TREE)
        twice += repeated(records)
        given = folder / images if images else None
        folders = _image_folders(file, given)
        prefix = f"{side}_" if len(found) > 1 else ""
        tree = folder.parent if folder.name.casefold() == "annotations" else folder
        roots = [tree] if given is None else [tree, given]
        items += _items(records, file, folders, roots, side, (name, category, prefix))
    if passed_over:
        notes.append(f"not COCO, passed over: {listed([file.name for file in passed_over])}")
    if twice:
        notes.append(f"{twice} annotations repeat another one exactly; each is taken once")
    partly = sum(bool(item.boxes) and not item.shapes for item in items)
    if partly and any(item.shapes for item in items):
        notes.append(f"{partly} images have annotations without a region: they get no mask")
    return Source(
        "coco",
        "the user's",
        "the user's",
        "",
        require_items(items, root, TREE),
        options={"dataset": dataset, "category": category, "images": images},
        notes=tuple(notes),
    )


def _find(root: Path) -> tuple[list[tuple[str | None, Path, Any]], list[Path]]:
    """Sides, files and contents, and the JSON files beside them that are no COCO files."""
    if root.is_file():
        return [(None, root, read_json(root, TREE))], []
    sides = [folder for folder in folders_in(root) if folder.name.casefold() in _SIDES]
    below = [file for folder in sides for file in found_in(folder, "*.json")]
    seen: list[Path] = []
    for files in (found_in(root, "*.json"), found_in(root, "annotations/*.json"), below):
        contents = [(file, read_json(file, TREE)) for file in files]
        good = [
            (file, content) for file, content in contents if len(files) == 1 or _is_coco(content)
        ]
        seen += files
        if not good:
            continue
        passed_over = [file for file in files if file not in dict(good)]
        if len(good) == 1:
            return [(None, *good[0])], passed_over
        named = [(_side(file), file, content) for file, content in good]
        if None not in [side for side, _, _ in named] and len({s for s, _, _ in named}) == len(
            named
        ):
            return list(named), passed_over
        names = listed([file.relative_to(root).as_posix() for file, _ in good])
        raise InputError(
            f"expected one COCO file under {root}, or one for each of train, valid and test, "
            f"found {names}; name the file"
        )
    found = listed([file.relative_to(root).as_posix() for file in seen]) or "none"
    raise not_one_file("COCO file", root, found)


def _is_coco(content: Any) -> bool:
    return isinstance(content, dict) and {"images", "annotations", "categories"} <= content.keys()


def _side(file: Path) -> str | None:
    """The side a file is of, by its folder or its name."""
    if file.parent.name.casefold() in _SIDES:
        return _SIDES[file.parent.name.casefold()]
    found = _SIDE.findall(file.stem.casefold())
    return _SIDES[found[0]] if len(set(found)) == 1 else None


def _image_folders(file: Path, given: Path | None) -> list[Path]:
    """Where the images of a file may be; side folders carry the side's name as the file has it."""
    spelled = re.findall(r"[a-z]*(?:train|val|test)[a-z]*\d*", file.stem.casefold())
    spelled = [name.rsplit("_", 1)[-1] for name in spelled]
    above = file.parent.parent
    bases = [given] if given else [file.parent, file.parent / "images", above, above / "images"]
    own = [base / name for name in spelled for base in bases]
    return [folder for folder in dict.fromkeys((*own, *bases)) if folder.is_dir()]


def _items(
    records: Sequence[CocoImage],
    file: Path,
    folders: Sequence[Path],
    roots: Sequence[Path],
    side: str | None,
    names: tuple[str, str, str],
) -> list[Item]:
    dataset, category, prefix = names
    items, faults = [], []
    for record in records:
        try:
            image = _image(file, record.name, folders, roots)
        except InputError as fault:
            faults.append(str(fault))
            continue
        types = tuple(sorted({str(box.label) for box in record.boxes}))
        items.append(
            Item(
                image,
                dataset,
                category,
                {0: "good", 1: "".join(types).replace(" ", "_")}.get(len(types), "multiple"),
                prefix + record.name.replace("/", "_"),
                words(category),
                defects=types,
                boxes=tuple(record.boxes),
                shapes=tuple(record.shapes),
                split=side,
                declared=record.size,
            )
        )
    if faults:
        raise refusal("{} image{s} cannot be used; mend them, or give --set images=DIR:", faults)
    return items


def _image(file: Path, name: str, folders: Sequence[Path], roots: Sequence[Path]) -> Path:
    plain = Path(os.path.normpath(name))
    places = [folder / plain for folder in folders]
    leads_away = plain.is_absolute() or plain.parts[:1] == (os.pardir,)
    if leads_away:
        limits = [os.path.abspath(root) for root in roots]  # noqa: PTH100 - follows no link
        normal = dict.fromkeys(os.path.abspath(place) for place in places)  # noqa: PTH100
        places = [Path(p) for p in normal if any(is_below(p, limit) for limit in limits)]
    found = [place for place in places if os.path.isfile(place)]  # noqa: PTH113
    if not found and not leads_away:  # accents written whole, or apart
        ways = [unicodedata.normalize(form, str(plain)) for form in ("NFC", "NFD")]
        places = [folder / way for folder in folders for way in dict.fromkeys(ways)]
        found = [place for place in places if os.path.isfile(place)]  # noqa: PTH113
    if not found and leads_away:
        raise outside_image(name, str(file), roots[-1])
    if not found:
        raise InputError(
            f"expected the image {name!r} of {file} beside or above it, found no such file; add it"
        )
    if any(path.read_bytes() != found[0].read_bytes() for path in found[1:]):
        raise InputError(
            f"expected one image {name!r} of {file}, found two that differ, {found[0]} and "
            f"{found[-1]}; give --set images=DIR"
        )
    return found[0]


def looks_like(root: Path) -> str | None:
    """What there is of this form in ROOT, in words; None without it."""
    files = []
    for file in files_in(root, "*.json", "annotations/*.json", "*/*.json"):
        content = file.read_bytes().replace(b"\0", b"")
        if all(key in content for key in (b'"images"', b'"annotations"', b'"categories"')):
            files.append(file)
    if not files:
        return None
    folder = root if root.is_dir() else root.parent
    named = ", ".join(str(file.relative_to(folder)) for file in files)
    return f"COCO files {named}, {sum(1 for _ in files_below(folder))} images"
