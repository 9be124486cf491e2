"""Several evaluations side by side: intervals, and paired differences to the first of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from anomalyr1.evaluation.kept_settings import unlike_but_for_the_policy
from anomalyr1.evaluation.report.changed_answers import change_lists
from anomalyr1.evaluation.report.difference import macro_difference
from anomalyr1.evaluation.report.intervals import Row, interval_chart
from anomalyr1.evaluation.report.markup import Child, Markup, join, tag
from anomalyr1.evaluation.report.runs import Run
from anomalyr1.evaluation.report.tables import DASH, grid, of_a_part, percent, with_interval
from anomalyr1.evaluation.right_answers import Changes
from anomalyr1.metrics.mcq import AVERAGE

_NOTE = (
    "The difference is {name} minus the other, in points of strict macro accuracy, on the "
    "questions both answered. Its interval draws the same images for both runs: where it does not "
    "reach 0, the runs differ. Images better: {name} gave more right answers to the questions of "
    "an image; p is McNemar's exact test over images. Detectable: the true difference that so many "
    "images would show in 80 % of repetitions."
)
Value = tuple[float | None, Sequence[float] | None]


def comparison(
    runs: Sequence[Run], found: Sequence[Changes], gallery: Mapping[str, int]
) -> Markup | None:
    """Chart, table and the answers that changed; None with fewer than two evaluated runs.

    Args:
        runs: those with metrics; the first is held against each of the others.
        found: what changed since each of the others, in their order.
        gallery: image -> its place in the gallery.
    """
    if len(runs) < 2:
        return None
    main, others = runs[0], runs[1:]
    rows = _chart_rows([run.metrics for run in runs if run.metrics is not None])
    return join(
        [
            interval_chart(rows, [run.name for run in runs]) if rows else None,
            _table(runs),
            tag("p", _NOTE.format(name=main.name), class_="note"),
            *(of_a_part(run.metrics, f"{run.name}: ") for run in runs),
            *(_unlike(main, other) for other in others),
            *(
                change_lists(main, other, of, gallery)
                for other, of in zip(others, found, strict=True)
            ),
        ]
    )


def _chart_rows(metrics: Sequence[Mapping[str, Any]]) -> list[Row]:
    macro = [(m["macro"]["strict"], m["intervals"]["macro"]["strict"]) for m in metrics]
    rows: list[tuple[str, list[Value]]] = [("Strict accuracy", macro)]
    columns = dict.fromkeys(
        name for m in metrics for name in m["mmad"]["strict"].get(AVERAGE, {}) if name != AVERAGE
    )
    rows += [(name, [_average(m, name) for m in metrics]) for name in columns]
    rows += [
        (name, [_box(m, key) for m in metrics])
        for name, key in (("Box F1 @ 0.33", "f1@0.33"), ("Box F1 @ 0.5", "f1@0.5"))
    ]
    segmenters = dict.fromkeys(
        name for m in metrics for name in m.get("localization", {}).get("masks", {})
    )
    rows += [(f"Mask IoU, {name}", [_mask(m, name) for m in metrics]) for name in segmenters]
    return [(name, of) for name, of in rows if any(value is not None for value, _ in of)]


def _average(metrics: Mapping[str, Any], column: str) -> Value:
    table = metrics["mmad"]["strict"]
    if not table:
        return None, None
    return table[AVERAGE][column], metrics["intervals"]["strict"][AVERAGE][column]


def _box(metrics: Mapping[str, Any], key: str) -> Value:
    boxes = metrics.get("localization", {}).get("boxes")
    if boxes is None:
        return None, None
    return boxes["pooled"][key], boxes["pooled"]["intervals"][key]


def _mask(metrics: Mapping[str, Any], segmenter: str) -> Value:
    masks = metrics.get("localization", {}).get("masks", {})
    pooled = masks.get(segmenter, {}).get("predicted", {}).get("pooled")
    return (None, None) if pooled is None else (pooled["iou"], pooled["intervals"]["iou"])


def _table(runs: Sequence[Run]) -> Markup:
    rows: list[list[Child]] = []
    for index, run in enumerate(runs):
        metrics = run.metrics
        assert metrics is not None
        ends = metrics["intervals"]
        row: list[Child] = [run.name, f"{metrics['predictions']['questions']:,}"]
        for accounting in ("strict", "compat"):
            row.append(with_interval(metrics["macro"][accounting], ends["macro"][accounting]))
        row.append(with_interval(metrics["micro"]["strict"], ends["micro"]["strict"]))
        row.append(percent(metrics["invalid_rate"]))
        row += _difference(runs[0], run) if index else [""] * 3
        rows.append(row)
    header = ["", "Questions", "Strict macro", "Compat macro", "Strict micro", "Unreadable"]
    header += ["Difference", "Images better / worse", "Detectable"]
    return grid(header, rows, "Runs compared")


def _unlike(main: Run, other: Run) -> Markup | None:
    """What was set otherwise in another run than in the first, beside the policy."""
    assert main.metrics is not None and other.metrics is not None
    cards = [run.metrics["settings"]["card"] for run in (other, main) if run.metrics is not None]
    found = unlike_but_for_the_policy(*cards)
    if not found.fields and not found.unknown:
        return None
    warned = "note warning" if found.fields else "note"
    told = f"{other.name}: its settings and those of {main.name} {found.told}."
    return tag("p", told, class_=warned)


def _difference(main: Run, other: Run) -> list[Child]:
    metrics = [run.metrics for run in (main, other) if run.metrics is not None]
    of_parts = any(of.get("empty_cells") for of in metrics)  # which have no macro accuracy
    found = None if of_parts else macro_difference(other.readings, main.readings)
    if found is None:
        return [DASH] * 3
    difference, images = found
    ends = difference.ends
    small = "" if ends is None else f"{ends[0]:+.1f} – {ends[1]:+.1f}"
    clear = ends is not None and (ends[0] > 0 or ends[1] < 0)
    value = tag("b", f"{difference.value:+.1f}") if clear else f"{difference.value:+.1f}"
    return [
        join([value, tag("small", small)]),
        join([f"{images.better} / {images.worse}", tag("small", f"p {images.p:.2g}")]),
        percent(difference.detectable),
    ]
