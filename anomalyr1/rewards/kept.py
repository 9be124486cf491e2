"""The completions a training run keeps: each with its luggage, its rewards and its advantage."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from anomalyr1.rewards.reading import completion_text


def kept_row(
    step: int,
    completion: Any,
    columns: Mapping[str, Any],
    rewards: Mapping[str, float | None],
    advantage: float | None,
) -> dict[str, Any]:
    """One line of `completions/step-NNNNN.jsonl`, which `reward replay` scores as training did.

    Args:
        step: of the optimizer.
        completion: a plain text, or a conversation.
        columns: the completion's part of what `luggage.of_batch` gave, and whatever else a reader
            should see (outcome, conclusion, errors).
        rewards: term -> what training gave it; None or NaN where the term does not apply.
        advantage: of the completion in its group.

    >>> row = kept_row(3, "x", {"answer": "B"}, {"accuracy": float("nan")}, 0.5)
    >>> row["answer"], row["rewards"], row["advantage"]
    ('B', {'accuracy': None}, 0.5)
    """
    return {
        "step": step,
        "completion": completion_text(completion),
        **columns,
        "rewards": {name: _number(value) for name, value in rewards.items()},
        "advantage": _number(advantage),
    }


def as_trained(reward: float | None) -> float | None:
    """A replayed reward as training holds it: TRL keeps rewards in float32.

    This is all that may lie between a reward that was logged and its replay: the two are equal
    after it, bit for bit.

    >>> as_trained(0.1), as_trained(None)
    (0.10000000149011612, None)
    """
    return None if reward is None else float(np.float32(reward))


def _number(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else float(value)
