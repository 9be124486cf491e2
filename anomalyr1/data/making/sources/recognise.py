"""`data build auto`: which forms a tree is in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from anomalyr1.data.making.row_benchmark import looks_like as rows_look_like
from anomalyr1.data.making.sources import (
    btad,
    coco,
    cvat,
    deeppcb,
    elpv,
    folder,
    ground_truth,
    label_studio,
    labelme,
    magnetic_tile,
    mvtec,
    real_iad,
    rle_csv,
    visa,
    voc,
    yolo,
)
from anomalyr1.data.making.sources.item import Source
from anomalyr1.errors import InputError

Look = Callable[[Path], str | None]
# source -> how to see that a tree is in its form, and what the form is, in words
FORMS: Mapping[str, tuple[Look, str]] = {
    "mvtec": (partial(mvtec.looks_like, source="mvtec"), mvtec.TREE),
    "loco": (partial(mvtec.looks_like, source="loco"), "test/{logical,structural}_anomalies"),
    "goodsad": (partial(mvtec.looks_like, source="goodsad"), "GoodsAD's products, food_box, ..."),
    "visa": (visa.looks_like, visa.TREE),
    "btad": (btad.looks_like, btad.TREE),
    "real-iad": (real_iad.looks_like, real_iad.TREE),
    "deeppcb": (deeppcb.looks_like, deeppcb.TREE),
    "magnetic-tile": (magnetic_tile.looks_like, magnetic_tile.TREE),
    "elpv": (elpv.looks_like, elpv.TREE),
    "coco": (coco.looks_like, coco.TREE),
    "voc": (voc.looks_like, voc.TREE),
    "yolo": (yolo.looks_like, yolo.TREE),
    "labelme": (labelme.looks_like, labelme.TREE),
    "label-studio": (label_studio.looks_like, label_studio.TREE),
    "cvat": (cvat.looks_like, cvat.TREE),
    "rle-csv": (rle_csv.looks_like, rle_csv.TREE),
    "manifest": (ground_truth.looks_like, ground_truth.TREE),
    "vlm-r1": (partial(rows_look_like, form="vlm-r1"), "JSON lines with image and conversations"),
    "ms-swift": (partial(rows_look_like, form="ms-swift"), "JSON lines with images and messages"),
    "folder": (folder.looks_like, folder.TREE),
}
# Public data sets whose tree is one of folders too; their own reader knows more.
_OF_FOLDERS = frozenset({"mvtec", "loco", "goodsad", "visa", "btad", "real-iad", "magnetic-tile"})


def recognise(root: Path) -> dict[str, str]:
    """Every form that a tree (or a file) can be read as: source -> what there is, in words."""
    found = {name: told for name, (look, _) in FORMS.items() if (told := look(root)) is not None}
    if _OF_FOLDERS & found.keys():
        found.pop("folder", None)
    return found


def choose_source(root: Path) -> tuple[str, str]:
    """The one source that reads a tree, and what there is, in words.

    Raises:
        InputError: there is none (what was looked for is told) or there are several (all are).
    """
    if not root.exists():
        raise InputError(f"expected a data set at {root}, found no such folder; check ROOT")
    found = recognise(root)
    if len(found) == 1:
        return next(iter(found.items()))
    if found:
        readings = "; ".join(f"`data build {name}` ({told})" for name, told in found.items())
        raise InputError(
            f"expected one form in {root}, found {len(found)}: {readings}; choose one, and name "
            "its folder or file where they share one"
        )
    looked = "; ".join(f"{name}: {tree}" for name, (_, tree) in FORMS.items())
    raise InputError(f"expected a known form in {root}, found none of {looked}; name the source")


def told(source: Source) -> list[str]:
    """What a reader found, a line each: sides, and what it passed over."""
    sides = Counter(item.split for item in source.items if item.split)
    lines = []
    if sides:
        lines.append("sides: " + ", ".join(f"{count} {side}" for side, count in sides.items()))
    lines += [f"left out: {count} {what}" for what, count in source.left_out.items() if count]
    return lines
