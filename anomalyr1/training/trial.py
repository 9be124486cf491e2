"""What a reward makes of a few groups of completions, and which of its terms are dead."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev

from anomalyr1.policy.generate import Completion
from anomalyr1.rewards.build import Term
from anomalyr1.rewards.format import format_score
from anomalyr1.rewards.reading import read_batch
from anomalyr1.rewards.roam import outcome_of
from anomalyr1.rewards.variance import has_zero_variance
from anomalyr1.rows import Row
from anomalyr1.training.dataset import to_dataset


@dataclass(frozen=True)
class TermTrial:
    """What one term made of the trial's completions.

    Attributes:
        name: of the term.
        mean: over the completions it applies to; None where it applies to none.
        sd: likewise.
        applies: share of the completions it applies to.
        groups: groups it applies to.
        flat: of these, the ones in which it gives every completion the same.
    """

    name: str
    mean: float | None
    sd: float | None
    applies: float
    groups: int
    flat: int

    @property
    def is_dead(self) -> bool:
        """True when the term tells no two completions of a question apart."""
        return self.flat == self.groups


@dataclass(frozen=True)
class Trial:
    """What the reward made of the starting policy's completions.

    Attributes:
        groups: questions asked.
        generations: completions of each.
        terms: each term, then the weighted total.
        format_rate: share of completions that can be read as asked.
        outcomes: outcome -> share of the completions whose row has gold.
        faults: fault -> share of all completions, the most frequent first.
        example: one completion, its question, and its rewards by term.
    """

    groups: int
    generations: int
    terms: tuple[TermTrial, ...]
    format_rate: float
    outcomes: Mapping[str, float]
    faults: Mapping[str, float]
    example: tuple[str, str, Mapping[str, float | None]]

    @property
    def total(self) -> TermTrial:
        """The weighted total."""
        return self.terms[-1]


def judge(
    rows: Sequence[Row],
    groups: Sequence[Sequence[Completion]],
    terms: Sequence[Term],
    weights: Sequence[float],
) -> Trial:
    """Score the groups, one a row, and measure what each term contributes."""
    size = len(groups[0])
    completions = [completion for group in groups for completion in group]
    texts = [completion.text for completion in completions]
    dataset = to_dataset(rows).remove_columns(["prompt", "images"]).to_list()
    repeated = [record for record in dataset for _ in range(size)]
    columns = {name: [record[name] for record in repeated] for name in dataset[0]}
    columns["completion_ids"] = [list(completion.ids) for completion in completions]
    rewards = {term.name: term(texts, **columns) for term in terms}
    totals = [
        math.fsum(w * v for w, v in zip(weights, values, strict=True) if v is not None)
        for values in zip(*rewards.values(), strict=True)
    ]
    readings = read_batch(texts, columns, terms[0].gate)
    outcomes = [found for reading in readings if (found := outcome_of(reading)) is not None]
    faults = Counter(fault for reading in readings for fault in reading.response.errors)
    best = max(range(len(texts)), key=totals.__getitem__)
    return Trial(
        groups=len(groups),
        generations=size,
        terms=(
            *(_trial(name, values, size) for name, values in rewards.items()),
            _trial("total", totals, size),
        ),
        format_rate=fmean(format_score(reading) for reading in readings),
        outcomes={name: n / len(outcomes) for name, n in Counter(outcomes).most_common()},
        faults={name: n / len(readings) for name, n in faults.most_common()},
        example=(
            rows[best // size].question.text,
            texts[best],
            {name: values[best] for name, values in rewards.items()},
        ),
    )


def _trial(name: str, values: Sequence[float | None], size: int) -> TermTrial:
    known = [value for value in values if value is not None]
    groups = [
        group
        for start in range(0, len(values), size)
        if (group := [v for v in values[start : start + size] if v is not None])
    ]
    return TermTrial(
        name=name,
        mean=fmean(known) if known else None,
        sd=pstdev(known) if known else None,
        applies=len(known) / len(values),
        groups=len(groups),
        flat=sum(has_zero_variance(group) for group in groups),
    )
