"""The records of one COCO file, each checked and every fault named with its image."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard, cast

from anomalyr1.data.fault_lists import refusal
from anomalyr1.data.making.questions import words
from anomalyr1.data.making.shapes import Shape, bounds, from_counts, polygon
from anomalyr1.errors import InputError
from anomalyr1.schema import Box
from anomalyr1.values import is_number

Entry = dict[str, Any]


@dataclass(slots=True)
class CocoImage:
    """One image of a COCO file with its annotations.

    `size` is the declared (width, height), None where none is stated; `shapes` are empty unless
    every annotation of the image has one.
    """

    name: str
    size: tuple[int, int] | None
    boxes: list[Box] = field(default_factory=list)
    shapes: list[Shape] = field(default_factory=list)


def read_records(content: Any, file: Path, tree: str) -> list[CocoImage]:
    """The images of a COCO file in their order.

    Raises:
        InputError: the file has another form, or faults, which are all listed.
    """
    if not isinstance(content, dict):
        raise InputError(
            f"expected {tree} in {file}, found {type(content).__name__}; mend the file"
        )
    faults: list[str] = []
    parts = {
        key: _entries(content, key, file, tree) for key in ("categories", "images", "annotations")
    }
    names: dict[Hashable, str] = {}
    for entry in parts["categories"]:
        key, name = _id(entry.get("id")), entry.get("name")
        if key is None or not isinstance(name, str) or not name.strip():
            faults.append(f"expected a category with an id and a name, found {entry}")
        elif key in names:
            faults.append(f"the category id {key} is given twice: {names[key]!r} and {name!r}")
        else:
            names[key] = words(name)
    images = _images(parts["images"], faults)
    drawn: dict[Hashable, list[Shape | None]] = defaultdict(list)
    for number, entry in enumerate(parts["annotations"]):
        where = f"annotation {entry.get('id', number)}"
        image = images.get(_id(entry.get("image_id")))
        label = names.get(_id(entry.get("category_id")))
        if image is None or label is None:
            faults.append(
                f"{where} belongs to an unknown image or category: image_id "
                f"{entry.get('image_id')!r}, category_id {entry.get('category_id')!r}"
            )
            continue
        try:
            box, shape = _annotation(entry, label, image.size, f"{where} of {image.name}")
        except InputError as fault:
            faults.append(str(fault))
            continue
        image.boxes.append(box)
        drawn[_id(entry["image_id"])].append(shape)
    if faults:
        raise refusal(f"{file} has {{}} fault{{s}}; mend the file:", faults)
    for key, shapes in drawn.items():
        images[key].shapes = [s for s in shapes if s] if all(shapes) else []
    return list(images.values())


def _entries(content: Mapping[str, Any], key: str, file: Path, tree: str) -> list[Entry]:
    value = content.get(key)
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        found = "none" if value is None else f"{type(value).__name__} of other things"
        raise InputError(
            f"expected {tree} in {file}: a list of objects under {key!r}, found {found}; "
            "mend the file"
        )
    return value


def _id(value: Any) -> Hashable:
    """An id as a dictionary key; None for what is none (1 and true are equal in Python)."""
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        return None
    return value


def _images(entries: Sequence[Entry], faults: list[str]) -> dict[Hashable, CocoImage]:
    images: dict[Hashable, CocoImage] = {}
    ids: dict[str, Hashable] = {}
    for entry in entries:
        key, name = _id(entry.get("id")), entry.get("file_name")
        if key is None or not isinstance(name, str) or not name.strip() or "\0" in name:
            faults.append(f"expected an image with an id and a file_name, found {entry}")
            continue
        size = entry.get("width"), entry.get("height")
        stated = all(isinstance(v, int) and not isinstance(v, bool) and v > 0 for v in size)
        if not stated and any(value not in (None, 0) for value in size):
            faults.append(f"expected width and height of {name} in pixels, found {list(size)}")
        if key in images:
            faults.append(f"the image id {key} is given twice: {images[key].name} and {name}")
        elif name in ids:
            faults.append(f"the image {name} has two ids: {ids[name]} and {key}")
        else:
            images[key] = CocoImage(name, (int(size[0]), int(size[1])) if stated else None)  # type: ignore[arg-type]
        ids.setdefault(name, key)
    return images


def _annotation(
    entry: Entry, label: str, size: tuple[int, int] | None, where: str
) -> tuple[Box, Shape | None]:
    if entry.get("iscrowd"):
        raise InputError(
            f"expected one defect at {where}, found a crowd region; draw its defects one by one"
        )
    shape = _shape(entry.get("segmentation"), label, size, where)
    numbers = entry.get("bbox")
    if not numbers and shape is not None:
        box = bounds(shape)
    elif not _numbers(numbers) or len(numbers) != 4:
        raise InputError(
            f"expected bbox [x, y, width, height] at {where}, found {numbers!r}; mend it"
        )
    else:
        x, y, width, height = (float(value) for value in numbers)
        box = Box(x, y, x + width, y + height, label)
    if not (box.x1 < box.x2 and box.y1 < box.y2):
        raise InputError(f"expected a box with an area at {where}, found {numbers}; mend it")
    return box, shape


def _shape(value: Any, label: str, size: tuple[int, int] | None, where: str) -> Shape | None:
    if value is None or value in ([], {}, [[]]):
        return None
    if isinstance(value, dict):
        counts, frame = value.get("counts"), value.get("size")
        whole = isinstance(counts, str) or (_numbers(counts) and all(v == int(v) for v in counts))
        if not whole or not _numbers(frame) or len(frame) != 2 or not min(frame) >= 1:
            raise InputError(
                f"expected run lengths {{counts, size: [height, width]}} at {where}, found others; "
                "mend them"
            )
        return from_counts(
            cast("str | list[int]", counts), (int(frame[1]), int(frame[0])), label, where
        )
    rings = [value] if _numbers(value) else value
    if not isinstance(rings, list) or not all(_numbers(ring) for ring in rings):
        raise InputError(
            f"expected polygons of numbers at {where}, found {str(value)[:60]}; mend them"
        )
    corners = [polygon(ring, label, where).rings[0] for ring in rings]
    return Shape(label, tuple(corners))


def _numbers(value: Any) -> TypeGuard[list[float]]:
    return isinstance(value, list) and bool(value) and all(is_number(v) for v in value)


def repeated(images: Sequence[CocoImage]) -> int:
    """Annotations that say again what another one says, taken out of `images`."""
    number = 0
    for image in images:
        if max(Counter(image.boxes).values(), default=1) > 1:
            kept = list(dict.fromkeys(image.boxes))
            number += len(image.boxes) - len(kept)
            image.boxes = kept
    return number
