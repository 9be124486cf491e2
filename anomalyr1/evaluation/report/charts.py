"""Small charts as inline SVG: lines and stacked shares. Colours are CSS classes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anomalyr1.evaluation.report.markup import Markup, join, tag
from anomalyr1.schema import Outcome

WIDTH, HEIGHT = 420, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 10, 30
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


@dataclass(frozen=True)
class Mark:
    """A step to look at, and what is said of it."""

    step: float
    about: str


def line_chart(
    title: str, series: Sequence[Series], note: str | None = None, marks: Sequence[Mark] = ()
) -> Markup:
    """Raw values thin, a moving average over them thick, marked steps as dashed lines."""
    drawn = line_shapes(series, marks)
    return _figure(title, drawn, [(line.label, line.colour) for line in series], note)


def line_shapes(series: Sequence[Series], marks: Sequence[Mark] = ()) -> list[Markup]:
    """The axes, lines and marks of such a chart, in a frame of `WIDTH` x `HEIGHT`."""
    steps = np.concatenate([line.x for line in series])
    values = np.concatenate([line.y for line in series])
    plot = _Plot((float(steps.min()), float(steps.max())), _span(values))
    drawn = [plot.axes(), *(plot.mark(mark) for mark in marks)]
    for line in series:
        if len(line.x) > 3:
            drawn.append(plot.path(line.x, line.y, f"raw {line.colour}"))
        drawn.append(plot.path(line.x, smooth(line.y), f"line {line.colour}"))
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
    plot = _Plot((float(x.min()), float(x.max())), (0.0, 1.0))
    drawn = [
        plot.area(x, edges[index], edges[index + 1], line.colour)
        for index, line in enumerate(series)
    ]
    return _figure(
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


def ticks(low: float, high: float, about: int = 4) -> list[float]:
    """Round numbers between low and high.

    >>> ticks(0, 1)
    [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    rough = (high - low) / about
    power = 10 ** math.floor(math.log10(rough))
    step = min((f * power for f in (1, 2, 2.5, 5, 10)), key=lambda s: abs(s - rough))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


class _Plot:
    """The frame of one chart: data to pixels, axes, and the shapes inside."""

    def __init__(self, x: tuple[float, float], y: tuple[float, float]) -> None:
        self.x = x if x[1] > x[0] else (x[0] - 1, x[0] + 1)
        self.y = y

    def _px(self, x: NDArray[np.float64] | float) -> NDArray[np.float64]:
        share = (np.asarray(x) - self.x[0]) / (self.x[1] - self.x[0])
        return np.asarray(_LEFT + share * (WIDTH - _LEFT - _RIGHT))

    def _py(self, y: NDArray[np.float64] | float) -> NDArray[np.float64]:
        share = (np.asarray(y) - self.y[0]) / (self.y[1] - self.y[0])
        return np.asarray(HEIGHT - _BOTTOM - share * (HEIGHT - _TOP - _BOTTOM))

    def axes(self) -> Markup:
        parts = []
        for value in ticks(*self.y):
            y = f"{float(self._py(value)):.1f}"
            parts.append(tag("line", x1=_LEFT, x2=WIDTH - _RIGHT, y1=y, y2=y, class_="grid"))
            parts.append(
                tag(
                    "text",
                    f"{value:.4g}",
                    x=_LEFT - 6,
                    y=y,
                    class_="tick",
                    text_anchor="end",
                    dominant_baseline="middle",
                )
            )
        for value in ticks(*self.x, about=5):
            x = f"{float(self._px(value)):.1f}"
            parts.append(
                tag("text", f"{value:.6g}", x=x, y=HEIGHT - 14, class_="tick", text_anchor="middle")
            )
        parts.append(
            tag("text", "step", x=WIDTH - _RIGHT, y=HEIGHT - 2, class_="tick", text_anchor="end")
        )
        return join(parts)

    def mark(self, mark: Mark) -> Markup:
        x = f"{float(self._px(mark.step)):.1f}"
        about = tag("title", mark.about)
        return tag("line", about, x1=x, x2=x, y1=_TOP, y2=HEIGHT - _BOTTOM, class_="mark")

    def path(self, x: NDArray[np.float64], y: NDArray[np.float64], class_: str) -> Markup:
        return tag("path", d="M" + self._points(x, y), class_=class_)

    def area(
        self, x: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64], c: str
    ) -> Markup:
        outline = self._points(np.concatenate([x, x[::-1]]), np.concatenate([low, high[::-1]]))
        return tag("path", d=f"M{outline}Z", class_=f"area {c}")

    def dot(self, x: float, y: float, colour: str, about: str) -> Markup:
        cx, cy = f"{float(self._px(x)):.1f}", f"{float(self._py(y)):.1f}"
        return tag("circle", tag("title", about), cx=cx, cy=cy, r=2.6, class_=f"dot {colour}")

    def _points(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> str:
        pairs = zip(self._px(x), self._py(y), strict=True)
        return " ".join(f"{px:.1f},{py:.1f}" for px, py in pairs)


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


def _figure(
    title: str, drawn: Sequence[Markup], labels: Sequence[tuple[str, str]], note: str | None
) -> Markup:
    drawing = tag(
        "svg", *drawn, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=title, class_="plot"
    )
    return tag(
        "figure",
        tag("figcaption", title, tag("small", note) if note else None),
        drawing,
        legend(labels),
        class_="chart",
    )
