"""A user's own folders, and every data set laid out like MVTec-AD.

Licence and citation are the user's. Expected tree, for one product (ROOT is the product) or for
several (ROOT holds the products)::

    train/good/*                 normal images, shown as references only (optional)
    test/good/*  test/<defect>/*
    ground_truth/<defect>/<name>_mask.png or <name>.png, or a directory <name>/ (optional)

or, without train and test::

    good/*  <defect>/*           masks in masks/<defect>/ or ground_truth/<defect>/ (optional)

Boxes may stand in `boxes.json` beside these folders: {"test/scratch/1.png": [[x1, y1, x2, y2,
"label"], ...]}, in pixels, x2 and y2 exclusive, the label optional. They win over a mask.

Refused: no image, a product without a good folder, boxes.json naming a file that is not there. A
defect folder without masks and boxes is accepted; it then has no questions about the place. A
folder called bad, defective, combined or the like names no type, so the type is not asked for.
Without train/good some normal images are set aside as references (the builder's `reserve`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from anomalyr1.data.making.questions import words
from anomalyr1.data.making.sources.image_names import files_below
from anomalyr1.data.making.sources.item import (
    Item,
    Source,
    find_mask,
    folders_in,
    images_in,
    require_items,
)
from anomalyr1.data.making.verdict_words import says_normal
from anomalyr1.errors import InputError
from anomalyr1.schema import Box
from anomalyr1.storage import read_json

TREE = "train/good and test/<good|defect>, or good/ and <defect>/ folders, of one or more products"
_MASKS = ("ground_truth", "masks")
_NAMELESS = frozenset(
    {"bad", "ng", "anomaly", "anomalous", "defect", "defective", "combined", "multiple", "mixed"}
)
_NOT_DEFECTS = frozenset({*_MASKS, "train", "test", "validation"})


def read_folder(root: Path, *, dataset: str | None = None) -> Source:
    """Read a user's own folders; `dataset` names them in the keys (default: ROOT's name).

    Raises:
        InputError: the tree is not there, or boxes.json is broken.
    """
    name = dataset or root.resolve().name
    return Source(
        name="folder",
        licence="the user's",
        citation="the user's",
        url="",
        items=require_items(read_products(root, name), root, TREE),
        options={"dataset": name},
    )


def read_products(root: Path, dataset: str) -> Iterator[Item]:
    """Items of one product at ROOT, or of each product below it."""
    products = [root] if _is_product(root) else [f for f in folders_in(root) if _is_product(f)]
    for product in products:
        boxes = _read_boxes(product)
        yield from read_product(product, dataset, product.resolve().name, boxes)


def read_product(
    product: Path, dataset: str, category: str, boxes: dict[Path, tuple[Box, ...]] | None = None
) -> Iterator[Item]:
    """Items of one product folder."""
    boxes = boxes or {}
    for part in ("train", "validation"):
        for image in images_in(product / part / "good"):
            name = image.name if part == "train" else f"{part}_{image.name}"
            yield Item(image, dataset, category, "good", name, words(category), reference=True)
    tests = product / "test" if (product / "test").is_dir() else product
    for folder in folders_in(tests):
        if tests == product and folder.name in _NOT_DEFECTS:
            continue
        normal, nameless = folder.name == "good", folder.name.lower() in _NAMELESS
        for image in images_in(folder):
            masks = (find_mask(product / name / folder.name, image.stem) for name in _MASKS)
            yield Item(
                image,
                dataset,
                category,
                folder.name,
                image.name,
                words(category),
                defects=() if normal or nameless else (words(folder.name),),
                mask=None if normal else next((mask for mask in masks if mask), None),
                boxes=boxes.get(image),
            )


def _is_product(folder: Path) -> bool:
    return any((folder / part).is_dir() for part in ("test", "train/good", "good"))


def _read_boxes(product: Path) -> dict[Path, tuple[Box, ...]]:
    file = product / "boxes.json"
    if not file.exists():
        return {}
    entries = read_json(file, "boxes by image path")
    if not isinstance(entries, dict):
        raise InputError(f"expected an object of boxes by image path in {file}; mend the file")
    found = {}
    for name, values in entries.items():
        image = product / name
        if not image.is_file():
            raise InputError(f"{file} names {name!r}, expected that image, found no such file")
        if not isinstance(values, list) or not all(_is_box(value) for value in values):
            raise InputError(
                f"expected [x1, y1, x2, y2] or [x1, y1, x2, y2, label] for {name!r} in {file}, "
                f"found {values!r}; mend the entry"
            )
        found[image] = tuple(Box(*value) for value in values)
    return found


def _is_box(value: object) -> bool:
    if not isinstance(value, list) or len(value) not in (4, 5):
        return False
    numbers = all(
        isinstance(v, (int, float)) and not isinstance(v, bool) and math.isfinite(v)
        for v in value[:4]
    )
    return numbers and (len(value) == 4 or isinstance(value[4], str))


def looks_like(root: Path) -> str | None:
    """What there is of this layout in ROOT, in words; None without it."""
    for product in [root, *folders_in(root)]:
        parts = [product, product / "train", product / "test"]
        normal = [f for part in parts for f in folders_in(part) if says_normal(f.name)]
        if any(images_in(folder) for folder in normal):
            images = sum(1 for _ in files_below(root))
            return f"folders of normal images ({normal[0].relative_to(root)}), {images} images"
    return None
