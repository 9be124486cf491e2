"""From an annotator's marks to items: what VOC, YOLO, LabelMe, Label Studio, CVAT and others share.

The rules, the same for every form:

- An image is normal when its annotation marks nothing, or its label says so (good, ok, pass, ...).
- An image without any annotation is left out and counted, except where `unlabelled=normal` says
  that the annotators passed over what is in order.
- A box may end up to a pixel outside (rounding); it is cut and counted. Further out is refused.
- A size that the annotation states must be the image's, or its boxes are in another frame.
- Regions become a mask where every mark of the image has one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from anomalyr1.data.images import image_size
from anomalyr1.data.making.questions import words
from anomalyr1.data.making.shapes import Shape, bounds
from anomalyr1.data.making.sources.item import Item, Source, require_items
from anomalyr1.data.making.verdict_words import names_no_type, says_normal
from anomalyr1.errors import InputError
from anomalyr1.geometry import clamp
from anomalyr1.schema import Box

P = ParamSpec("P")
T = TypeVar("T")
SLACK = 1.0  # pixels that a box may end outside the image
SHOWN_FAULTS = 10
CLIPPED = "boxes cut by up to a pixel"
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
        """Raise what was gathered: the count, then the first ten.

        Raises:
            InputError: there is a fault.
        """
        if not self.lines:
            return
        if len(self.lines) == 1:
            raise InputError(self.lines[0])
        shown = self.lines[:SHOWN_FAULTS]
        rest = len(self.lines) - len(shown)
        more = [f"... and {rest} more of the kind"] if rest else []
        raise InputError(
            "\n".join([f"{len(self.lines)} annotations cannot be used; mend them:", *shown, *more])
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
        raise InputError(f"expected unlabelled=leave or normal, found {unlabelled_as!r}")
    folder = root if root.is_dir() else root.parent
    key = dataset or folder.resolve().name
    passed = Counter(left_out or {})
    annotated = list(annotated)
    bare = list(unlabelled)
    if unlabelled_as == "normal":
        annotated += [Annotated(file, str(file)) for file in bare]
    elif bare:
        passed[UNLABELLED] += len(bare)
    _refuse_twice(annotated, faults)
    names = _names([entry.file for entry in annotated], folder)
    items = []
    for entry, file_name in zip(annotated, names, strict=True):
        item = faults.keep(_item, entry, file_name, key, category, passed)
        if item is not None:
            items.append(item)
    faults.refuse()
    return Source(
        name,
        licence,
        citation,
        url,
        require_items(items, root, tree),
        options={"dataset": dataset, "category": category, **(options or {})},
        left_out={what: count for what, count in passed.items() if count},
    )


def safe_name(text: str) -> str:
    """A label or a path as one name of a folder or a file.

    >>> safe_name("n/a: edge"), safe_name("../../x")
    ('n_a_edge', '_x')
    """
    plain = re.sub(r'[\s<>:"/\\|?*\x00-\x1f]+', "_", text.strip())
    return re.sub(r"^[._]*\.[._]*", "_", plain).rstrip(". ") or "unnamed"


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


def require_size(file: Path, declared: tuple[int, int] | None, where: str) -> tuple[int, int]:
    """The size (width, height) of an image, which must be the one that its annotation states.

    Raises:
        InputError: it is another, or the image cannot be read.
    """
    size = image_size(file)
    if declared not in (None, size):
        width, height = declared or size
        turned = " (its sides are swapped: turned by EXIF?)" if size == (height, width) else ""
        raise InputError(
            f"expected {file} to have the {width} x {height} pixels that {where} states, found "
            f"{size[0]} x {size[1]}{turned}; bring the image that was annotated"
        )
    return size


def _item(entry: Annotated, name: str, dataset: str, category: str, passed: Counter[str]) -> Item:
    size = image_size(entry.file)
    if entry.declared not in (None, size):
        width, height = entry.declared or size
        turned = " (its sides are swapped: turned by EXIF?)" if size == (height, width) else ""
        raise InputError(
            f"expected {entry.file} to have the {width} x {height} pixels that {entry.where} "
            f"states, found {size[0]} x {size[1]}{turned}; bring the image that was annotated"
        )
    marks = [mark for mark in entry.marks if not (mark.label and says_normal(mark.label))]
    if len(marks) < len(entry.marks):
        passed["marks whose label says normal"] += len(entry.marks) - len(marks)
    normals = [label for label in entry.labels if says_normal(label)]
    others = [label for label in entry.labels if not says_normal(label)]
    if normals and (marks or others):
        what = f"the label {others[0]!r}" if others else f"{len(marks)} marked defects"
        raise InputError(
            f"{entry.where} calls {entry.file} {normals[0]!r} and has {what}; keep one of the two"
        )
    boxes = tuple(_box(mark, size, entry, passed) for mark in marks)
    types = sorted({_type(label) for label in (*others, *(m.label for m in marks))} - {""})
    normal = not marks and not others
    folder = "good" if normal else "multiple" if len(types) > 1 else "".join(types) or "defect"
    shapes = tuple(_labelled(mark.shape, mark.label) for mark in marks if mark.shape is not None)
    if shapes and len(shapes) < len(marks):
        passed["masks of images that have plain boxes besides"] += 1
        shapes = ()
    return Item(
        entry.file,
        safe_name(dataset),
        safe_name(category),
        folder if normal else safe_name(folder),
        name,
        words(category),
        defects=tuple(types),
        boxes=boxes if normal or marks else None,
        shapes=shapes,
        split=entry.split,
    )


def _type(label: str | None) -> str:
    return "" if not label or names_no_type(label) else words(label)


def _labelled(shape: Shape, label: str | None) -> Shape:
    return Shape(_type(label) or None, shape.rings, shape.code, shape.size)


def _box(mark: Mark, size: tuple[int, int], entry: Annotated, passed: Counter[str]) -> Box:
    box = mark.box if mark.box is not None else bounds(mark.shape or Shape())
    width, height = size
    out = max(-box.x1, -box.y1, box.x2 - width, box.y2 - height)
    corners = [round(value, 2) for value in box.xyxy]
    if out > SLACK:
        raise InputError(
            f"expected the box inside the {width} x {height} pixels of {entry.file} at "
            f"{entry.where}, found {corners}; mend the annotation"
        )
    inside = clamp(box, width, height)
    if inside.x2 <= inside.x1 or inside.y2 <= inside.y1:
        raise InputError(
            f"expected a box with an area in {entry.file} at {entry.where}, found {corners}; "
            "mend the annotation"
        )
    passed[CLIPPED] += out > 0
    return Box(*inside.xyxy, _type(mark.label) or None)


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
        return [safe_name(file.name) for file in files]
    return [safe_name("_".join(file.relative_to(root).parts)) for file in files]
