"""Benchmarks drawn from laws whose true figures are known, for scripts/interval_coverage.py.

Each law has its `truth`, and draws a benchmark of so many images and the `intervals` that the
functions behind `score` and `compare` give of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from anomalyr1.evaluation.figures import Counts, differences
from anomalyr1.metrics.bootstrap import mean_interval, ratio_intervals, ratios
from anomalyr1.metrics.boxes import BOX_RATIOS, ImageBoxes, box_parts
from anomalyr1.metrics.mcq import AVERAGE, COLUMNS, ChoiceRecord, Tally, accuracy, tally
from anomalyr1.metrics.score_curves import MEASURES, Scored, score_measures, weighted_measures
from anomalyr1.schema import SUBTASKS, Box

Ends = dict[str, tuple[float, float] | None]

NORMAL_SHARE = 0.4
# A question each, Object Analysis is asked twice: its subtask, the share of images that have it,
# the chance of a right answer on a normal image (None: never asked of one) and on another.
QUESTIONS = (
    (SUBTASKS[0], 1.0, 0.80, 0.70),
    (SUBTASKS[1], 0.9, None, 0.60),
    (SUBTASKS[2], 0.9, None, 0.55),
    (SUBTASKS[3], 0.9, None, 0.65),
    (SUBTASKS[4], 0.9, None, 0.80),
    (SUBTASKS[5], 0.4, 0.93, 0.93),
    (SUBTASKS[6], 0.5, 0.85, 0.85),
    (SUBTASKS[6], 0.5, 0.85, 0.85),
)
ASKED = np.array([share for _, share, _, _ in QUESTIONS])
ON_NORMAL = np.array([np.nan if normal is None else normal for _, _, normal, _ in QUESTIONS])
ON_ANOMALOUS = np.array([anomalous for _, _, _, anomalous in QUESTIONS])
UNREADABLE = 0.3  # of the wrong answers
_RATIOS = (*BOX_RATIOS, "unreadable", "contradictory")


@dataclass(frozen=True)
class AnswerLaw:
    """Choice questions whose answers are alike within an image.

    An image is easy or hard (a normal deviate u), and so is a question (e); an answer is right
    where sqrt(alike) u + sqrt(1 - alike) e is below the quantile of its accuracy, which is exact
    therefore, whatever `alike` is.

    Attributes:
        alike: correlation of the deviates of an image's questions.
        datasets: so many, of the same number of images, each with accuracies of its own.
        rare: every accuracy is 98 %.
    """

    alike: float = 0.3
    datasets: int = 1
    rare: bool = False

    @cached_property
    def chances(self) -> NDArray[np.float64]:
        """(datasets, normal or anomalous, questions): the true accuracies."""
        both = np.stack([ON_NORMAL, ON_ANOMALOUS])
        if self.rare:
            both = np.where(np.isnan(both), np.nan, 0.98)
        shifts = 0.25 * (np.arange(self.datasets) - (self.datasets - 1) / 2)
        return np.asarray(norm.cdf(norm.ppf(both) + shifts[:, None, None]))

    @cached_property
    def truth(self) -> dict[str, float]:
        """The row "Average" and micro under the strict accounting, and the macro of `compat`."""
        normal, anomalous = 100 * self.chances.mean(axis=0)
        subtasks = [(normal[0] + anomalous[0]) / 2, *anomalous[1:-1]]
        columns = [*subtasks, np.mean(subtasks), 100 - normal[0], 100 - anomalous[0]]
        weights = ASKED * np.array([[NORMAL_SHARE], [1 - NORMAL_SHARE]]) * ~np.isnan(self.chances)
        micro = 100 * np.nansum(weights * self.chances) / weights.sum()
        # MMAD's walk has no closed form: its truth is that of very many images.
        many = accuracy(self.records(np.random.default_rng(1), 20_000), "compat", resamples=2)
        assert many.macro is not None
        named = zip(COLUMNS, columns, strict=True)
        return {
            **{name: float(value) for name, value in named},
            "micro": float(micro),
            "compat": many.macro,
        }

    def records(self, generator: np.random.Generator, images: int) -> list[ChoiceRecord]:
        """The answers to a benchmark of so many images."""
        shape = images, len(QUESTIONS)
        dataset = np.arange(images) % self.datasets
        anomalous = generator.random(images) >= NORMAL_SHARE
        chances = self.chances[dataset, anomalous.astype(int)]
        asked = (generator.random(shape) < ASKED) & ~np.isnan(chances)
        ease = self.alike**0.5 * generator.normal(size=(images, 1))
        ease = ease + (1 - self.alike) ** 0.5 * generator.normal(size=shape)
        right = ease < norm.ppf(chances)
        read = right | (generator.random(shape) >= UNREADABLE)
        folder = [
            f"set{of}/part/test/{'bad' if bad else 'good'}"
            for of, bad in zip(dataset, anomalous, strict=True)
        ]
        return [
            ChoiceRecord(
                image=f"{folder[image]}/{image}.png",
                dataset=f"set{dataset[image]}",
                subtask=QUESTIONS[number][0],
                normal=not anomalous[image],
                gold="A",
                answer="A" if right[image, number] else "B" if read[image, number] else None,
            )
            for image, number in zip(*np.nonzero(asked), strict=True)
        ]

    def intervals(self, generator: np.random.Generator, images: int, resamples: int) -> Ends:
        """Of a benchmark drawn anew."""
        records = self.records(generator, images)
        strict = accuracy(records, "strict", resamples)
        compat = accuracy(records, "compat", resamples)
        return {
            **strict.intervals[AVERAGE],
            "micro": strict.micro_interval,
            "compat": compat.macro_interval,
        }


@dataclass(frozen=True)
class ScoreLaw:
    """Scores that are the exact probability of a defect given a normal deviate.

    The deviate has mean 0 on normal and `apart` on anomalous images: AUROC is Phi(apart / sqrt 2).
    The others are those of very many images.
    """

    apart: float

    def scores(
        self, generator: np.random.Generator, images: int
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """(images,) scores and gold labels."""
        anomalous = generator.random(images) >= NORMAL_SHARE
        deviate = generator.normal(size=images) + self.apart * anomalous
        logit = self.apart * (deviate - self.apart / 2) + np.log((1 - NORMAL_SHARE) / NORMAL_SHARE)
        # Confident beyond what is so: a calibration error is there to be found.
        return 1 / (1 + np.exp(-1.5 * logit)), anomalous

    @cached_property
    def truth(self) -> dict[str, float]:
        """All measures."""
        scores, anomalous = self.scores(np.random.default_rng(1), 500_000)
        once = np.ones((1, len(scores)), dtype=np.float64)
        found = dict(zip(MEASURES, weighted_measures(scores, anomalous, once)[0], strict=True))
        return {name: float(value) for name, value in found.items()} | {
            "auroc": float(100 * norm.cdf(self.apart / 2**0.5))
        }

    def intervals(self, generator: np.random.Generator, images: int, resamples: int) -> Ends:
        """Of a benchmark drawn anew."""
        scores, anomalous = self.scores(generator, images)
        pairs = enumerate(zip(anomalous, scores, strict=True))
        scored = [Scored(f"set/{i}", "set", not bad, float(score)) for i, (bad, score) in pairs]
        return dict(score_measures(scored, resamples)["pooled"]["intervals"])


@dataclass(frozen=True)
class PairLaw:
    """Two runs on one benchmark, its images drawn from 4,000 whose figures are the truth.

    The second gives the first one's answer to 60 % of the questions, and more right ones to the
    rest; its boxes lie closer.
    """

    stock: int = 4000

    @cached_property
    def runs(self) -> tuple[Counts, Counts]:
        """What the figures of both are made of, on all images."""
        generator = np.random.default_rng(2)
        first = AnswerLaw().records(generator, self.stock)
        second = [
            one
            if generator.random() < 0.6
            else replace(one, answer="A" if generator.random() < 0.8 else "B")
            for one in first
        ]
        gold = [_boxes(generator, number) for number in generator.integers(4, size=self.stock)]
        return (
            self._counts(generator, first, [_found(generator, boxes, 9.0) for boxes in gold]),
            self._counts(generator, second, [_found(generator, boxes, 6.0) for boxes in gold]),
        )

    @cached_property
    def truth(self) -> dict[str, float]:
        """The differences over all images."""
        first, second = self.runs
        return {name: second.values[name] - first.values[name] for name in first.values}

    def intervals(self, generator: np.random.Generator, images: int, _resamples: int) -> Ends:
        """Of the differences on so many images; `compare` has a number of draws of its own."""
        rows = generator.integers(self.stock, size=images)
        first, second = (_part(run, rows) for run in self.runs)
        return {name: found.ends for name, found in differences([first], [second]).items()}

    def _counts(
        self,
        generator: np.random.Generator,
        records: list[ChoiceRecord],
        boxes: list[ImageBoxes],
    ) -> Counts:
        answers = np.zeros((self.stock, 3, 2))  # none of RobustMAD's
        row = {
            image: number for number, image in enumerate(dict.fromkeys(r.image for r in records))
        }
        for one in records:
            contradictory = generator.random() < 0.04
            answers[row[one.image]] += [(one.answer is None, 1), (contradictory, 1), (0, 0)]
        return Counts(frozenset(), tally(records, "strict"), answers, box_parts(boxes))


@dataclass(frozen=True)
class BoxLaw(PairLaw):
    """The boxes and answers of the first run alone."""

    @property
    def truth(self) -> dict[str, float]:
        """The ratios over all images."""
        return dict(zip(_RATIOS, ratios(self._parts.sum(axis=0)).tolist(), strict=True))

    def intervals(self, generator: np.random.Generator, images: int, resamples: int) -> Ends:
        """Of so many images."""
        parts = self._parts[generator.integers(self.stock, size=images)]
        return dict(zip(_RATIOS, ratio_intervals(parts, resamples), strict=True))

    @cached_property
    def _parts(self) -> NDArray[np.float64]:
        first, _ = self.runs
        return np.concatenate([first.boxes, first.answers[:, :2]], axis=1)


@dataclass(frozen=True)
class MaskLaw:
    """A share of one image each, 0 for three in ten, else Beta(4, 2): mean IoU of masks."""

    @property
    def truth(self) -> dict[str, float]:
        """In percent."""
        return {"mean IoU": 100 * 0.7 * 4 / 6}

    def intervals(self, generator: np.random.Generator, images: int, resamples: int) -> Ends:
        """Of images drawn anew."""
        found = generator.random(images) >= 0.3
        shares = 100 * found * generator.beta(4, 2, size=images)
        return {"mean IoU": mean_interval(shares, resamples)}


def _part(counts: Counts, rows: NDArray[np.int64]) -> Counts:
    """The same of some images of one data set, which may stand there several times."""
    whole = counts.choices
    counted, correct = whole.counted[0][rows], whole.correct[0][rows]
    named = tuple(f"set0/{number}" for number in range(len(rows)))
    part = Tally(
        whole.datasets, (named,), (counted,), (correct,), counted.sum(0)[None], whole.accounting
    )
    return Counts(counts.questions, part, counts.answers[rows], counts.boxes[rows])


def _boxes(generator: np.random.Generator, number: int) -> tuple[Box, ...]:
    corners = generator.uniform(0, 180, size=(number, 2))
    sides = generator.uniform(20, 50, size=(number, 2))
    return tuple(
        Box(*corner, *(corner + side)) for corner, side in zip(corners, sides, strict=True)
    )


def _found(generator: np.random.Generator, gold: tuple[Box, ...], spread: float) -> ImageBoxes:
    """Four fifths of the boxes, each moved, and one more in a fifth of the images."""
    moved = []
    for box in gold:
        dx, dy = generator.normal(scale=spread, size=2)
        if generator.random() < 0.8:
            moved.append(Box(box.x1 + dx, box.y1 + dy, box.x2 + dx, box.y2 + dy))
    return ImageBoxes((*moved, *_boxes(generator, int(generator.random() < 0.2))), gold)
