"""Real-IAD: thirty products, five views of every part.

Licence: CC BY-NC-SA 4.0 (realiad4ad.github.io/Real-IAD). Citation: Wang et al., "Real-IAD: A
Real-World Multi-View Dataset for Benchmarking Versatile Industrial Anomaly Detection", CVPR 2024.

Expected tree, below ROOT::

    realiad_jsons/<product>.json   (also realiad_jsons/realiad_jsons/)
    realiad_1024/<product>/OK/S0001/*.jpg   realiad_1024/<product>/NG/<code>/S0001/*.{jpg,png}

Each JSON: {"meta": {"prefix": "<product>/", "normal_class": "OK"}, "train": [...], "test": [...]},
an entry {"category", "anomaly_class", "image_path", "mask_path" or null}. The largest image folder
of realiad_1024, realiad_512 and realiad_256 is read.

Refused: a JSON without these keys, an image that is not there. Entries of train are references (all
are normal in the base split); a defective entry in train (the noisy splits) is left out and
counted. The views of one part are one group, which a split keeps on one side. A view without a
mask of a defective part shows no defect; the JSON calls it normal.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from anomalyr1.data.making.questions import words
from anomalyr1.data.making.sources.item import Item, Source, found_in, require_items
from anomalyr1.errors import InputError
from anomalyr1.storage import read_json

TREE = "realiad_jsons/<product>.json and realiad_1024/<product>/"
CODES = {
    "AK": "pit",
    "BX": "deformation",
    "CH": "abrasion",
    "HS": "scratch",
    "PS": "damage",
    "QS": "missing part",
    "YW": "foreign object",
    "ZW": "contamination",
}
_SIZES = ("realiad_1024", "realiad_512", "realiad_256")


def read_real_iad(root: Path) -> Source:
    """Read Real-IAD.

    Raises:
        InputError: the tree is not there, a JSON is broken, or an image is missing.
    """
    tables = found_in(root, "realiad_jsons/*.json")
    tables = tables or found_in(root, "realiad_jsons/realiad_jsons/*.json")
    images = next((root / name for name in _SIZES if (root / name).is_dir()), None)
    if not tables or images is None:
        raise InputError(f"expected {TREE} under {root}, found none; check ROOT")
    left_out = {"defective images in train": 0}
    items = [item for table in tables for item in _read_table(table, images, left_out)]
    return Source(
        "real-iad",
        "CC BY-NC-SA 4.0",
        "Wang et al., Real-IAD, CVPR 2024",
        "https://realiad4ad.github.io/Real-IAD",
        require_items(items, root, TREE),
        options={"images": images.name},
        left_out=left_out,
    )


def _read_table(table: Path, images: Path, left_out: dict[str, int]) -> Iterator[Item]:
    content = read_json(table, "a Real-IAD table")
    meta: Any = content.get("meta") if isinstance(content, dict) else None
    named = isinstance(meta, dict) and all(
        isinstance(meta.get(key), str) for key in ("prefix", "normal_class")
    )
    if not named or not all(isinstance(content.get(part), list) for part in ("train", "test")):
        raise InputError(
            "expected meta (prefix, normal_class), train and test as Real-IAD has them in "
            f"{table}, found others; check the file"
        )
    folder, normal_class = images / meta["prefix"], meta["normal_class"]
    for part in ("train", "test"):
        for number, entry in enumerate(content[part]):
            if not _is_entry(entry):
                raise InputError(
                    "expected image_path, anomaly_class and mask_path (or null) in entry "
                    f"{number} of {part} in {table}, found {entry!r}; check the file"
                )
            item = _item(entry, folder, normal_class, part, table.stem)
            if item.reference and not item.normal:
                left_out["defective images in train"] += 1
            else:
                yield item


def _is_entry(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and all(isinstance(entry.get(key), str) for key in ("image_path", "anomaly_class"))
        and "mask_path" in entry
        and isinstance(entry["mask_path"], str | None)
    )


def _item(entry: dict[str, Any], folder: Path, normal_class: str, part: str, product: str) -> Item:
    image = folder / entry["image_path"]
    if not os.path.isfile(image):  # noqa: PTH113  (Path.is_file raises on some names)
        raise InputError(f"expected an image of {product} at {image}, found no such file")
    code = entry["anomaly_class"]
    normal = code == normal_class
    name = CODES.get(code, words(code))
    return Item(
        image,
        "Real-IAD",
        product,
        "good" if normal else name.replace(" ", "_"),
        image.name,
        words(product),
        defects=() if normal else (name,),
        mask=folder / entry["mask_path"] if entry["mask_path"] and not normal else None,
        reference=part == "train",
        group=f"{product}/{Path(entry['image_path']).parent.as_posix()}",
    )
