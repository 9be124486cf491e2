"""Masks from boxes: one line an image in masks/<segmenter>.jsonl, so that scoring needs no image.

Each line holds three masks, to be read beside each other: from the predicted boxes, from the gold
boxes (the ceiling: what the segmenter makes of perfect boxes) and from the whole image as one box
(the floor); the masks of the predicted boxes one by one; and the gold mask they are compared with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anomalyr1 import run_folder
from anomalyr1.data.fault_lists import refusal
from anomalyr1.data.images import image_size, open_image, read_mask
from anomalyr1.data.many_cores import over_files
from anomalyr1.data.rle import encode_mask
from anomalyr1.errors import InputError
from anomalyr1.evaluation.box_jitter import Jitter, jittered_masks
from anomalyr1.evaluation.image_readings import ImageReading, image_readings, readings_of
from anomalyr1.evaluation.prediction_lines import read_predictions
from anomalyr1.schema import Box
from anomalyr1.segmentation.segmenter import (
    Segmenter,
    fill_boxes,
    load_segmenter,
    segment,
    united,
)
from anomalyr1.storage import append_jsonl, resume_jsonl, write_jsonl

Progress = Callable[[Iterable[ImageReading]], Iterable[ImageReading]]

SOURCES = ("predicted", "gold", "whole")

_EXPECTED = "masks"


def make_masks(
    predictions: Path,
    root: Path,
    segmenter: str | Segmenter = "box",
    *,
    checkpoint: str | None = None,
    device: str | None = None,
    out_dir: Path | None = None,
    jitter: Jitter | None = None,
    progress: Progress = iter,
) -> Path:
    """Write masks/<segmenter>.jsonl beside the predictions; an interrupted run is continued.

    Args:
        predictions: a predictions.jsonl.
        root: the data root that `image` and `mask` are relative to.
        segmenter: one of `SEGMENTERS`, or an object with the `Segmenter` interface.
        checkpoint: weights of the segmenter, a local file or a hub id.
        device: torch device for the segmenter.
        out_dir: where masks go; the folder `masks` beside `predictions` by default.
        jitter: moves the predicted boxes too, and makes masks of them; None does not.
        progress: wraps the loop over images, for a progress bar.

    Returns:
        The file.

    Raises:
        InputError: predictions, an image or the segmenter's weights cannot be used.
    """
    images = image_readings(readings_of(read_predictions(predictions)))
    if isinstance(segmenter, str):
        segmenter = load_segmenter(segmenter, checkpoint, device=device)
    folder = out_dir or predictions.parent / run_folder.MASKS
    path = folder / run_folder.masks_file(segmenter.name)
    extend_masks(path, images, root, segmenter, jitter=jitter, progress=progress)
    return path


def extend_masks(
    path: Path,
    images: Sequence[ImageReading],
    root: Path,
    segmenter: Segmenter,
    *,
    others: Sequence[Path] = (),
    jitter: Jitter | None = None,
    progress: Progress = iter,
) -> int:
    """Bring a file of masks to one line an image, in the order of the images.

    A line made from other boxes or by other segmenter settings than the present ones is made anew.

    Args:
        path: the file; what an interrupted run left in it is kept.
        images: that it is to have.
        root: the data root that `image` and `mask` are relative to.
        segmenter: makes what is missing.
        others: files whose lines are taken over where they fit.
        jitter: moves the predicted boxes too; None takes lines with and without.
        progress: wraps the loop over the images that have none yet.

    Returns:
        How many lines were made.

    Raises:
        InputError: an image is missing or of another size, told of all before the first is
            segmented; or it cannot be decoded.
    """
    done = _still_valid(path, images, segmenter, others, jitter)
    waiting = [image for image in images if image.image not in done]
    _require_images(waiting, root)
    for image in progress(waiting):
        append_jsonl(path, [_mask_row(image, root, segmenter, jitter)])
    if waiting:
        _still_valid(path, images, segmenter, (), jitter)  # in order
    return len(waiting)


def _still_valid(
    path: Path,
    images: Sequence[ImageReading],
    segmenter: Segmenter,
    others: Sequence[Path],
    jitter: Jitter | None,
) -> set[str]:
    """Images whose line can stay; lines that cannot are taken out of the file."""
    expected = {image.image: _key(image, segmenter, jitter) for image in images}
    rows = resume_jsonl(path, _EXPECTED)
    found = rows + [row for other in others for row in resume_jsonl(other, _EXPECTED)]
    fitting = {
        row["image"]: row
        for row in found
        if row.get("image") in expected
        and _fits(row.get("key"), expected[row["image"]])
        and "instances" in row
    }
    kept = [fitting[image.image] for image in images if image.image in fitting]
    if kept != rows or not path.exists():
        write_jsonl(path, kept)
    return set(fitting)


def _require_images(images: Sequence[ImageReading], root: Path) -> None:
    """All images that are missing or of another size, told at once."""
    faults = []
    for reading, size in over_files(lambda image: image_size(root / image.image), images):
        if isinstance(size, InputError):
            faults.append(str(size))
        elif reading.size not in (None, size):
            faults.append(
                f"expected {reading.image} to be {reading.size} pixels as the predictions record, "
                f"found {size} under {root}; give the data root the predictions were made from"
            )
    if len(faults) == 1:
        raise InputError(faults[0])
    if faults:
        headline = (
            f"expected the images of the predictions under {root}, found {{}} of {len(images)} "
            "that cannot be used; give the data root the predictions were made from"
        )
        raise refusal(headline, faults)


def _key(image: ImageReading, segmenter: Segmenter, jitter: Jitter | None) -> dict[str, Any]:
    """All that a line depends on apart from the pixels."""
    return {
        "settings": segmenter.settings,
        "predicted": _corners(image.boxes_in_image),
        "gold": _corners(image.gold_in_image),
        "mask": image.mask,
        **({} if jitter is None else {"jitter": jitter.key}),
    }


def _fits(key: Any, expected: dict[str, Any]) -> bool:
    """A line with moved boxes serves also where none are asked for."""
    if isinstance(key, dict) and "jitter" not in expected:
        key = {name: value for name, value in key.items() if name != "jitter"}
    return bool(key == expected)


def _mask_row(
    image: ImageReading, root: Path, segmenter: Segmenter, jitter: Jitter | None
) -> dict[str, Any]:
    pixels = np.asarray(open_image(root / image.image))
    height, width = pixels.shape[:2]
    one_by_one = list(segmenter.masks(pixels, image.boxes_in_image or ()))
    gold = image.gold_in_image
    masks = {
        "predicted": united(one_by_one, width, height),
        "gold": None if gold is None else segment(segmenter, pixels, gold),
        "whole": segment(segmenter, pixels, (Box(0, 0, width, height),)),
    }
    moved = {"jittered": jittered_masks(jitter, segmenter, pixels, image)} if jitter else {}
    readable = image.boxes_in_image is not None
    target, target_from, error = _target(image, root, (width, height))
    if not readable:
        error = "unreadable boxes" if error is None else f"unreadable boxes; {error}"
    return {
        "image": image.image,
        "size": [width, height],
        "segmenter": segmenter.name,
        "key": _key(image, segmenter, jitter),
        "masks": {
            name: None if mask is None else encode_mask(mask) for name, mask in masks.items()
        },
        "instances": [encode_mask(mask) for mask in one_by_one] if readable else None,
        **moved,
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
