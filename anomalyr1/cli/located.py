"""What `anomalyr1 score` prints of boxes and masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

_MASKS = {
    "IoU": "iou",
    "Dice": "dice",
    "pixel F1": "pixel_f1",
    "PRO": "pro",
    "at FPR": "pixel_fpr",
    "normals": "normal_flagged",
}
_STRATA = {
    "recall@0.33": "recall@0.33",
    "recall@0.5": "recall@0.5",
    "IoU": "iou",
    "F1@0.33": "f1@0.33",
    "F1@0.5": "f1@0.5",
}
_PRODUCTS = {
    "F1@0.33": "f1@0.33",
    "F1@0.5": "f1@0.5",
    "set IoU": "set_iou",
    "area IoU": "bbox_miou",
}
_CLASSES = {
    "labels": "classes by the boxes' labels",
    "answers": "classes by the answers",
    None: "without classes",
}


def print_localization(console: Console, localization: Mapping[str, Any]) -> None:
    """Boxes and masks of all images together, and of each size, defect and product."""
    if "boxes" in localization:
        _print_boxes(console, localization["boxes"])
    if not localization.get("masks"):
        return
    table = Table(title="Masks, percent", title_justify="left")
    table.add_column("from boxes")
    for title in _MASKS:
        table.add_column(title, justify="right")
    for segmenter, sources in localization["masks"].items():
        for source in ("predicted", "gold", "whole"):
            if source in sources:
                pooled = sources[source]["pooled"]
                values = (percent(pooled[name]) for name in _MASKS.values())
                table.add_row(f"{segmenter}: {source}", *values)
    console.print(table)
    for segmenter, sources in localization["masks"].items():
        for share, cells in sources.get("stability", {}).get("shares", {}).items():
            console.print(
                f"{segmenter}: boxes moved by up to {100 * float(share):g} % of their sides: mask "
                f"IoU {percent(cells['mask_iou_change'])}"
                f"{between(cells['intervals']['mask_iou_change'])} points, box IoU "
                f"{percent(cells['box_iou_change'])}; {percent(cells['kept_mask'])} % of the mask "
                "kept"
            )
        for size, cells in sources.get("predicted", {}).get("sizes", {}).items():
            console.print(
                f"{segmenter}: {size} defects on {cells['images']} images: IoU "
                f"{percent(cells['iou'])}{between(cells['intervals']['iou'])}, "
                f"Dice {percent(cells['dice'])}"
            )


def _print_boxes(console: Console, found: Mapping[str, Any]) -> None:
    boxes = found["pooled"]
    console.print(
        f"boxes on {boxes['images']} images: "
        f"F1@0.33 {percent(boxes['f1@0.33'])}{between(boxes['intervals']['f1@0.33'])}, "
        f"F1@0.5 {percent(boxes['f1@0.5'])}, set IoU {percent(boxes['set_iou'])}, "
        f"AR {percent(boxes['ar'])}, AP {percent(boxes['ap'])}, "
        f"pointing {percent(boxes['pointing'])}"
    )
    classed = boxes["deeppcb"]
    console.print(
        f"DeepPCB's F-score, {_CLASSES[classed['classes_from']]}: "
        f"{percent(classed['f1'])}{between(classed['intervals']['f1'])}, "
        f"mAP {percent(classed['map'])}"
    )
    strata = {f"{size} defects": cells for size, cells in found["sizes"].items()}
    _print_strata(console, strata | found["defects"], "gold", _STRATA)
    if len(found["categories"]) > 1:
        _print_strata(console, found["categories"], "images", _PRODUCTS)


def _print_strata(
    console: Console,
    strata: Mapping[str, Mapping[str, Any]],
    counted: str,
    columns: Mapping[str, str],
) -> None:
    if not strata:
        return
    table = Table(title="Boxes, percent", title_justify="left")
    table.add_column("")
    for title in (counted, *columns):
        table.add_column(title, justify="right")
    for name, cells in strata.items():
        values = (percent(cells.get(column)) for column in columns.values())
        table.add_row(escape(name), str(cells[counted]), *values)
    console.print(table)


def percent(value: float | None) -> str:
    """One decimal; a dash where there is no value."""
    return "-" if value is None else f"{value:.1f}"


def between(ends: Sequence[float] | None) -> str:
    """An interval in brackets, or nothing."""
    return "" if ends is None else f" [{ends[0]:.1f}, {ends[1]:.1f}]"
