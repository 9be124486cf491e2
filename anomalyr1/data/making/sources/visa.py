"""VisA: twelve products, as it is downloaded or as its own script rearranges it.

Licence: CC BY 4.0 (github.com/amazon-science/spot-diff). Citation: Zou et al., "SPot-the-Difference
Self-Supervised Pre-training for Anomaly Detection and Segmentation", ECCV 2022.

Expected trees, below ROOT::

    split_csv/1cls.csv            object,split,label,image,mask      (as downloaded)
    <product>/image_anno.csv      image,label,mask; label: normal, or types joined by commas
    <product>/Data/Images/{Normal,Anomaly}/*.JPG   <product>/Data/Masks/Anomaly/*.png

    <product>/train/good  <product>/test/{good,bad}  <product>/ground_truth/bad/*.png     (1cls)

Refused: a CSV without the columns above, or naming an image that is missing or outside ROOT. The
1cls layout does not name the type of a defect; image_anno.csv does, and several types in one image
are all kept.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from anomalyr1.data.making.questions import words
from anomalyr1.data.making.sources.folder import read_products
from anomalyr1.data.making.sources.image_names import ImageNames
from anomalyr1.data.making.sources.item import Item, Source, folders_in, require_items
from anomalyr1.errors import InputError
from anomalyr1.text_files import read_text

PRODUCTS = frozenset({
    "candle", "capsules", "cashew", "chewinggum", "fryum", "macaroni1", "macaroni2", "pcb1", "pcb2",
    "pcb3", "pcb4", "pipe_fryum",
})  # fmt: skip
TREE = "split_csv/1cls.csv with <product>/image_anno.csv, or <product>/test/{good,bad}"


def read_visa(root: Path) -> Source:
    """Read VisA in the layout that ROOT holds.

    Raises:
        InputError: the tree is not there, or a CSV is broken.
    """
    notes: list[str] = []
    if (root / "split_csv" / "1cls.csv").exists():
        items = list(_read_raw(root))
        layout = "raw"
    else:
        items = list(read_products(root, "VisA", notes))
        layout = "1cls"
    return Source(
        "visa",
        "CC BY 4.0",
        "Zou et al., SPot-the-Difference, ECCV 2022",
        "https://github.com/amazon-science/spot-diff",
        require_items(items, root, TREE),
        options={"layout": layout},
        notes=tuple(notes),
    )


def _read_raw(root: Path) -> Iterator[Item]:
    types: dict[str, tuple[str, ...]] = {}
    for product in folders_in(root):
        if (product / "image_anno.csv").exists():
            for row in _rows(product / "image_anno.csv", ("image", "label")):
                names = (words(name) for name in row["label"].split(","))
                found = tuple(sorted({name for name in names if name != "normal"}))
                if types.setdefault(row["image"], found) != found:
                    raise InputError(
                        f"expected one row for {row['image']} in {product / 'image_anno.csv'}, "
                        "found two that differ; mend the file"
                    )
    table = root / "split_csv" / "1cls.csv"
    finder = ImageNames(root)
    for row in _rows(table, ("object", "split", "label", "image", "mask")):
        image = finder.find(row["image"], [root], str(table))
        mask, normal = row["mask"], row["label"] == "normal"
        yield Item(
            image,
            "VisA",
            row["object"],
            "good" if normal else "bad",
            image.name,
            words(row["object"]),
            defects=() if normal else types.get(row["image"], ()),
            mask=finder.find(mask, [root], str(table)) if mask and not normal else None,
            reference=normal and row["split"] == "train",
        )


def _rows(path: Path, columns: tuple[str, ...]) -> Iterator[dict[str, str]]:
    try:
        reader = csv.DictReader(io.StringIO(read_text(path, "a table"), newline=""))
        missing = set(columns) - set(reader.fieldnames or ())
        if missing:
            raise InputError(
                f"expected the columns {', '.join(columns)} in {path}, "
                f"found no {', '.join(sorted(missing))}; check the file"
            )
        for row in reader:
            yield {column: (row[column] or "").strip() for column in columns}
    except csv.Error as error:
        raise InputError(f"expected a table at {path}, found none ({error}); check it") from None


def looks_like(root: Path) -> str | None:
    """What there is of this data set in ROOT, in words; None without it."""
    if (root / "split_csv" / "1cls.csv").exists():
        return "VisA as it is downloaded"
    named = [f.name for f in folders_in(root) if f.name in PRODUCTS and (f / "test/bad").is_dir()]
    return f"VisA's 1cls layout with {', '.join(named)}" if named else None
