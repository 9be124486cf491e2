"""Which training curves a log_history.jsonl holds, grouped into charts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from anomalyr1.evaluation.report.charts import STACK, Series, line_chart, run_colour, share_chart
from anomalyr1.evaluation.report.markup import Markup
from anomalyr1.schema import OUTCOMES

History = Sequence[Mapping[str, Any]]

# title, log keys with their names in the legend, what the reader should know
_LINES: tuple[tuple[str, dict[str, str], str | None], ...] = (
    ("Reward", {"reward": "training", "eval_reward": "held out"}, "mean of a step's completions"),
    ("Loss", {"loss": "training", "eval_loss": "held out"}, None),
    ("KL to the reference policy", {"kl": "kl"}, None),
    ("Entropy", {"entropy": "entropy"}, "nats a token"),
    (
        "Completion length",
        {
            "completions/mean_length": "mean",
            "completions/mean_terminated_length": "mean of those that ended",
        },
        "tokens",
    ),
    ("Token accuracy", {"mean_token_accuracy": "training"}, None),
    ("Groups with zero variance", {"zero_variance": "share"}, "no advantage, no gradient"),
    ("Gradient norm", {"grad_norm": "norm"}, None),
    ("Learning rate", {"learning_rate": "rate"}, None),
)


def training_charts(histories: Mapping[str, History]) -> list[Markup]:
    """Charts of one or more runs.

    A quantity with one line is drawn for every run; what needs several lines (the reward's terms,
    the outcomes) is drawn for the first run that logged it.
    """
    charts: list[Markup] = []
    for title, keys, note in _LINES:
        lines = _lines(histories, keys)
        if lines:
            charts.append(line_chart(title, lines, note))
        if title == "Reward":
            charts += _first(histories, _reward_terms)
            charts += _first(histories, _outcomes)
    return charts


def _lines(histories: Mapping[str, History], keys: Mapping[str, str]) -> list[Series]:
    found = [
        (run, name, *curve)
        for run, history in histories.items()
        for key, name in keys.items()
        if (curve := curve_of(history, key)) is not None
    ]
    runs, names = {run for run, *_ in found}, {name for _, name, *_ in found}
    return [
        Series(
            ", ".join([run] * (len(runs) > 1) + [name] * (len(names) > 1 or len(runs) == 1)),
            x,
            y,
            run_colour(index),
        )
        for index, (run, name, x, y) in enumerate(found)
    ]


def _first(
    histories: Mapping[str, History], draw: Callable[[History, str | None], Markup | None]
) -> list[Markup]:
    for run, history in histories.items():
        chart = draw(history, run if len(histories) > 1 else None)
        if chart is not None:
            return [chart]
    return []


def _reward_terms(history: History, run: str | None) -> Markup | None:
    keys = [key for key in _keys(history) if key.startswith("rewards/") and key.endswith("/mean")]
    lines = []
    for index, key in enumerate(keys):
        curve = curve_of(history, key)
        if curve is not None:
            name = key.removeprefix("rewards/").removesuffix("/mean")
            lines.append(Series(name, *curve, run_colour(index)))
    return line_chart("Reward terms", lines, run) if lines else None


def _outcomes(history: History, run: str | None) -> Markup | None:
    names = {outcome: _outcome_key(history, outcome) for outcome in OUTCOMES}
    present = {outcome: key for outcome, key in names.items() if key is not None}
    rows = [
        row for row in history if any(_number(row, key) is not None for key in present.values())
    ]
    if not rows:
        return None
    x = np.array([float(row["step"]) for row in rows])
    series = []
    for outcome in STACK:
        if outcome in present:
            y = np.array([_number(row, present[outcome]) or 0.0 for row in rows])
            series.append(Series(outcome.replace("_", " "), x, y, f"o-{outcome}"))
    return share_chart("Outcomes: reasoning against answer", series, run)


def _outcome_key(history: History, outcome: str) -> str | None:
    keys = set(_keys(history))
    return next((key for key in (f"outcome/{outcome}", outcome) if key in keys), None)


def _keys(history: History) -> list[str]:
    return sorted({key for row in history for key in row})


def curve_of(
    history: History, key: str
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]] | None:
    """Steps and values of a log key; None with fewer than two points."""
    points = [
        (float(row["step"]), value)
        for row in history
        if (value := _number(row, key)) is not None and _number(row, "step") is not None
    ]
    if len(points) < 2:
        return None
    steps, values = zip(*points, strict=True)
    return np.array(steps), np.array(values)


def _number(row: Mapping[str, Any], key: str) -> float | None:
    value = row.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)
