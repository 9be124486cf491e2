"""Real-IAD: thirty products, five views of every part.

Licence: CC BY-NC-SA 4.0 (realiad4ad.github.io/Real-IAD). Citation: Wang et al., "Real-IAD: A
Real-World Multi-View Dataset for Benchmarking Versatile Industrial Anomaly Detection", CVPR 2024.

Real-IAD Variety (Zhu et al., 2025; 160 products, the same licence) comes in the same form with
realiadvariety_jsons/ and realiadvariety_1024/, some products one folder deeper, and words for
codes; there a view without a mask of a defective part is left out and counted.

Expected tree, below ROOT::

    realiad_jsons/<product>.json   (also realiad_jsons/realiad_jsons/)
    realiad_1024/<product>/OK/S0001/*.jpg   realiad_1024/<product>/NG/<code>/S0001/*.{jpg,png}

Each JSON: {"meta": {"prefix": "<product>/", "normal_class": "OK"}, "train": [...], "test": [...]},
an entry {"category", "anomaly_class", "image_path", "mask_path" or null}. The largest image folder
of realiad_1024, realiad_512 and realiad_256 is read.

Refused: a JSON without these keys, an image that is missing or outside that folder. Entries of
train are references (all are normal in the base split); a defective entry in train (the noisy
splits) is left out and counted. The views of one part are one group, which a split keeps on one
side. A view without a mask of a defective part shows no defect; the JSON calls it normal.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from anomalyr1.data.making.questions import words
from anomalyr1.data.making.sources.image_names import ImageNames
from anomalyr1.data.making.sources.item import Item, Source, found_in, require_items
from anomalyr1.errors import InputError
from anomalyr1.storage import read_json

TREE = "realiad_jsons/<product>.json and realiad_1024/<product>/"
_NOISE = "defective images in train"
_UNSEEN = "views of defective parts without a mask"
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
_SIZES = ("realiad_1024", "realiad_512", "realiad_256", "realiadvariety_1024")
_TABLES = ("realiad_jsons", "realiadvariety_jsons", "real-iad_variety_jsons")


def read_real_iad(root: Path) -> Source:
    """Read Real-IAD.

    Raises:
        InputError: the tree is not there, a JSON is broken, or an image is missing.
    """
    tables = _tables(root)
    images = next((root / name for name in _SIZES if (root / name).is_dir()), None)
    if not tables or images is None:
        raise InputError(f"expected {TREE} under {root}, found none; check ROOT")
    left_out: dict[str, int] = {_NOISE: 0}
    items = [item for table in tables for item in _read_table(table, images, left_out)]
    variety = images.name.startswith("realiadvariety")
    return Source(
        "real-iad",
        "CC BY-NC-SA 4.0",
        "Zhu et al., Real-IAD Variety, 2025" if variety else "Wang et al., Real-IAD, CVPR 2024",
        "https://realiad4ad.github.io/Real-IAD",
        require_items(items, root, TREE),
        options={"images": images.name},
        left_out=left_out,
    )


def looks_like(root: Path) -> str | None:
    """What there is of this layout in ROOT, in words; None without it."""
    tables = _tables(root)
    return f"Real-IAD's layout with {len(tables)} products" if tables else None


def _tables(root: Path) -> list[Path]:
    """The JSON of every product; an archive may repeat its folder inside itself."""
    for name in _TABLES:
        for below in (f"{name}/*.json", f"{name}/{name}/*.json"):
            found = found_in(root, below)
            if found:
                return found
    return []


def _read_table(table: Path, images: Path, left_out: dict[str, int]) -> Iterator[Item]:
    content = read_json(table, "a Real-IAD table")
    variety = images.name.startswith("realiadvariety")
    content = content if isinstance(content, dict) else {}
    plain = {"prefix": table.stem, "normal_class": "OK"}
    meta: Any = content.get("meta", plain if variety else None)
    named = isinstance(meta, dict) and all(
        isinstance(meta.get(key), str) for key in ("prefix", "normal_class")
    )
    if not named or not all(isinstance(content.get(part), list) for part in ("train", "test")):
        raise InputError(
            "expected meta (prefix, normal_class), train and test as Real-IAD has them in "
            f"{table}, found others; check the file"
        )
    folder = images / meta["prefix"]
    if variety and (folder / table.stem).is_dir():
        folder = folder / table.stem
    names = ImageNames(images)
    for part in ("train", "test"):
        for number, entry in enumerate(content[part]):
            where = f"entry {number} of {part} in {table}"
            item = _item(entry, folder, meta["normal_class"], part, table.stem, names, where)
            if item.reference and not item.normal:
                left_out[_NOISE] += 1
            elif variety and not item.normal and item.mask is None:
                left_out[_UNSEEN] = left_out.get(_UNSEEN, 0) + 1
            else:
                yield item


def _item(
    entry: Any,
    folder: Path,
    normal_class: str,
    part: str,
    product: str,
    names: ImageNames,
    where: str,
) -> Item:
    if not _is_entry(entry):
        raise InputError(
            f"expected image_path, anomaly_class and mask_path (or null) in {where}, "
            f"found {str(entry)[:80]!r}; check the file"
        )
    image = names.find(entry["image_path"], [folder], where)
    code, mask = entry["anomaly_class"], entry["mask_path"]
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
        mask=names.find(mask, [folder], where) if mask and not normal else None,
        reference=part == "train",
        group=f"{product}/{Path(os.path.relpath(image.parent, folder)).as_posix()}",
    )


def _is_entry(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and all(isinstance(entry.get(key), str) for key in ("image_path", "anomaly_class"))
        and "mask_path" in entry
        and isinstance(entry["mask_path"], str | None)
    )
