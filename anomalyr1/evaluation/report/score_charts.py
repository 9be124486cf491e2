"""P(anomalous) as charts: reliability diagrams, and overkill against miss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from anomalyr1.evaluation.letter_scores import PLACES
from anomalyr1.evaluation.report.charts import figure, run_colour
from anomalyr1.evaluation.report.markup import Child, Markup, join, tag
from anomalyr1.evaluation.report.plot_frame import Plot
from anomalyr1.evaluation.report.tables import DASH, grid, percent, with_interval
from anomalyr1.metrics.overkill_curve import WANTED_OVERKILL
from anomalyr1.schema import Weigh

_WHOLE = (0.0, 100.0)
_POINTS = {"even": "threshold 0.5", "chosen": f"overkill at most {100 * WANTED_OVERKILL:.0f} %"}
_COUNTS = 14  # height of a line of counts
_BAR = 0.3  # of the frame's height: the tallest bar of counts


def score_charts(scores: Mapping[Weigh, Any]) -> Markup | None:
    """The charts of one run; None where nothing was scored.

    Args:
        scores: by where the likelihood was taken, as `score_measures` gives them.
    """
    pooled = {PLACES[weigh]: found["pooled"] for weigh, found in scores.items()}
    charts = [
        reliability_chart(name, cells, run_colour(index))
        for index, (name, cells) in enumerate(pooled.items())
        if cells["ece"] is not None
    ]
    charts += _trade_offs("Overkill against miss", pooled)
    for weigh, found in scores.items():
        if len(found["datasets"]) > 1:
            title = f"Overkill against miss by data set, {PLACES[weigh]}"
            charts += _trade_offs(title, found["datasets"])
    return tag("div", *charts, class_="charts") if charts else None


def reliability_chart(name: str, cells: Mapping[str, Any], colour: str) -> Markup:
    """The bins of one score: a dot where images lie in it, their number above it.

    Args:
        name: of the score.
        cells: its measures, `reliability` among them.
        colour: CSS class.
    """
    bins = [cell for cell in cells["reliability"] if cell["images"]]
    plot = Plot(_WHOLE, _WHOLE, "P(anomalous), %", "anomalous, % (images in each bin)", _COUNTS)
    most = max(cell["images"] for cell in bins)
    foot, top = float(plot.py(0)), float(plot.py(100))
    drawn = [plot.axes(), plot.line(np.array(_WHOLE), np.array(_WHOLE), "diagonal")]
    for cell in bins:
        left, right = (float(plot.px(100 * cell[end])) for end in ("from", "to"))
        height = _BAR * (foot - top) * cell["images"] / most
        drawn += [
            tag(
                "rect",
                x=f"{left + 1:.1f}",
                y=f"{foot - height:.1f}",
                width=f"{right - left - 2:.1f}",
                height=f"{height:.1f}",
                class_="count",
            ),
            tag(
                "text",
                _short(cell["images"]),
                x=f"{(left + right) / 2:.1f}",
                y=f"{top - 6:.1f}",
                class_="tick",
                text_anchor="middle",
            ),
        ]
    for cell in bins:
        if cell["interval"] is not None:
            drawn.append(plot.whisker(cell["said"], cell["interval"], colour))
        about = f"{cell['images']:,} images: said {percent(cell['said'])} %"
        about += f", anomalous {percent(cell['anomalous'])} %"
        drawn.append(plot.dot(cell["said"], cell["anomalous"], colour, about, 3.5))
    error, ends = cells["ece"], cells["intervals"]["ece"]
    told = f"ECE\u00a0{percent(error)}\u00a0%"
    if ends is not None:
        told += f" ({percent(ends[0])}\u00a0–\u00a0{percent(ends[1])})"
    rows: list[list[Child]] = [
        [
            f"{100 * cell['from']:.0f} – {100 * cell['to']:.0f}",
            f"{cell['images']:,}",
            percent(cell["said"]),
            with_interval(cell["anomalous"], cell["interval"]),
        ]
        for cell in cells["reliability"]
    ]
    table = grid(["Bin, %", "Images", "Mean P(anomalous)", "Anomalous"], rows)
    said = f"Reliability diagram of {name}: {told} over {len(rows)} bins; the table has them"
    return figure(f"Reliability, {name}", drawn, [], told, _numbers(table), said=said)


def _trade_offs(title: str, found: Mapping[str, Mapping[str, Any]]) -> list[Markup]:
    """One chart of a line for each score that ranks images of both classes."""
    ranked = {name: cells for name, cells in found.items() if cells["curve"] is not None}
    return [trade_off_chart(title, ranked)] if ranked else []


def trade_off_chart(title: str, found: Mapping[str, Mapping[str, Any]]) -> Markup:
    """Overkill to the right, miss upwards; the chosen point is ringed, that of 0.5 is a dot.

    Args:
        title: over the chart.
        found: name -> measures, `curve` and `operating_points` among them.
    """
    plot = Plot(_WHOLE, _WHOLE, "overkill, %", "miss, %")
    drawn = [plot.axes()]
    rows: list[list[Child]] = []
    for index, (name, cells) in enumerate(found.items()):
        colour, curve = run_colour(index), cells["curve"]
        x, y = (np.array(curve[side]) for side in ("overkill", "miss"))
        drawn.append(plot.line(x, y, f"line {colour}"))
        for point, about in _POINTS.items():
            at = cells["operating_points"][point]
            rows.append([join([name, tag("small", about)]), *_point(at)])
            if at is not None:
                told = f"{name}, {about}: overkill {percent(at['overkill'])} %, "
                told += f"miss {percent(at['miss'])} %"
                how = (f"ring {colour}", 6) if point == "chosen" else (colour, 3.5)
                drawn.append(plot.dot(at["overkill"], at["miss"], how[0], told, how[1]))
    table = grid(["", "Threshold", "Overkill", "Miss"], rows, "Operating points")
    chosen = [
        f"{name} {percent(at['miss'])} %"
        for name, cells in found.items()
        if (at := cells["operating_points"]["chosen"]) is not None
    ]
    said = f"{title}; miss at an {_POINTS['chosen']}: {', '.join(chosen) or 'none'}"
    labels = [(name, run_colour(index)) for index, name in enumerate(found)]
    note = f"ring: {_POINTS['chosen']}; dot: {_POINTS['even']}"
    return figure(title, drawn, labels, note, _numbers(table), said=said)


def _point(at: Mapping[str, Any] | None) -> Sequence[Child]:
    if at is None:
        return [DASH] * 3
    sides = [with_interval(at[side], at["intervals"][side]) for side in ("overkill", "miss")]
    return [f"{at['threshold']:.3f}", *sides]


def _numbers(table: Markup) -> Markup:
    return tag("details", tag("summary", "the numbers"), table, class_="numbers")


def _short(count: int) -> str:
    """A count of four characters at most, as many as fit over a bin.

    >>> _short(999), _short(1204), _short(39672)
    ('999', '1.2k', '40k')
    """
    if count < 1000:
        return str(count)
    return f"{count / 1000:.1f}k" if count < 9950 else f"{count / 1000:.0f}k"
