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

Refused: a JSON without these keys, an image that is not there. Entries of train are references (all
are normal in the base split); a defective entry in train (the noisy splits) is left out and
counted. The views of one part are one group, which a split keeps on one side. A view without a
mask of a defective part shows no defect; the JSON calls it normal.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from anomalyr1.data.making.questions import words
from anomalyr1.data.making.sources.image_names import ImageNames
from anomalyr1.data.making.sources.item import Item, Source, require_items
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
            found = sorted(f for f in root.glob(below) if not f.name.startswith("."))
            if found:
                return found
    return []


def _read_table(table: Path, images: Path, left_out: dict[str, int]) -> Iterator[Item]:
    content = read_json(table, "a Real-IAD table")
    variety = images.name.startswith("realiadvariety")
    if not isinstance(content, dict):
        raise _other_form(table, "no object")
    meta = content.get("meta", {"prefix": table.stem, "normal_class": "OK"} if variety else None)
    if not isinstance(meta, dict) or not all(
        isinstance(meta.get(key), str) for key in ("prefix", "normal_class")
    ):
        raise _other_form(table, "no meta with prefix and normal_class")
    folder = images / meta["prefix"]
    if variety and (folder / table.stem).is_dir():
        folder = folder / table.stem
    names = ImageNames(images)
    for part in ("train", "test"):
        entries = content.get(part)
        if not isinstance(entries, list):
            raise _other_form(table, f"no list under {part}")
        for number, entry in enumerate(entries, start=1):
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
    if not isinstance(entry, dict) or not all(
        isinstance(entry.get(key), str) and entry[key] for key in ("image_path", "anomaly_class")
    ):
        raise InputError(
            f"expected image_path and anomaly_class at {where}, found none; check the file"
        )
    image = names.find(entry["image_path"], [folder], where)
    code, mask = entry["anomaly_class"], entry.get("mask_path")
    if mask is not None and not isinstance(mask, str):
        raise InputError(f"expected mask_path to be a path or null at {where}, found {mask!r}")
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
        group=f"{product}/{image.parent.relative_to(folder).as_posix()}",
    )


def _other_form(table: Path, found: str) -> InputError:
    return InputError(
        f"expected meta, train and test as Real-IAD has them in {table}, found {found}; check the "
        "file"
    )
