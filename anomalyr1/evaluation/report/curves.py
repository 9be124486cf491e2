"""Which training curves a log_history.jsonl holds, grouped into charts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from anomalyr1.evaluation.report.charts import (
    STACK,
    Series,
    line_chart,
    run_colour,
    share_chart,
)
from anomalyr1.evaluation.report.markup import Markup
from anomalyr1.evaluation.report.plot_frame import Mark
from anomalyr1.rewards.telemetry import BOX_IOU, LETTER, OUTCOME
from anomalyr1.schema import OUTCOMES
from anomalyr1.values import in_words, is_number

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
    ("Reasoning length", {"reasoning/characters": "mean"}, "characters"),
    ("Completions cut off", {"completions/clipped_ratio": "share"}, "at their longest"),
    ("Boxes on defects", {BOX_IOU: "set IoU"}, "images with a defect"),
    ("Token accuracy", {"mean_token_accuracy": "training"}, None),
    ("Groups with zero variance", {"zero_variance": "share"}, "no advantage, no gradient"),
    ("Gradient norm", {"grad_norm": "norm"}, None),
    ("Learning rate", {"learning_rate": "rate"}, None),
)


@dataclass(frozen=True)
class Training:
    """What the training of a run logged, and what its guard warned of."""

    name: str
    history: History
    warnings: History = ()


def training_charts(runs: Sequence[Training]) -> list[Markup]:
    """Charts of one or more runs.

    A quantity with one line is drawn for every run; what needs several lines (the reward's terms,
    the outcomes, the letters) is drawn for the first run that logged it. Where a run was warned of
    a quantity, its chart is marked.
    """
    charts: list[Markup] = []
    for title, keys, note in _LINES:
        lines = _lines(runs, keys)
        if lines:
            every = [line for run in runs for line in run.warnings]
            charts.append(line_chart(title, lines, note, _marks(every, keys)))
        if title == "Reward":
            for draw in (_reward_terms, _outcomes, _letters):
                charts += _first(runs, draw)
    return charts


def _marks(warnings: History, keys: Iterable[str]) -> list[Mark]:
    """The steps since which a chart of these log keys shows a fault."""
    return [
        Mark(float(line["since"]), str(line.get("text")))
        for line in warnings
        if line.get("key") in set(keys) and is_number(line.get("since"))
    ]


def _lines(runs: Sequence[Training], keys: Mapping[str, str]) -> list[Series]:
    found = [
        (place, name, *curve)
        for place, run in enumerate(runs)
        for key, name in keys.items()
        if (curve := curve_of(run.history, key)) is not None
    ]
    places, names = {place for place, *_ in found}, {name for _, name, *_ in found}
    several = len(places) > 1
    return [
        Series(
            ", ".join([runs[place].name] * several + [name] * (len(names) > 1 or not several)),
            x,
            y,
            run_colour(index),
        )
        for index, (place, name, x, y) in enumerate(found)
    ]


def _first(
    runs: Sequence[Training], draw: Callable[[History, History, str | None], Markup | None]
) -> list[Markup]:
    for run in runs:
        chart = draw(run.history, run.warnings, run.name if len(runs) > 1 else None)
        if chart is not None:
            return [chart]
    return []


def _reward_terms(history: History, warnings: History, run: str | None) -> Markup | None:
    return _family("Reward terms", "rewards/", "/mean", history, warnings, run)


def _letters(history: History, warnings: History, run: str | None) -> Markup | None:
    return _family("Letters answered", LETTER, "", history, warnings, run)


def _family(
    title: str, prefix: str, suffix: str, history: History, warnings: History, run: str | None
) -> Markup | None:
    """A line for each log key of a form."""
    keys = [key for key in _keys(history) if key.startswith(prefix) and key.endswith(suffix)]
    lines = []
    for index, key in enumerate(keys):
        curve = curve_of(history, key)
        if curve is not None:
            name = key.removeprefix(prefix).removesuffix(suffix)
            lines.append(Series(name, *curve, run_colour(index)))
    return line_chart(title, lines, run, _marks(warnings, keys)) if lines else None


def _outcomes(history: History, warnings: History, run: str | None) -> Markup | None:
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
            series.append(Series(in_words(outcome), x, y, f"o-{outcome}"))
    marks = _marks(warnings, present.values())
    return share_chart("Outcomes: reasoning against answer", series, run, marks)


def _outcome_key(history: History, outcome: str) -> str | None:
    keys = set(_keys(history))
    return next((key for key in (f"{OUTCOME}{outcome}", outcome) if key in keys), None)


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
    value: Any = row.get(key)
    return float(value) if is_number(value) else None
