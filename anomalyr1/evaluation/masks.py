"""Masks from boxes: one line an image in masks/<segmenter>.jsonl, so that scoring needs no image.

Each line holds three masks, to be read beside each other: from the predicted boxes, from the gold
boxes (the ceiling: what the segmenter makes of perfect boxes) and from the whole image as one box
(the floor); and the gold mask they are compared with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anomalyr1 import run_folder
from anomalyr1.data.images import open_image, read_mask
from anomalyr1.data.rle import encode_mask
from anomalyr1.errors import InputError
from anomalyr1.evaluation.image_readings import ImageReading, image_readings, readings_of
from anomalyr1.evaluation.prediction_lines import read_predictions
from anomalyr1.schema import Box
from anomalyr1.segmentation.segmenter import Segmenter, fill_boxes, load_segmenter
from anomalyr1.storage import append_jsonl, resume_jsonl, write_jsonl

Progress = Callable[[Iterable[ImageReading]], Iterable[ImageReading]]

SOURCES = ("predicted", "gold", "whole")


def make_masks(
    predictions: Path,
    root: Path,
    segmenter: str | Segmenter = "box",
    *,
    checkpoint: str | None = None,
    device: str | None = None,
    out_dir: Path | None = None,
    progress: Progress = iter,
) -> Path:
    """Write masks/<segmenter>.jsonl beside the predictions; an interrupted run is continued.

    A line made from other boxes or by other segmenter settings than the present ones is made anew.

    Args:
        predictions: a predictions.jsonl.
        root: the data root that `image` and `mask` are relative to.
        segmenter: `box`, `grabcut`, `sam2`, or an object with the `Segmenter` interface.
        checkpoint: SAM2 weights, a local file or a hub id.
        device: torch device for SAM2.
        out_dir: where masks go; the folder `masks` beside `predictions` by default.
        progress: wraps the loop over images, for a progress bar.

    Returns:
        The file.

    Raises:
        InputError: predictions, an image or SAM2's checkpoint cannot be used.
    """
    images = image_readings(readings_of(read_predictions(predictions)))
    if isinstance(segmenter, str):
        segmenter = load_segmenter(segmenter, checkpoint, device=device)
    folder = out_dir or predictions.parent / run_folder.MASKS
    path = folder / run_folder.masks_file(segmenter.name)
    done = _still_valid(path, images, segmenter)
    for image in progress([image for image in images if image.image not in done]):
        append_jsonl(path, [_mask_row(image, root, segmenter)])
    return path


def _still_valid(path: Path, images: Sequence[ImageReading], segmenter: Segmenter) -> set[str]:
    """Images whose line can stay; lines that cannot are taken out of the file."""
    expected = {image.image: _key(image, segmenter) for image in images}
    rows = resume_jsonl(path, "masks")
    kept: dict[str, dict[str, Any]] = {}
    for row in rows:
        image = row.get("image", "")
        if row.get("key") == expected.get(image):
            kept[image] = row
    if len(kept) != len(rows) or not path.exists():
        write_jsonl(path, kept.values())
    return set(kept)


def _key(image: ImageReading, segmenter: Segmenter) -> dict[str, Any]:
    """All that a line depends on apart from the pixels."""
    return {
        "settings": segmenter.settings,
        "predicted": _corners(image.boxes_in_image),
        "gold": _corners(image.gold_in_image),
        "mask": image.mask,
    }


def _mask_row(image: ImageReading, root: Path, segmenter: Segmenter) -> dict[str, Any]:
    pixels = np.asarray(open_image(root / image.image))
    height, width = pixels.shape[:2]
    if image.size not in (None, (width, height)):
        raise InputError(
            f"expected {image.image} to be {image.size} pixels as the predictions record, found "
            f"{(width, height)} under {root}; give the data root the predictions were made from"
        )
    boxes = {
        "predicted": image.boxes_in_image or (),
        "gold": image.gold_in_image,
        "whole": (Box(0, 0, width, height),),
    }
    masks = {
        source: None if of is None else encode_mask(segmenter.segment(pixels, of))
        for source, of in boxes.items()
    }
    target, target_from, error = _target(image, root, (width, height))
    if image.boxes_in_image is None:
        error = "unreadable boxes" if error is None else f"unreadable boxes; {error}"
    return {
        "image": image.image,
        "size": [width, height],
        "segmenter": segmenter.name,
        "key": _key(image, segmenter),
        "masks": masks,
        "target": None if target is None else encode_mask(target),
        "target_from": target_from,
        "error": error,
    }


def _target(
    image: ImageReading, root: Path, size: tuple[int, int]
) -> tuple[NDArray[np.bool_] | None, str | None, str | None]:
    """The gold mask, where it is from, and why there is none.

    A defect that has boxes but no mask on record is compared with its filled boxes.
    """
    width, height = size
    if image.normal:
        return np.zeros((height, width), dtype=np.bool_), "normal", None
    missing = "no gold mask on record"
    if image.mask:
        try:
            mask = read_mask(root / image.mask, size)
        except InputError as error:
            missing = str(error)
        else:
            if mask.any():
                return mask, "mask", None
            missing = f"the gold mask {image.mask} of a defect is empty"
    elif image.gold_in_image:
        return fill_boxes(image.gold_in_image, width, height), "boxes", None
    return None, None, missing


def _corners(boxes: Sequence[Box] | None) -> list[list[float]] | None:
    return None if boxes is None else [[float(corner) for corner in box.xyxy] for box in boxes]
