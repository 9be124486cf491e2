"""Box and mask metrics of a set of completions, pooled and by dataset."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from anomalyr1.data.place_words import cells_of
from anomalyr1.data.rle import decode_mask
from anomalyr1.errors import InputError
from anomalyr1.evaluation.box_classes import class_figures
from anomalyr1.evaluation.box_jitter import jitter_scores
from anomalyr1.evaluation.image_readings import (
    ImageReading,
    PredictionReading,
    anomaly_scores,
    image_readings,
)
from anomalyr1.evaluation.location_strata import Counted, box_strata, mask_strata
from anomalyr1.evaluation.mask_lines import MaskLine
from anomalyr1.evaluation.masks import SOURCES
from anomalyr1.metrics.agreement import Pointed, agreement, mask_cell
from anomalyr1.metrics.bootstrap import RESAMPLES
from anomalyr1.metrics.box_areas import area_scores
from anomalyr1.metrics.boxes import box_scores
from anomalyr1.metrics.coco_boxes import coco_scores
from anomalyr1.metrics.detection import Verdict, detection
from anomalyr1.metrics.pixel import count_pixels, pixel_scores
from anomalyr1.schema import DEFECT_CLASSIFICATION, dataset_of
from anomalyr1.storage import read_jsonl_as

T = TypeVar("T")


def localization(
    readings: Sequence[PredictionReading], masks_dir: Path, resamples: int = RESAMPLES
) -> dict[str, Any]:
    """`boxes`, and `masks` by segmenter and source; empty where nothing was asked to be located.

    The sources of a mask are the predicted boxes, the gold boxes (the ceiling of that segmenter)
    and the whole image as one box (the floor). `agreement` (of a segmenter with its masks) says
    where the answered cell, the boxes and the mask speak of one place. `boxes` and the masks from
    predicted boxes have figures by `sizes`, `defects` and `categories` too; `stability` (of a
    segmenter) is what moving the predicted boxes does, where that was asked for.

    Raises:
        InputError: masks were made from other predictions.
    """
    images = image_readings(readings)
    result: dict[str, Any] = {}
    with_gold = located(images)
    if with_gold:
        chosen, scores = _chosen_types(readings), anomaly_scores(r.prediction for r in readings)
        result["boxes"] = {
            **_grouped(
                with_gold,
                lambda image: image.dataset,
                lambda group: {
                    **_box_scores(group, scores, resamples),
                    "deeppcb": class_figures(group, chosen, scores, resamples),
                },
            ),
            **box_strata(with_gold, resamples),
        }
    cells = _answered_cells(readings)
    pointed = {
        image.image: Pointed(image.size, cells.get(image.image), image.boxes_in_image or ())
        for image in images
        if image.size is not None
    }
    if pointed:
        result["agreement"] = agreement(list(pointed.values()), resamples)
    files = sorted(masks_dir.glob("*.jsonl")) if masks_dir.is_dir() else []
    if images and files:
        result["masks"] = {
            path.stem: _mask_scores(path, images, pointed, resamples) for path in files
        }
    return result


def _answered_cells(readings: Sequence[PredictionReading]) -> dict[str, str]:
    """The cell that the answer to an image's question of place names; the first of several."""
    cells: dict[str, str] = {}
    for reading in readings:
        answer = reading.response.answer
        named = cells_of(reading.question).get(answer or "")
        if named is not None:
            cells.setdefault(reading.prediction.image, named)
    return cells


def _chosen_types(readings: Sequence[PredictionReading]) -> dict[str, str]:
    """The type of defect that the answer about an image names; the first of several."""
    chosen: dict[str, str] = {}
    for reading in readings:
        if reading.prediction.question_type == DEFECT_CLASSIFICATION and reading.response.answer:
            option = reading.question.options[reading.response.answer]
            chosen.setdefault(reading.prediction.image, option)
    return chosen


def located(images: Sequence[ImageReading]) -> list[ImageReading]:
    """Those whose gold boxes are known."""
    return [image for image in images if image.gold_in_image is not None]


def _grouped(
    items: Sequence[T], dataset: Callable[[T], str], scores: Callable[[Sequence[T]], dict[str, Any]]
) -> dict[str, Any]:
    groups: dict[str, list[T]] = {}
    for item in items:
        groups.setdefault(dataset(item), []).append(item)
    return {
        "pooled": scores(items),
        "datasets": {name: scores(group) for name, group in groups.items()},
    }


def _box_scores(
    images: Sequence[ImageReading], scores: Mapping[str, float], resamples: int
) -> dict[str, Any]:
    """Box metrics; an unreadable answer is a wrong verdict on the image."""
    boxes = [image.boxes for image in images]
    by_count, by_area = box_scores(boxes, resamples), area_scores(boxes, resamples)
    verdicts = [
        Verdict(
            normal=not image.gold_in_image,
            correct=image.boxes_in_image is not None
            and bool(image.boxes_in_image) == bool(image.gold_in_image),
        )
        for image in images
    ]
    return {
        **by_count,
        **by_area,
        **coco_scores(boxes, [scores.get(image.image) for image in images]),
        "intervals": {**by_count["intervals"], **by_area["intervals"]},
        "unreadable": sum(image.boxes_in_image is None for image in images),
        "detection": detection(verdicts),
    }


def _mask_scores(
    path: Path, images: Sequence[ImageReading], pointed: Mapping[str, Pointed], resamples: int
) -> dict[str, Any]:
    """Mask metrics of one segmenter, and what the masks are compared with."""
    rows = read_masks(path, images)
    counts: dict[str, list[Counted]] = {source: [] for source in SOURCES}
    places: list[Pointed] = []
    targets = {"mask": 0, "boxes": 0, "normal": 0, "none": 0}
    for image, row in rows.items():
        targets[row["target_from"] or "none"] += 1
        masks = {s: decode_mask(code) for s in SOURCES if (code := row["masks"][s]) is not None}
        if image in pointed and "predicted" in masks:
            places.append(replace(pointed[image], mask_cell=mask_cell(masks["predicted"])))
        if row["target"] is None:
            continue
        target = decode_mask(row["target"])
        for source, mask in masks.items():
            counts[source].append((image, count_pixels(mask, target)))
    result: dict[str, Any] = {
        source: _grouped(
            pairs,
            lambda pair: dataset_of(pair[0]),
            lambda group: pixel_scores([counted for _, counted in group], resamples),
        )
        for source, pairs in counts.items()
        if pairs
    }
    if "predicted" in result:
        result["predicted"] |= mask_strata(counts["predicted"], resamples)
    if places:
        result["agreement"] = agreement(places, resamples)
    moved = jitter_scores({image.image: image for image in images}, rows, resamples)
    if moved is not None:
        result["stability"] = moved
    result["targets"] = targets
    result["missing"] = len(images) - len(rows)
    return result


def read_masks(path: Path, images: Sequence[ImageReading]) -> dict[str, Mapping[str, Any]]:
    """The lines of masks/<segmenter>.jsonl by image.

    Raises:
        InputError: a line belongs to other predictions than `images`.
    """
    known = {image.image: image for image in images}

    def read(row: dict[str, Any], number: int) -> dict[str, Any]:
        try:
            image = MaskLine.model_validate(row).image
        except ValidationError as error:
            places = {str(found["loc"][0]): None for found in error.errors()}
            raise InputError(
                f"expected masks as `anomalyr1 eval` writes them, found a line without "
                f"{', '.join(places)} at {path}:{number}; make the masks again"
            ) from None
        if image not in known or row["key"].get("predicted") != _corners(known[image]):
            raise InputError(
                f"expected masks of these predictions, found other boxes for {image} in {path}; "
                "make the masks again"
            )
        return row

    return {row["image"]: row for row in read_jsonl_as(read, path, "masks")}


def _corners(image: ImageReading) -> list[list[float]] | None:
    if image.boxes_in_image is None:
        return None
    return [[float(corner) for corner in box.xyxy] for box in image.boxes_in_image]
