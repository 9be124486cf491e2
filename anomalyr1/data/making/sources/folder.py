"""A user's own folders, and every data set laid out like MVTec-AD.

Licence and citation are the user's. Expected tree, for one product (ROOT is the product) or for
several (ROOT holds the products)::

    train/good/*                 normal images, shown as references only (optional)
    test/good/*  test/<defect>/*
    ground_truth/<defect>/<name>_mask.png or <name>.png, or a directory <name>/ (optional)

or, without train and test::

    good/*  <defect>/*           masks in masks/<defect>/ or ground_truth/<defect>/ (optional)

The folder of the normal images may be called normal, ok, pass or the like (`labels.IN_ORDER`, or
`normal=LABEL`); masks may have any of the names that `mask_index` knows. A train, valid or
validation folder with defects in it is asked about as well, and keeps its side.

Boxes may stand in `boxes.json` beside these folders: {"test/scratch/1.png": [[x1, y1, x2, y2,
"label"], ...]}, in pixels, x2 and y2 exclusive, the label optional. They win over a mask, and each
label is a type of its image. An empty list of a defective image states no place, so its mask does.

Refused: no image, images/ and labels/ (and other trees whose folders are no types of defects),
boxes.json naming a file twice, or one that is missing or outside its product. A defect folder
without masks and boxes is accepted; it then has no questions about the place. A folder called bad,
defective, combined or the like names no type, so the type is not asked for. Without a train folder
some normal images are set aside as references (the builder's `reserve`). A tree without normal
images is built, with a warning that says what it cannot tell.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from anomalyr1.data.images import is_image, missing_image
from anomalyr1.data.making.labels import is_in_order, is_nameless
from anomalyr1.data.making.questions import words
from anomalyr1.data.making.sources.image_names import files_below, outside_image
from anomalyr1.data.making.sources.item import (
    Item,
    Source,
    folders_in,
    images_in,
    is_visible,
    require_items,
)
from anomalyr1.data.making.sources.mask_index import MaskIndex, is_mask_folder, without_masks
from anomalyr1.data.making.sources.other_forms import refuse_other_form
from anomalyr1.errors import InputError, listed
from anomalyr1.schema import Box
from anomalyr1.storage import read_json
from anomalyr1.values import is_below, is_number

TREE = "train/good and test/<good|defect>, or good/ and <defect>/ folders, of one or more products"
_SIDES = {
    "train": "train",
    "training": "train",
    "validation": "valid",
    "valid": "valid",
    "val": "valid",
}
_TEST = ("test", "testing")


def read_folder(root: Path, *, dataset: str | None = None) -> Source:
    """Read a user's own folders; `dataset` names them in the keys (default: ROOT's name).

    Raises:
        InputError: the tree is not there, or boxes.json is broken.
    """
    name = dataset or root.resolve().name
    notes: list[str] = []
    items = require_items(read_products(root, name, notes), root, TREE)
    return Source(
        name="folder",
        licence="the user's",
        citation="the user's",
        url="",
        items=items,
        options={"dataset": name},
        notes=(*notes, *_unread(root, items)),
    )


def read_products(root: Path, dataset: str, notes: list[str] | None = None) -> Iterator[Item]:
    """Items of one product at ROOT, or of each product below it; `notes` grows by what was seen."""
    products = [root] if _is_product(root) else [f for f in folders_in(root) if _is_product(f)]
    if not products and _labels(root):
        products = [root]  # folders of defects, without a normal one
    for product in products:
        boxes = _read_boxes(product)
        yield from _read_product(product, dataset, product.resolve().name, boxes, notes)


def _read_product(
    product: Path,
    dataset: str,
    category: str,
    boxes: dict[str, tuple[Box, ...]],
    notes: list[str] | None,
) -> Iterator[Item]:
    """Items of one product folder."""
    indices = {product: MaskIndex(product)}
    parts: list[tuple[str | None, Path]] = []
    for folder in folders_in(product):
        side = _SIDES.get(folder.name.casefold())
        if side:
            parts.append((side, folder))
        elif folder.name.casefold() in _TEST:
            parts.append(("test", folder))
    sided = bool(parts)
    if not any(side == "test" for side, _ in parts):
        parts.append((None, product))
    without_mask = with_mask = 0
    for side, part in parts:
        indices.setdefault(part, MaskIndex(part))
        labels = _labels(part)
        refuse_other_form(part, labels, TREE)
        # The defective come first: a mask of their name is theirs.
        for folder in sorted(labels, key=lambda f: is_in_order(f.name)):
            normal = is_in_order(folder.name)
            images, beside = without_masks(images_in(folder))
            for image in images:
                stated = boxes.get(os.path.normpath(image))
                mask = indices[product].find(image, folder.name, beside, normal)
                if mask is None and part != product:
                    mask = indices[part].find(image, folder.name, {}, normal)
                with_mask += mask is not None
                without_mask += mask is None and not normal and not stated
                yield Item(
                    image,
                    dataset,
                    category,
                    folder.name,
                    image.name if side in ("train", "test", None) else f"{part.name}_{image.name}",
                    words(category),
                    defects=() if normal else _types(folder.name, stated or ()),
                    mask=mask,
                    boxes=stated,
                    reference=side in ("train", "valid"),
                    split=side if sided else None,
                )
    if notes is not None:
        masks = [mask for index in indices.values() for mask in index.unused()]
        unused = [mask.relative_to(product).as_posix() for mask in masks]
        if unused:
            notes.append(f"{len(unused)} masks belong to no image: {listed(unused)}")
        if with_mask and without_mask:
            notes.append(f"{without_mask} defective images have neither a mask nor boxes")


def _types(folder: str, boxes: tuple[Box, ...]) -> tuple[str, ...]:
    """The types in an image: what its folder says and what its boxes say."""
    labels = {words(box.label) for box in boxes if box.label}
    if not (labels and is_nameless(folder) and all(box.label for box in boxes)):
        labels.add(words(folder))
    return tuple(sorted(labels))


def _labels(part: Path) -> list[Path]:
    """Folders whose names are labels: those with images that are neither masks nor sides."""
    return [
        folder
        for folder in folders_in(part)
        if not is_mask_folder(folder)
        and folder.name.casefold() not in (*_SIDES, *_TEST)
        and any(is_image(file) for file in folder.iterdir())
    ]


def _is_product(folder: Path) -> bool:
    names = [f for f in folders_in(folder) if f.name.casefold() in (*_SIDES, *_TEST)]
    return any(folders_in(side) for side in names) or any(
        is_in_order(label.name) for label in _labels(folder)
    )


def _unread(root: Path, items: tuple[Item, ...]) -> list[str]:
    """A line about image files below ROOT that are neither images nor masks of an item."""
    known = {item.file for item in items} | {item.mask for item in items if item.mask}
    left = []
    for parent, folders, names in os.walk(root):
        here = Path(parent)
        folders[:] = [
            name for name in folders if is_visible(Path(name)) and here / name not in known
        ]
        if here != root and is_mask_folder(here):
            folders[:] = []
            continue
        files = (here / name for name in names)
        left += [file for file in files if is_image(file) and file not in known]
    if not left:
        return []
    names = [file.relative_to(root).as_posix() for file in sorted(left)]
    return [f"{len(left)} image files were not read (no folder of a label): {listed(names, 3)}"]


def _read_boxes(product: Path) -> dict[str, tuple[Box, ...]]:
    file = product / "boxes.json"
    if not file.exists():
        return {}
    entries = read_json(file, "boxes by image path")
    if not isinstance(entries, dict):
        raise InputError(
            f"expected an object of boxes by image path in {file}, found {type(entries).__name__}; "
            "mend the file"
        )
    found: dict[str, tuple[Box, ...]] = {}
    for name, values in entries.items():
        image = os.path.normpath(product / name)
        if not is_below(os.path.abspath(image), os.path.abspath(product)):  # noqa: PTH100
            raise outside_image(name, str(file), product)
        if not os.path.isfile(image):  # noqa: PTH113  (Path.is_file raises on some names)
            raise missing_image(name, file)
        if not isinstance(values, list) or not all(_is_box(value) for value in values):
            raise InputError(
                f"expected [x1, y1, x2, y2] or [x1, y1, x2, y2, label] for {name!r} in {file}, "
                f"found {values!r}; mend the entry"
            )
        if image in found:
            raise _twice(name, file)
        found[image] = tuple(Box(*value) for value in values)
    return found


def _twice(name: str, file: Path) -> InputError:
    return InputError(f"expected one entry for {name!r} in {file}, found two; mend the file")


def _is_box(value: object) -> bool:
    if not isinstance(value, list) or len(value) not in (4, 5):
        return False
    numbers = all(is_number(v) for v in value[:4])
    return numbers and (len(value) == 4 or isinstance(value[4], str))


def looks_like(root: Path) -> str | None:
    """What there is of this layout in ROOT, in words; None without it."""
    for product in [root, *folders_in(root)]:
        parts = [product, product / "train", product / "test"]
        normal = [f for part in parts for f in folders_in(part) if is_in_order(f.name)]
        if any(images_in(folder) for folder in normal):
            images = sum(1 for _ in files_below(root))
            return f"folders of normal images ({normal[0].relative_to(root)}), {images} images"
    return None
