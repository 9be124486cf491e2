"""The top of the report: what was evaluated, and the numbers to remember, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from anomalyr1.evaluation.report.intervals import interval_bar
from anomalyr1.evaluation.report.markup import Markup, tag
from anomalyr1.evaluation.report.runs import Run, best_segmenter
from anomalyr1.evaluation.report.tables import of_a_part, percent
from anomalyr1.metrics.mcq import AVERAGE, MISS, OVERKILL
from anomalyr1.schema import ANOMALY_DETECTION

Ends = Sequence[float] | None


@dataclass(frozen=True)
class Figure:
    """One headline number in percent; the lines of `detail` say what it is."""

    label: str
    value: float
    ends: Ends
    detail: tuple[str, ...]


def headline(run: Run, others: Sequence[Run]) -> Markup:
    """Title, subtitle, the tiles, and why one is missing.

    A tile names the value of the first of `others` too.
    """
    figures = _figures(run)
    before = {f.label: f.value for f in _figures(others[0])} if others else {}
    name = others[0].name if others else ""
    tiles = [_tile(figure, before.get(figure.label), name) for figure in figures]
    return tag(
        "header",
        tag("p", "AnomalyR1 report", class_="kicker"),
        tag("h1", run.name),
        tag("p", _subtitle(run), class_="subtitle"),
        tag("div", *tiles, class_="tiles") if tiles else None,
        of_a_part(run.metrics),
    )


def _tile(figure: Figure, before: float | None, name: str) -> Markup:
    detail = figure.detail
    if before is not None:
        detail = (*detail, f"{name}: {before:.1f}\u00a0%")
    interval = f"{figure.ends[0]:.1f} – {figure.ends[1]:.1f}" if figure.ends else None
    return tag(
        "div",
        tag("p", figure.label, class_="label"),
        tag("p", f"{figure.value:.1f}", tag("span", "%"), class_="value"),
        interval_bar(figure.value, figure.ends),
        tag("p", interval, class_="interval"),
        *(tag("p", line, class_="detail") for line in detail),
        class_="tile",
    )


def _figures(run: Run) -> list[Figure]:
    metrics = run.metrics
    if metrics is None:
        return []
    figures: list[Figure | None] = [
        _macro(metrics, "strict", "Strict accuracy"),
        _macro(metrics, "compat", "Compat accuracy"),
        _detection(metrics),
        *_located(metrics.get("localization", {})),
        _figure("Unreadable answers", metrics["invalid_rate"], None, ("of all completions",)),
    ]
    return [figure for figure in figures if figure is not None]


def _macro(metrics: Mapping[str, Any], name: str, label: str) -> Figure | None:
    counted, micro = metrics["counted"][name], percent(metrics["micro"][name])
    about = "macro" if name == "strict" else "MMAD's accounting, macro"
    detail = f"{about}; micro {micro}\u00a0%", f"{counted:,} questions counted"
    return _figure(label, metrics["macro"][name], metrics["intervals"]["macro"][name], detail)


def _detection(metrics: Mapping[str, Any]) -> Figure | None:
    table = metrics["mmad"]["strict"]
    if not table:
        return None
    ends = metrics["intervals"]["strict"][AVERAGE][ANOMALY_DETECTION]
    costs = metrics["overkill_miss"]["strict"][AVERAGE]
    detail = "balanced", f"overkill {percent(costs[OVERKILL])}, miss {percent(costs[MISS])}"
    return _figure(ANOMALY_DETECTION, table[AVERAGE][ANOMALY_DETECTION], ends, detail)


def _located(localization: Mapping[str, Any]) -> list[Figure | None]:
    figures: list[Figure | None] = []
    if "boxes" in localization:
        boxes = localization["boxes"]["pooled"]
        detail = (
            f"at IoU 0.33; at 0.5 {percent(boxes['f1@0.5'])}\u00a0%",
            f"{boxes['images']} images",
        )
        figures.append(_figure("Box F1", boxes["f1@0.33"], boxes["intervals"]["f1@0.33"], detail))
    masks = localization.get("masks", {})
    segmenter = best_segmenter(masks)
    if segmenter is not None and "predicted" in masks[segmenter]:
        pooled = masks[segmenter]["predicted"]["pooled"]
        ceiling = masks[segmenter].get("gold", {}).get("pooled", {}).get("iou")
        detail = (
            f"{segmenter}; from gold boxes {percent(ceiling)}\u00a0%",
            f"{pooled['anomalous']} defects",
        )
        figures.append(_figure("Mask IoU", pooled["iou"], pooled["intervals"]["iou"], detail))
    return figures


def _figure(label: str, value: float | None, ends: Ends, detail: tuple[str, ...]) -> Figure | None:
    return None if value is None else Figure(label, value, ends, detail)


def _subtitle(run: Run) -> str:
    parts = []
    if run.metrics is not None:
        counts = run.metrics["predictions"]
        datasets = {reading.prediction.dataset for reading in run.readings}
        parts.append(f"{counts['questions']:,} questions on {counts['images']:,} images")
        parts.append(", ".join(sorted(datasets)))
    steps = [row["step"] for row in run.history if isinstance(row.get("step"), (int, float))]
    if steps:
        parts.append(f"{int(max(steps)):,} training steps")
    return " · ".join(parts)
