"""A COCO detection file whose categories are types of defects.

Licence and citation are the user's. ROOT is the JSON file, or a folder with one JSON file in it or
in annotations/. Images are looked for beside the file, then in images/, then in the folder above::

    {"images": [{"id", "file_name"}], "categories": [{"id", "name"}],
     "annotations": [{"image_id", "category_id", "bbox": [x, y, width, height]}]}

An image without annotations is normal, so the file has to annotate every defect. Refused: several
JSON files, an annotation of an unknown image or category, a box without area, a crowd region
(its boxes do not count defects), two images of one file name, an image that is not there.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

from anomalyr1.data.making.questions import words
from anomalyr1.data.making.sources.image_names import files_below, files_in
from anomalyr1.data.making.sources.item import Item, Source, require_items
from anomalyr1.errors import InputError
from anomalyr1.schema import Box
from anomalyr1.storage import read_json

TREE = "a COCO file with images, categories and annotations"


def read_coco(root: Path, *, dataset: str | None = None, category: str = "product") -> Source:
    """Read a COCO file; `dataset` and `category` (the product) name its images in the keys.

    Raises:
        InputError: the file is broken, or images are missing.
    """
    file = _find(root)
    content = read_json(file, TREE)
    try:
        items = _items(content, file, dataset or file.parent.resolve().name, category)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"expected {TREE} in {file}, found {type(error).__name__}: {error}; mend the file"
        ) from None
    return Source(
        "coco",
        "the user's",
        "the user's",
        "",
        require_items(items, file, TREE),
        options={"dataset": dataset, "category": category},
    )


def _find(root: Path) -> Path:
    if root.is_file():
        return root
    files = sorted(root.glob("*.json")) or sorted(root.glob("annotations/*.json"))
    if len(files) != 1:
        found = ", ".join(file.name for file in files) or "none"
        raise InputError(f"expected one COCO file under {root}, found {found}; name the file")
    return files[0]


def _items(content: dict[str, Any], file: Path, dataset: str, category: str) -> list[Item]:
    names = {entry["id"]: words(entry["name"]) for entry in content["categories"]}
    images = {entry["id"]: entry["file_name"] for entry in content["images"]}
    boxes: dict[Any, list[Box]] = defaultdict(list)
    for number, entry in enumerate(content["annotations"]):
        where = f"annotation {entry.get('id', number)} of {file}"
        if entry["image_id"] not in images or entry["category_id"] not in names:
            raise InputError(f"{where} belongs to an unknown image or category; mend the file")
        if entry.get("iscrowd"):
            raise InputError(f"{where} is a crowd region; annotate its defects one by one")
        x, y, width, height = (float(value) for value in entry["bbox"])
        if width <= 0 or height <= 0:
            raise InputError(f"{where} has a box without area: {entry['bbox']}; mend the file")
        boxes[entry["image_id"]].append(
            Box(x, y, x + width, y + height, names[entry["category_id"]])
        )
    items = []
    for key, name in images.items():
        types = tuple(sorted({str(box.label) for box in boxes[key]}))
        folder = {0: "good", 1: "".join(types).replace(" ", "_")}.get(len(types), "multiple")
        items.append(
            Item(
                _image(file, name),
                dataset,
                category,
                folder,
                name.replace("/", "_"),
                words(category),
                defects=types,
                boxes=tuple(boxes[key]),
            )
        )
    return items


def _image(file: Path, name: str) -> Path:
    folders = (
        file.parent,
        file.parent / "images",
        file.parent.parent,
        file.parent.parent / "images",
    )
    found = next((folder / name for folder in folders if (folder / name).is_file()), None)
    if found is None:
        raise InputError(f"{file} names the image {name!r}, found it neither beside it nor above")
    return found


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
