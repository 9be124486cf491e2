"""The `iou` score: do the boxes lie where the defects are?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from anomalyr1.config.reward import IouOptions
from anomalyr1.geometry import areas, corner_array, iou_matrix
from anomalyr1.rewards.reading import Reading
from anomalyr1.schema import Box
from anomalyr1.values import in_words


@dataclass(frozen=True)
class Localization:
    """Equation: r = max over one-to-one matchings M of sum_(p,g in M) s(p, g) / max(#p, #g).

    #p and #g count the predicted and the gold boxes. None and none is 1, none against some 0; the
    row is None when its gold boxes are not known. A completion that fails the gate or has no
    readable list earns 0. Superfluous boxes enlarge the denominator, so neither many boxes nor one
    over the whole image pay.

    s is the IoU by default, which makes r `geometry.set_iou`. Options:

    - `similarity="giou"`: s = (1 + GIoU) / 2, GIoU = IoU - |C minus (p union g)| / |C| with C the
      smallest box around both (Rezatofighi et al., CVPR 2019). It tells near from far without any
      overlap; a box over the whole image earns at least 1/2, so watch the telemetry's
      `boxes/whole_image`.
    - `similarity="siou"`: s = IoU^e with e = 1 - gamma exp(-sqrt(|p| + |g|) / (sqrt(2) kappa)),
      gamma = `size_gamma`, kappa = `size_scale` in pixels (Scale-adaptive IoU, Le Jeune and
      Mokraoui, arXiv 2307.09562): a slip of one pixel costs a small box less than under IoU.
    - `threshold=t`: s becomes 1 where s >= t, else 0.
    - `label_aware`: s becomes 0 where the gold box has a label and the predicted one's differs
      (case and underscores do not count).

    Source: soft set IoU with Hungarian matching (Kuhn, 1955), as DETR (arXiv 2005.12872) matches.
    """

    options: IouOptions = field(default_factory=IouOptions)

    def __call__(self, reading: Reading) -> float | None:
        """Score one completion."""
        gold, predicted = reading.gold_in_model, reading.boxes_in_model
        if gold is None:
            return None
        if predicted is None or not reading.response.well_formed:
            return 0.0
        if not predicted and not gold:
            return 1.0
        if not predicted or not gold:
            return 0.0
        scores = similarities(predicted, gold, self.options)
        rows, columns = linear_sum_assignment(scores, maximize=True)
        return float(scores[rows, columns].sum()) / max(len(predicted), len(gold))


def similarities(
    predicted: Sequence[Box], gold: Sequence[Box], options: IouOptions
) -> NDArray[np.float64]:
    """The similarity s of every pair, in [0, 1]: (len(predicted), len(gold)).

    >>> similarities([Box(0, 0, 2, 2)], [Box(1, 0, 3, 2)], IouOptions(threshold=0.3)).tolist()
    [[1.0]]
    """
    scores = iou_matrix(predicted, gold)
    if options.similarity == "giou":
        scores = (1 + scores - _gap(predicted, gold, scores)) / 2
    elif options.similarity == "siou":
        both = np.add.outer(areas(corner_array(predicted)), areas(corner_array(gold)))
        decay = np.exp(-np.sqrt(both) / (np.sqrt(2) * options.size_scale))
        scores = scores ** (1 - options.size_gamma * decay)
    if options.threshold is not None:
        scores = (scores >= options.threshold).astype(np.float64)
    if options.label_aware:
        scores = scores * _same_label(predicted, gold)
    return scores


def _gap(
    predicted: Sequence[Box], gold: Sequence[Box], ious: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The share of the smallest box around both that neither covers; 1 where that box is empty."""
    a, b = corner_array(predicted)[:, None], corner_array(gold)[None]
    low = np.minimum(a[..., :2], b[..., :2])
    high = np.maximum(a[..., 2:], b[..., 2:])
    around = areas(np.concatenate([low, high], axis=-1))
    union = (areas(a) + areas(b)) / (1 + ious)  # IoU = I / U and the areas are U + I
    covered = np.divide(union, around, out=np.zeros_like(around), where=around > 0)
    return np.asarray(1 - covered, dtype=np.float64)


def _same_label(predicted: Sequence[Box], gold: Sequence[Box]) -> NDArray[np.bool_]:
    return np.array(
        [[g.label is None or _name(p.label) == _name(g.label) for g in gold] for p in predicted]
    )


def _name(label: str | None) -> str:
    return " ".join(in_words(label or "").casefold().split())
