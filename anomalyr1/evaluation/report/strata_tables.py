"""The report's tables of where boxes and masks are good, and of boxes that name a defect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from anomalyr1.evaluation.report.markup import Child, Markup
from anomalyr1.evaluation.report.tables import grid, percent, told_columns, with_interval
from anomalyr1.metrics.box_strata import SIZES

_CLASSES = {"F-score": "f1", "Precision": "precision", "Recall": "recall"}
_MATCHED = {"AR 0.5:0.95": "ar", "AP 0.5:0.95": "ap", "DeepPCB F": "deeppcb_f1"}
_BOXES = {
    "Recall @ 0.33": "recall@0.33",
    "Recall @ 0.5": "recall@0.5",
    "IoU": "iou",
    "F1 @ 0.33": "f1@0.33",
    "F1 @ 0.5": "f1@0.5",
    **_MATCHED,
}
_PRODUCTS = {
    "F1 @ 0.33": "f1@0.33",
    "F1 @ 0.5": "f1@0.5",
    "Set IoU": "set_iou",
    "Set IoU, anomalous": "set_iou_anomalous",
    "Area IoU": "bbox_miou",
    **_MATCHED,
}
_STABILITY = {
    "Mask IoU": "mask_iou",
    "change of mask": "mask_iou_change",
    "Dice": "mask_dice",
    "change of Dice": "mask_dice_change",
    "Box IoU": "box_iou",
    "change of boxes": "box_iou_change",
    "Mask kept": "kept_mask",
    "Boxes kept": "kept_boxes",
}
_MOVED = {"mask": "mask_iou_change", "boxes": "box_iou_change"}
_MASKS = {"IoU": "iou", "Dice": "dice"}
_FROM = {
    "labels": "The classes are the labels of the boxes.",
    "answers": "The class of an image's boxes is its answer about the type of the defect.",
    None: "Without classes: the gold boxes have none, or the answers name none.",
}


def class_table(localization: Mapping[str, Any]) -> Markup | None:
    """DeepPCB's figures of all boxes together, and of each class."""
    found = localization.get("boxes", {}).get("pooled", {}).get("deeppcb")
    if found is None:
        return None
    rows: list[list[Child]] = []
    for name, cells in (("all boxes", found), *found["classes"].items()):
        row: list[Child] = [name, f"{cells['gold']} / {cells['predicted']}"]
        ends = cells.get("intervals", {})
        row += [with_interval(cells[key], ends.get(key)) for key in _CLASSES.values()]
        rows.append([*row, percent(cells["map" if "map" in cells else "ap"])])
    return grid(["", "gold / predicted", *_CLASSES, "mAP"], rows, "Boxes that name the defect")


def classes_note(localization: Mapping[str, Any]) -> str:
    """Where the classes of `class_table` are from; nothing without that table."""
    found = localization.get("boxes", {}).get("pooled", {}).get("deeppcb")
    return "" if found is None else _FROM[found["classes_from"]]


def box_strata_tables(localization: Mapping[str, Any]) -> list[Markup]:
    """Boxes by size and by defect, and by product where there are several."""
    boxes = localization.get("boxes", {})
    tables = []
    strata = _flat(sizes(boxes) | boxes.get("defects", {}))
    if strata:
        columns = told_columns(_BOXES, strata.values())
        rows = _rows(strata, "gold", columns)
        tables.append(grid(["By size and by defect", "gold", *columns], rows))
    products = _flat(_several(boxes))
    if products:
        columns = told_columns(_PRODUCTS, products.values())
        rows = _rows(products, "images", columns)
        tables.append(grid(["By product", "images", *columns], rows))
    return tables


def mask_strata_tables(localization: Mapping[str, Any]) -> list[Markup]:
    """Masks from predicted boxes, a table a segmenter, by size, defect and product."""
    tables = []
    for segmenter, sources in localization.get("masks", {}).items():
        found = sources.get("predicted", {})
        rows = _rows(strata_of(found), "images", _MASKS)
        if rows:
            tables.append(grid([f"{segmenter}: predicted boxes", "images", *_MASKS], rows))
    return tables


def stability_tables(localization: Mapping[str, Any]) -> list[Markup]:
    """What moving the predicted boxes by so much of their sides does, by segmenter.

    Then a table a segmenter by size, defect and product: what mask IoU and box IoU change by.
    """
    rows: list[Sequence[Child]] = []
    parts: list[Markup] = []
    for segmenter, sources in localization.get("masks", {}).items():
        shares = sources.get("stability", {}).get("shares", {})
        columns: dict[str, dict[str, Any]] = {}
        for share, cells in shares.items():
            by = f"{100 * float(share):g} %"
            row: list[Child] = [f"{segmenter}: up to {by}", str(cells["images"])]
            row += [with_interval(cells[k], cells["intervals"][k]) for k in _STABILITY.values()]
            rows.append(row)
            for title, key in _MOVED.items():
                columns[f"{title}, {by}"] = {
                    name: (of_part["images"], of_part[key])
                    for name, of_part in strata_of(cells).items()
                }
        names = next(iter(columns.values()), {})
        of_parts: list[Sequence[Child]] = [
            [name, str(images), *(percent(column[name][1]) for column in columns.values())]
            for name, (images, _) in names.items()
        ]
        if of_parts:
            parts.append(grid([f"{segmenter}: change of IoU", "images", *columns], of_parts))
    return [grid(["Boxes moved", "images", *_STABILITY], rows), *parts] if rows else []


def strata_of(found: Mapping[str, Any]) -> dict[str, Any]:
    """The figures by size, by defect, and by product where there are several."""
    return {**sizes(found), **found.get("defects", {}), **_several(found)}


def sizes(found: Mapping[str, Any]) -> dict[str, Any]:
    """The figures by size, named so that they may stand among others."""
    return {f"{size} defects": found["sizes"][size] for size in SIZES if size in _sizes(found)}


def _sizes(found: Mapping[str, Any]) -> Mapping[str, Any]:
    sized: Mapping[str, Any] = found.get("sizes", {})
    return sized


def _several(found: Mapping[str, Any]) -> Mapping[str, Any]:
    products: Mapping[str, Any] = found.get("categories", {})
    return products if len(products) > 1 else {}


def _flat(strata: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """With DeepPCB's F-score beside the others."""
    return {
        name: {**cells, "deeppcb_f1": cells.get("deeppcb", {}).get("f1")}
        for name, cells in strata.items()
    }


def _rows(
    strata: Mapping[str, Mapping[str, Any]], counted: str, columns: Mapping[str, str]
) -> list[Sequence[Child]]:
    return [
        [
            name,
            str(cells[counted]),
            *(
                with_interval(cells.get(key), cells["intervals"].get(key))
                for key in columns.values()
            ),
        ]
        for name, cells in strata.items()
    ]
