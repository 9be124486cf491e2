"""From an annotator's marks to items: what VOC, YOLO, LabelMe, Label Studio, CVAT and others share.

The rules, the same for every form:

- An image is normal when its annotation marks nothing, or its label says so (`labels`).
- An image without any annotation is left out and counted, except where `unlabelled=normal` says
  that the annotators passed over what is in order.
- Boxes lie in the size that the annotation states, else in the image; `frames` holds the one
  against the other.
- Regions become a mask where every mark of the image has one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from anomalyr1.data.fault_lists import refusal
from anomalyr1.data.images import image_size
from anomalyr1.data.making.frames import OUTSIDE
from anomalyr1.data.making.labels import is_in_order
from anomalyr1.data.making.questions import words
from anomalyr1.data.making.shapes import Shape, bounds
from anomalyr1.data.making.sources.item import Item, Source, require_items
from anomalyr1.errors import InputError, unknown
from anomalyr1.geometry import clamp
from anomalyr1.schema import Box

P = ParamSpec("P")
T = TypeVar("T")
UNLABELLED = "images without an annotation"


@dataclass(frozen=True, slots=True)
class Mark:
    """One marked place: a box, or a region whose bounds are the box. Pixels of the image."""

    label: str | None
    box: Box | None = None
    shape: Shape | None = None


@dataclass(frozen=True, slots=True)
class Annotated:
    """One image and what was said about it.

    Attributes:
        file: the image.
        where: how an error names the annotation.
        marks: places.
        labels: labels of the whole image.
        declared: (width, height) that the annotation states; None where it states none.
        split: train, valid or test; None where the source has no sides.
    """

    file: Path
    where: str
    marks: tuple[Mark, ...] = ()
    labels: tuple[str, ...] = ()
    declared: tuple[int, int] | None = None
    split: str | None = None


@dataclass
class Faults:
    """Faults of single annotations, gathered so that all of them are told at once."""

    lines: list[str] = field(default_factory=list)

    def keep(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        """The result of a call; None where it was refused, and the refusal is kept."""
        try:
            return work(*args, **kwargs)
        except InputError as fault:
            self.lines.append(str(fault))
            return None

    def refuse(self) -> None:
        """Raise what was gathered: the count, the first ten, and a file with all.

        Raises:
            InputError: there is a fault.
        """
        if self.lines:
            raise (
                refusal("{} annotation{s} cannot be used; mend them:", self.lines)
                if len(self.lines) > 1
                else InputError(self.lines[0])
            )


def make_source(
    name: str,
    root: Path,
    tree: str,
    annotated: Sequence[Annotated],
    faults: Faults,
    *,
    dataset: str | None,
    category: str,
    unlabelled: Iterable[Path] = (),
    unlabelled_as: str = "leave",
    left_out: dict[str, int] | None = None,
    options: dict[str, Any] | None = None,
    licence: str = "the user's",
    citation: str = "the user's",
    url: str = "",
) -> Source:
    """The source of a tree of annotations.

    Args:
        name: the reader's name.
        root: the folder that was read.
        tree: what the reader expects, for the error of an empty tree.
        annotated: what was read.
        faults: what could not be read; raised here together with what the images refuse.
        dataset: first part of the keys; the folder's name where None.
        category: the product.
        unlabelled: images that no annotation names.
        unlabelled_as: "normal" or "leave".
        left_out: counts of what the reader passed over.
        options: the reader's choices, for the manifest.
        licence: of the data.
        citation: of the data.
        url: where the data come from.

    Raises:
        InputError: annotations or images cannot be used, or there is none.
    """
    if unlabelled_as not in ("leave", "normal"):
        raise unknown("unlabelled", unlabelled_as, ("leave", "normal"))
    folder = root if root.is_dir() else root.parent
    key = dataset or folder.resolve().name
    passed = dict(left_out or {})
    annotated = list(annotated)
    bare = list(unlabelled)
    if unlabelled_as == "normal":
        annotated += [Annotated(file, str(file)) for file in bare]
    elif bare:
        passed[UNLABELLED] = len(bare)
    _refuse_twice(annotated, faults)
    names = _names([entry.file for entry in annotated], folder)
    items = []
    for entry, file_name in zip(annotated, names, strict=True):
        item = faults.keep(_item, entry, file_name, key, category)
        if item is not None:
            items.append(item)
    faults.refuse()
    partly = sum(bool(i.boxes) and not i.shapes for i in items)
    notes = [f"{partly} images have marks without a region: they get no mask"] if partly else []
    return Source(
        name,
        licence,
        citation,
        url,
        require_items(items, root, tree),
        options={"dataset": dataset, "category": category, **(options or {})},
        left_out={what: count for what, count in passed.items() if count},
        notes=tuple(notes) if any(item.shapes for item in items) else (),
    )


def number(value: Any, what: str, where: str) -> float:
    """A finite number out of JSON or text.

    Raises:
        InputError: it is none.
    """
    try:
        if isinstance(value, (bool, list, dict)) or value is None:
            raise ValueError
        found = float(value)
    except (ValueError, OverflowError):
        found = float("nan")
    if found != found or found in (float("inf"), float("-inf")):
        shown = repr(value)[:40]
        raise InputError(f"expected a number for {what} at {where}, found {shown}; mend it")
    return found


def declared_size(width: Any, height: Any, where: str) -> tuple[int, int] | None:
    """A stated size; None where the annotation leaves it out or writes zeros."""
    if width in (None, "", 0, "0") or height in (None, "", 0, "0"):
        return None
    return int(number(width, "width", where)), int(number(height, "height", where))


def require_size(file: Path, declared: tuple[int, int] | None, where: str) -> None:
    """Refuse an annotation in pixels (a mask) that states another size than the image has.

    Raises:
        InputError: it does, or the image cannot be read.
    """
    size = image_size(file)
    if declared not in (size, size[::-1], None):  # swapped: of the image before EXIF turned it
        width, height = declared or size
        raise InputError(
            f"expected {file} to have the {width} x {height} pixels that {where} declares, found "
            f"{size[0]} x {size[1]}; bring the image that was annotated"
        )


def _item(entry: Annotated, name: str, dataset: str, category: str) -> Item:
    marked = [label for mark in entry.marks if (label := mark.label)]
    normals = [label for label in entry.labels if is_in_order(label)]
    others = [label for label in (*entry.labels, *marked) if not is_in_order(label)]
    if normals and (others or any(mark.label is None for mark in entry.marks)):
        what = f"the label {others[0]!r}" if others else "marked defects"
        raise InputError(
            f"expected one verdict of {entry.where}, found that it calls {entry.file} "
            f"{normals[0]!r} and has {what}; keep one of the two"
        )
    frame = entry.declared or image_size(entry.file)
    boxes = tuple(_box(mark, frame, entry) for mark in entry.marks)
    types = sorted({words(label) for label in (*entry.labels, *marked)})
    normal = not entry.marks and not entry.labels
    folder = "multiple" if len(types) > 1 else "".join(types).replace(" ", "_") or "defect"
    shapes = tuple(
        replace(mark.shape, label=words(mark.label) if mark.label else None)
        for mark in entry.marks
        if mark.shape is not None
    )
    return Item(
        entry.file,
        dataset,
        category,
        "good" if normal else folder,
        name,
        words(category),
        defects=tuple(types),
        boxes=boxes if normal or entry.marks else None,
        shapes=shapes if len(shapes) == len(entry.marks) else (),
        split=entry.split,
        declared=entry.declared,
    )


def _box(mark: Mark, frame: tuple[int, int], entry: Annotated) -> Box:
    """The box of a mark; what ends up to a pixel outside is cut by the builder, and told."""
    box = mark.box if mark.box is not None else bounds(mark.shape or Shape())
    width, height = frame
    out = max(-box.x1, -box.y1, box.x2 - width, box.y2 - height)
    inside = clamp(box, width, height)
    if out > OUTSIDE or inside.area <= 0:
        what = "inside" if out > OUTSIDE else "with an area inside"
        raise InputError(
            f"expected a box {what} the {width} x {height} pixels of {entry.file} at "
            f"{entry.where}, found {[round(value, 2) for value in box.xyxy]}; mend the annotation"
        )
    return Box(*box.xyxy, words(mark.label) if mark.label else None)


def _refuse_twice(annotated: Sequence[Annotated], faults: Faults) -> None:
    seen: dict[Path, str] = {}
    for entry in annotated:
        first = seen.setdefault(entry.file, entry.where)
        if first != entry.where:
            faults.lines.append(
                f"expected one annotation of {entry.file}, found {first} and {entry.where}; "
                "keep one"
            )


def _names(files: Sequence[Path], root: Path) -> list[str]:
    """File names where no two are alike, else paths below the root joined into names."""
    stems = Counter(file.stem.casefold() for file in files)
    if all(count == 1 for count in stems.values()):
        return [file.name for file in files]
    return ["_".join(file.relative_to(root).parts) for file in files]
