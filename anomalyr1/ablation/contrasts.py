"""The variants of an ablation side by side, and each against the baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev

from anomalyr1.ablation.results import Result
from anomalyr1.ablation.run_answers import Answers
from anomalyr1.evaluation.figures import FIGURES, Key, differences, ends_of
from anomalyr1.metrics.significance import SignFlips, sign_flips

STEPS, MINUTES = "steps", "minutes"  # what a run took; not compared


@dataclass(frozen=True)
class Contrast:
    """One measure of one variant against the baseline, over the seeds that both have.

    Attributes:
        difference: variant minus baseline, mean over the pairs of seeds.
        pairs: how many.
        flips: what permuting the pairs says.
        ends: 95 % interval, images drawn in pairs and seeds pooled; None for what is no figure of
            the evaluation.
        detectable: the smallest true difference that so many images would show in 80 % of
            repetitions.
    """

    difference: float
    pairs: int
    flips: SignFlips
    ends: tuple[float, float] | None = None
    detectable: float | None = None

    @property
    def is_clear(self) -> bool:
        """The interval does not reach 0."""
        return self.ends is not None and (self.ends[0] > 0 or self.ends[1] < 0)


@dataclass(frozen=True)
class Cell:
    """One measure of one variant.

    Attributes:
        mean: over the seeds.
        sd: over the seeds (n - 1); None for a single one.
        ends: 95 % interval of the mean, images drawn; None for what is no figure of the evaluation.
        values: of the seeds.
        contrast: against the baseline; None for the baseline itself.
    """

    mean: float
    sd: float | None
    ends: tuple[float, float] | None
    values: tuple[float, ...]
    contrast: Contrast | None


@dataclass(frozen=True)
class Line:
    """One variant.

    Attributes:
        variant: its name.
        finished: runs that did.
        tried: runs that were made.
        cells: measure -> cell, the same measures on every line; None where it was not measured.
        failed: what became of the other runs, a text each.
    """

    variant: str
    finished: int
    tried: int
    cells: Mapping[str, Cell | None]
    failed: tuple[str, ...]


def summarize(
    results: Sequence[Result], baseline: str, answers: Answers | None = None
) -> list[Line]:
    """A line a variant, in the order of the runs.

    Args:
        results: of all runs that were made.
        baseline: the variant that the others are compared with.
        answers: their completions, which are read anew; without them there are no intervals, and
            the figures are those of the day.
    """
    results = _read_anew(results, answers) if answers else results
    by_variant: dict[str, list[Result]] = {}
    for result in results:
        by_variant.setdefault(result.variant, []).append(result)
    names = _measures(results)
    lines = []
    for variant, runs in by_variant.items():
        finished = [run for run in runs if run.stage is None]
        contrasts = (
            {} if variant == baseline else _contrasts(by_variant.get(baseline, []), runs, answers)
        )
        counts = answers.shared([_key(run) for run in finished]) if answers and finished else None
        ends = ends_of(counts) if counts else {}
        cells = {}
        for name in names:
            values = tuple(found[name] for run in finished if name in (found := _values(run)))
            cells[name] = (
                Cell(
                    fmean(values),
                    stdev(values) if len(values) > 1 else None,
                    ends.get(name),
                    values,
                    contrasts.get(name),
                )
                if values
                else None
            )
        failed = tuple(
            f"seed {run.seed}: {run.stage}: {run.message}" for run in runs if run.stage is not None
        )
        lines.append(Line(variant, len(finished), len(runs), cells, failed))
    return lines


def _read_anew(results: Sequence[Result], answers: Answers) -> list[Result]:
    """With the figures that the completions give today, as intervals and differences are made.

    A run whose completions are not all there any more keeps those that were recorded.
    """
    counts = {
        _key(run): found[0]
        for run in results
        if run.stage is None and (found := answers.shared([_key(run)]))
    }
    every = frozenset[Key]().union(*(found.questions for found in counts.values()))
    return [
        replace(run, measures={**run.measures, **counts[_key(run)].values})
        if _key(run) in counts and counts[_key(run)].questions == every
        else run
        for run in results
    ]


def _contrasts(
    before: Sequence[Result], after: Sequence[Result], answers: Answers | None
) -> dict[str, Contrast]:
    """Measure -> the contrast of one variant's runs with the baseline's, paired by seed."""
    first = {run.seed: run for run in before if run.stage is None}
    pairs = [(first[run.seed], run) for run in after if run.stage is None and run.seed in first]
    if not pairs:
        return {}
    values = [(_values(one), _values(other)) for one, other in pairs]
    intervals = {}
    shared = answers.shared([_key(run) for pair in pairs for run in pair]) if answers else None
    if shared is not None:  # what these questions do not give is a figure of other questions
        values = [(_unfigured(one), _unfigured(other)) for one, other in values]
    if shared:
        intervals = differences(shared[::2], shared[1::2])
        on_shared = zip(values, shared[::2], shared[1::2], strict=True)
        values = [
            ({**one, **left.values}, {**other, **right.values})
            for (one, other), left, right in on_shared
        ]
    found = {}
    for name in values[0][0]:
        if name in (STEPS, MINUTES) or not all(name in side for pair in values for side in pair):
            continue
        differing = [after[name] - before[name] for before, after in values]
        flips = sign_flips(differing)
        assert flips is not None  # there is a pair
        contrast = Contrast(fmean(differing), len(pairs), flips)
        if name in intervals:
            interval = intervals[name]
            contrast = Contrast(
                interval.value, len(pairs), flips, interval.ends, interval.detectable
            )
        found[name] = contrast
    return found


def _measures(results: Sequence[Result]) -> list[str]:
    """Every measure that a run has: figures of the evaluation, the reward's, what a run took."""
    found = dict.fromkeys(name for run in results for name in _values(run))
    of_training = [name for name in found if name not in (*FIGURES, STEPS, MINUTES)]
    return [*(name for name in FIGURES if name in found), *of_training] + [
        name for name in (STEPS, MINUTES) if name in found
    ]


def _values(run: Result) -> dict[str, float]:
    if run.stage is not None:
        return {}
    return {**run.measures, MINUTES: run.seconds / 60}


def _unfigured(values: Mapping[str, float]) -> dict[str, float]:
    """Without the figures of the evaluation."""
    return {name: value for name, value in values.items() if name not in FIGURES}


def _key(run: Result) -> tuple[str, int]:
    return run.variant, run.seed
