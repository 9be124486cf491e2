"""Score recorded completions offline: what would a reward have given?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from anomalyr1.config.reward import RewardConfig
from anomalyr1.rewards.build import Term, build_rewards
from anomalyr1.rewards.luggage import of_lines
from anomalyr1.rewards.reading import read_batch
from anomalyr1.rewards.roam import outcome_of
from anomalyr1.schema import Outcome

_BATCH = 1024  # completions read at a time


@dataclass(frozen=True, slots=True)
class Scored:
    """What a reward gives one completion.

    `rewards` holds every term, None where a term does not apply. `total` is the
    weighted sum of the others, 0 where none applies, as TRL sums them. `outcome` is None without
    gold.
    """

    outcome: Outcome | None
    rewards: Mapping[str, float | None]
    total: float


@dataclass(frozen=True, slots=True)
class Change:
    """A completion that two rewards judge differently; `row` counts from 1."""

    row: int
    first: Scored
    second: Scored

    @property
    def difference(self) -> float:
        """By how much the second total exceeds the first."""
        return self.second.total - self.first.total


def score_completions(rows: Sequence[Mapping[str, Any]], config: RewardConfig) -> list[Scored]:
    """Score rows as `completion_lines.read_completions` gives them.

    >>> text = "<think>So the answer is B.</think><answer>B</answer>"
    >>> row = {"completion": text, "options": {"A": "No.", "B": "Yes."}, "answer": "B"}
    >>> score_completions([row], RewardConfig(preset="paper"))[0].total
    2.0
    """
    terms, weights = build_rewards(config)
    scored: list[Scored] = []
    for start in range(0, len(rows), _BATCH):
        scored += _score(rows[start : start + _BATCH], terms, weights)
    return scored


def changes(first: Sequence[Scored], second: Sequence[Scored]) -> list[Change]:
    """The completions whose total or outcome differs, the largest difference first."""
    found = [
        Change(row, one, other)
        for row, (one, other) in enumerate(zip(first, second, strict=True), start=1)
        if one.outcome != other.outcome or not math.isclose(one.total, other.total, abs_tol=1e-9)
    ]
    return sorted(found, key=lambda change: (-abs(change.difference), change.row))


def scored_row(row: Mapping[str, Any], scored: Scored) -> dict[str, Any]:
    """The line of the output: the input with `outcome`, `rewards` and `total`."""
    return {
        **row,
        "outcome": scored.outcome,
        "rewards": dict(scored.rewards),
        "total": scored.total,
    }


def _score(
    rows: Sequence[Mapping[str, Any]], terms: Sequence[Term], weights: Sequence[float]
) -> Iterator[Scored]:
    """Each term is called as TRL calls it, with the luggage of the rows as its columns."""
    completions = [row["completion"] for row in rows]
    columns = of_lines(rows)
    readings = read_batch(completions, columns, terms[0].gate)
    by_term = [term(completions, **columns) for term in terms]
    for reading, values in zip(readings, zip(*by_term, strict=True), strict=True):
        weighted = (
            weight * value
            for weight, value in zip(weights, values, strict=True)
            if value is not None
        )
        rewards = {term.name: value for term, value in zip(terms, values, strict=True)}
        yield Scored(outcome_of(reading), rewards, math.fsum(weighted))
