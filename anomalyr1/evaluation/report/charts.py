"""Small charts as inline SVG: lines and stacked shares. Colours are CSS classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anomalyr1.evaluation.report.markup import Markup, tag
from anomalyr1.evaluation.report.plot_frame import HEIGHT, WIDTH, Mark, Plot
from anomalyr1.schema import Outcome

COLOURS = 6

# ROAM's outcomes in the order they are stacked: right answers, contradictions, wrong, unreadable.
STACK: tuple[Outcome, ...] = (
    "aligned_correct",
    "silent_correct",
    "contradictory",
    "silent_wrong",
    "aligned_wrong",
    "malformed",
)


@dataclass(frozen=True)
class Series:
    """A named line: x and y of shape (points,), drawn in the CSS class `colour`."""

    label: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    colour: str


def line_chart(
    title: str, series: Sequence[Series], note: str | None = None, marks: Sequence[Mark] = ()
) -> Markup:
    """Raw values thin, a moving average over them thick, marked steps as dashed lines."""
    drawn = line_shapes(series, marks)
    return figure(title, drawn, [(line.label, line.colour) for line in series], note)


def line_shapes(series: Sequence[Series], marks: Sequence[Mark] = ()) -> list[Markup]:
    """The axes, lines and marks of such a chart, in a frame of `WIDTH` x `HEIGHT`."""
    steps = np.concatenate([line.x for line in series])
    values = np.concatenate([line.y for line in series])
    plot = Plot((float(steps.min()), float(steps.max())), _span(values))
    drawn = [plot.axes(), *(plot.mark(mark) for mark in marks)]
    for line in series:
        if len(line.x) > 3:
            drawn.append(plot.line(line.x, line.y, f"raw {line.colour}"))
        drawn.append(plot.line(line.x, smooth(line.y), f"line {line.colour}"))
        last = float(smooth(line.y)[-1])
        drawn.append(plot.dot(float(line.x[-1]), last, line.colour, f"{line.label}: {last:.4g}"))
    return drawn


def share_chart(
    title: str, series: Sequence[Series], note: str | None = None, marks: Sequence[Mark] = ()
) -> Markup:
    """Shares that add up to one, smoothed and stacked; all series have the same x."""
    x = series[0].x
    shares = np.array([smooth(line.y) for line in series])
    shares = shares / np.maximum(shares.sum(axis=0), 1e-9)
    edges = np.vstack([np.zeros_like(x), np.cumsum(shares, axis=0)])
    plot = Plot((float(x.min()), float(x.max())), (0.0, 1.0))
    drawn = [
        plot.area(x, edges[index], edges[index + 1], line.colour)
        for index, line in enumerate(series)
    ]
    return figure(
        title,
        [*drawn, plot.axes(), *(plot.mark(mark) for mark in marks)],
        [(line.label, line.colour) for line in series],
        note,
    )


def run_colour(index: int) -> str:
    """The CSS class of the `index`-th run or series."""
    return f"c{index % COLOURS}"


def smooth(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Centred moving average over about a twelfth of the points, which does not lag behind them.

    >>> smooth(np.array([1.0, 1.0, 1.0])).tolist()
    [1.0, 1.0, 1.0]
    """
    reach = len(values) // 12
    kernel = np.concatenate([np.arange(1, reach + 2), np.arange(reach, 0, -1)]).astype(np.float64)
    weights = np.convolve(np.ones(len(values)), kernel, "full")
    sums = np.convolve(values, kernel, "full")
    inner = slice(reach, reach + len(values))
    return np.asarray(sums[inner] / weights[inner])


def _span(values: NDArray[np.float64]) -> tuple[float, float]:
    """The range of the y axis: the data with a margin, from 0 where the data nearly reach it."""
    low, high = float(values.min()), float(values.max())
    margin = 0.06 * (high - low) or 0.1 * abs(high) or 0.5
    return (0.0 if 0 <= low < 0.4 * high else low - margin), high + margin


def legend(labels: Sequence[tuple[str, str]]) -> Markup | None:
    """Names beside their colours; nothing for a single one."""
    if len(labels) < 2:
        return None
    return tag(
        "p",
        *(tag("span", tag("i", class_=f"swatch {colour}"), label) for label, colour in labels),
        class_="legend",
    )


def figure(
    title: str,
    drawn: Sequence[Markup],
    labels: Sequence[tuple[str, str]],
    note: str | None,
    *below: Markup,
    said: str | None = None,
) -> Markup:
    """A chart with its title and legend.

    Args:
        title: over the chart.
        drawn: what stands in its frame of `WIDTH` x `HEIGHT`.
        labels: names and their colours.
        note: in small print beside the title.
        below: more, under the legend.
        said: the chart in words, for who does not see it; its title by default.
    """
    drawing = tag(
        "svg",
        *drawn,
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        aria_label=said or title,
        class_="plot",
    )
    return tag(
        "figure",
        tag("figcaption", title, tag("small", note) if note else None),
        drawing,
        legend(labels),
        *below,
        class_="chart",
    )
