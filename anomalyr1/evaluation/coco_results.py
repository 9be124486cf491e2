"""Masks as COCO's results, and the gold annotations that pycocotools loads them against."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pycocotools import mask as coco_mask

from anomalyr1.data.annotation_files import UNNAMED
from anomalyr1.data.rle import decode_mask, encode_mask
from anomalyr1.evaluation.image_readings import ImageReading
from anomalyr1.run_folder import COCO_GOLD, COCO_RESULTS
from anomalyr1.schema import Box
from anomalyr1.segmentation.segmenter import fill_boxes
from anomalyr1.storage import write_json


def write_coco(
    images: Sequence[ImageReading],
    rows: Mapping[str, Mapping[str, Any]],
    scores: Mapping[str, float],
    folder: Path,
) -> tuple[Path, Path | None]:
    """Write coco_gold.json, and coco_results.json for `COCO(gold).loadRes(results)`.

    A result is the mask of one predicted box; its category is the box's label, its score the
    image's P(anomalous), or 1 where the predictions have none: then COCO's AP, which ranks by
    score, depends on the order of equals. The gold region of a box is what the gold mask has in it,
    or the box where there is no mask. Images without gold boxes on record have no annotation.

    Args:
        images: that have a line.
        rows: their lines.
        scores: image -> P(anomalous).
        folder: of the segmenter.

    Returns:
        The files; None for the results where no box encloses a pixel, because pycocotools cannot
        load an empty list.
    """
    gold_path, results_path = folder / COCO_GOLD, folder / COCO_RESULTS
    boxes = {image.image: image.boxes_in_image or () for image in images}
    gold = {image.image: image.gold_in_image or () for image in images}
    names = sorted({_label(box) for side in (boxes, gold) for of in side.values() for box in of})
    ids = {name: number for number, name in enumerate(names or [UNNAMED], start=1)}
    pictures: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for number, image in enumerate(images, start=1):
        row = rows[image.image]
        width, height = row["size"]
        pictures.append({"id": number, "file_name": image.image, "width": width, "height": height})
        for box, code in _regions(gold[image.image], row):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": ids[_label(box)],
                    "bbox": [box.x1, box.y1, box.x2 - box.x1, box.y2 - box.y1],
                    "segmentation": code,
                    "area": int(coco_mask.area(code)),
                    "iscrowd": 0,
                }
            )
        for box, code in zip(boxes[image.image], row["instances"] or (), strict=True):
            if coco_mask.area(code):
                results.append(
                    {
                        "image_id": number,
                        "category_id": ids[_label(box)],
                        "segmentation": code,
                        "score": scores.get(image.image, 1.0),
                    }
                )
    categories = [{"id": number, "name": name} for name, number in ids.items()]
    content = {"images": pictures, "annotations": annotations, "categories": categories}
    write_json(gold_path, content)
    if results:
        write_json(results_path, results)
        return gold_path, results_path
    results_path.unlink(missing_ok=True)  # of a time when there were some
    return gold_path, None


def _regions(boxes: Iterable[Box], row: Mapping[str, Any]) -> Iterable[tuple[Box, dict[str, Any]]]:
    width, height = row["size"]
    mask = decode_mask(row["target"]) if row["target_from"] == "mask" else None
    for box in boxes:
        filled = fill_boxes([box], width, height)
        region = filled if mask is None else filled & mask
        if region.any():
            yield box, encode_mask(region)


def _label(box: Box) -> str:
    return box.label or UNNAMED
