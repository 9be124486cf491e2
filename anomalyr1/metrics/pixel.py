"""One binary mask an image, without scores: overlap, pooled pixels, PRO at the operating point.

An anomalous image with an empty prediction scores 0. A normal image with an empty prediction has
nothing to overlap and is left out of the overlap means; what normals show is their false alarms.
There is no AUPRO or pixel AUROC here: a mask without scores has one operating point, not a curve.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from anomalyr1.metrics.bootstrap import RESAMPLES, SEED, mean_interval
from anomalyr1.metrics.detection import percent


@dataclass(frozen=True, slots=True)
class PixelCounts:
    """Pixel counts of one image, and the covered share (0-1) of every connected gold region."""

    tp: int
    fp: int
    fn: int
    tn: int
    regions: tuple[float, ...]

    @property
    def is_normal(self) -> bool:
        """No gold pixel."""
        return self.tp + self.fn == 0

    @property
    def gold_share(self) -> float:
        """Share of the image that is gold, 0-1."""
        return (self.tp + self.fn) / (self.tp + self.fp + self.fn + self.tn)

    @property
    def is_empty(self) -> bool:
        """No predicted pixel."""
        return self.tp + self.fp == 0

    @property
    def iou(self) -> float:
        """Intersection over union, 0-1; 0 where both are empty (callers leave that case out)."""
        return self.tp / max(1, self.tp + self.fp + self.fn)

    @property
    def dice(self) -> float:
        """2 tp / (2 tp + fp + fn), 0-1."""
        return 2 * self.tp / max(1, 2 * self.tp + self.fp + self.fn)


def count_pixels(predicted: NDArray[np.bool_], gold: NDArray[np.bool_]) -> PixelCounts:
    """Compare two masks of shape (height, width); gold regions are 8-connected.

    >>> gold = np.array([[1, 1, 0, 0, 1]], dtype=bool)
    >>> count_pixels(np.array([[1, 0, 0, 1, 0]], dtype=bool), gold)
    PixelCounts(tp=1, fp=1, fn=2, tn=1, regions=(0.5, 0.0))
    """
    if predicted.shape != gold.shape:
        raise ValueError(f"expected masks of one shape, found {predicted.shape} and {gold.shape}")
    tp = int(np.count_nonzero(predicted & gold))
    in_predicted, in_gold = int(np.count_nonzero(predicted)), int(np.count_nonzero(gold))
    fp, fn = in_predicted - tp, in_gold - tp
    return PixelCounts(tp, fp, fn, gold.size - tp - fp - fn, _covered(predicted, gold))


def pixel_scores(
    images: Sequence[PixelCounts], resamples: int = RESAMPLES, seed: int = SEED
) -> dict[str, Any]:
    """Every mask metric over a set of images, in percent.

    Returns:
        `images`, `anomalous`, `normal`: how many of each.
        `iou`, `dice`: means over anomalous images, an empty prediction being 0.
        `pixel_precision`, `pixel_recall`, `pixel_f1`, `pixel_iou`: pixels of all images pooled.
        `pro`: mean covered share of the gold regions (per-region overlap) at this operating point,
        to be read beside `pixel_fpr`, the share of normal pixels that are marked.
        `normal_flagged`: share of normal images with any marked pixel; `normal_area`: mean marked
        share of a normal image.
        `intervals`: 95 % cluster bootstrap by image for `iou` and `dice`.
    """
    anomalous = [image for image in images if not image.is_normal]
    normal = [image for image in images if image.is_normal]
    tp, fp = sum(i.tp for i in images), sum(i.fp for i in images)
    fn, tn = sum(i.fn for i in images), sum(i.tn for i in images)
    regions = [share for image in anomalous for share in image.regions]
    areas = [image.fp / (image.fp + image.tn) for image in normal]
    return {
        "images": len(images),
        "anomalous": len(anomalous),
        "normal": len(normal),
        "pixel_precision": percent(tp, tp + fp),
        "pixel_recall": percent(tp, tp + fn),
        "pixel_f1": percent(2 * tp, 2 * tp + fp + fn),
        "pixel_iou": percent(tp, tp + fp + fn),
        "pro": percent(sum(regions), len(regions)),
        "pixel_fpr": percent(fp, fp + tn),
        "normal_flagged": percent(sum(not i.is_empty for i in normal), len(normal)),
        "normal_area": percent(sum(areas), len(areas)),
        **overlap_scores(anomalous, resamples, seed),
    }


def overlap_scores(
    anomalous: Sequence[PixelCounts], resamples: int = RESAMPLES, seed: int = SEED
) -> dict[str, Any]:
    """`iou` and `dice` of anomalous images, and their `intervals`, as in `pixel_scores`."""
    ious = np.array([100 * image.iou for image in anomalous])
    dices = np.array([100 * image.dice for image in anomalous])
    return {
        "iou": float(ious.mean()) if anomalous else None,
        "dice": float(dices.mean()) if anomalous else None,
        "intervals": {
            "iou": mean_interval(ious, resamples, seed),
            "dice": mean_interval(dices, resamples, seed),
        },
    }


def _covered(predicted: NDArray[np.bool_], gold: NDArray[np.bool_]) -> tuple[float, ...]:
    """Share of each gold region that is predicted; only the bounding box of gold is looked at."""
    rows, columns = np.flatnonzero(gold.any(axis=1)), np.flatnonzero(gold.any(axis=0))
    if rows.size == 0:
        return ()
    window = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    _, labels = cv2.connectedComponents(gold[window].astype(np.uint8), connectivity=8)
    size = np.bincount(labels.ravel())
    covered = np.bincount(labels[predicted[window]], minlength=len(size))
    return tuple(float(share) for share in covered[1:] / size[1:])
