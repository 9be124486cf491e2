"""ROAM, the Reasoned Outcome Alignment Metric: do reasoning, answer and gold agree?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from anomalyr1.rewards.reading import Reading
from anomalyr1.schema import Box, Outcome, Response

# The released objective's table (AnomalyR1, arXiv 2504.11914, and its code).
PAPER_TABLE: Mapping[Outcome, float] = {
    "malformed": 0.0,
    "aligned_correct": 1.0,
    "silent_correct": 0.8,
    "contradictory": 0.0,
    "aligned_wrong": 0.1,
    "silent_wrong": 0.05,
}


def verdict(boxes: Sequence[Box]) -> str:
    """What a list of boxes says of the product.

    >>> verdict([]), verdict([Box(0, 0, 1, 1)])
    ('normal', 'abnormal')
    """
    return "abnormal" if boxes else "normal"


def outcome(response: Response, gold: str) -> Outcome:
    """Where a response stands in the table of outcomes.

    With T the conclusion of the reasoning, A the answer and s the gold: `malformed` (gate failed or
    A unreadable), `aligned_correct` (T = A = s), `silent_correct` (no T, A = s), `contradictory`
    (T given, T != A), `aligned_wrong` (T = A != s), `silent_wrong` (no T, A != s).

    Args:
        response: what the completion says.
        gold: an option letter; for a grounding question "normal" or "abnormal", and A is what the
            response's boxes say of the product.

    >>> response = Response("So the answer is B.", "B", "B", "B", None, True)
    >>> outcome(response, "B"), outcome(response, "A")
    ('aligned_correct', 'aligned_wrong')
    """
    answer = stated_answer(response, grounding=gold in ("normal", "abnormal"))
    if answer is None:
        return "malformed"
    if response.conclusion is None:
        return "silent_correct" if answer == gold else "silent_wrong"
    if response.conclusion != answer:
        return "contradictory"
    return "aligned_correct" if answer == gold else "aligned_wrong"


def stated_answer(response: Response, grounding: bool) -> str | None:
    """A: the letter, or what the boxes say; None when the gate failed or it is unreadable."""
    if not response.well_formed:
        return None
    if not grounding:
        return response.answer
    return None if response.boxes is None else verdict(response.boxes)


def gold_answer(reading: Reading) -> str | None:
    """s: the gold letter, or what the gold boxes say; None when the row has no gold."""
    if not reading.is_grounding:
        return reading.question.answer
    return None if reading.gold_in_model is None else verdict(reading.gold_in_model)


def outcome_of(reading: Reading) -> Outcome | None:
    """The outcome of a row; None when it has no gold."""
    gold = gold_answer(reading)
    return None if gold is None else outcome(reading.response, gold)


@dataclass(frozen=True)
class Consistency:
    """The `consistency` score: the outcome's value in a table; None without gold.

    r = table[outcome(T, A, s)], with `PAPER_TABLE` the released objective's.
    Source: AnomalyR1 (arXiv 2504.11914), its released reward.
    """

    table: tuple[tuple[Outcome, float], ...] = tuple(PAPER_TABLE.items())

    def __call__(self, reading: Reading) -> float | None:
        """Score one completion."""
        found = outcome_of(reading)
        return None if found is None else dict(self.table)[found]
