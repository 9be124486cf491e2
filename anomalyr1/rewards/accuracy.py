"""The `accuracy` score: is the answer right?"""

from __future__ import annotations

from anomalyr1.rewards.reading import Reading
from anomalyr1.rewards.roam import gold_answer, stated_answer


def accuracy(reading: Reading) -> float | None:
    """Equation: r = 1 if A = s, else 0; None without gold.

    A choice row compares letters. A grounding row compares what the boxes say of the product, some
    or none, with what the gold boxes say; how well they lie is the business of `iou`. A completion
    that fails the gate, or whose answer is unreadable, earns 0: refusing does not pay.
    Source: AnomalyR1 (arXiv 2504.11914), its released choice reward.
    """
    gold = gold_answer(reading)
    if gold is None:
        return None
    return float(stated_answer(reading.response, reading.is_grounding) == gold)
