"""The frame that a chart stands in: data to pixels, axes, and the shapes inside."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anomalyr1.evaluation.report.markup import Markup, join, tag

WIDTH, HEIGHT = 420, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 10, 30
_LINE = 16  # of text

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Mark:
    """A step to look at, and what is said of it."""

    step: float
    about: str


class Plot:
    """The frame of one chart: data to pixels, axes, and the shapes inside.

    Args:
        x: the range of the data.
        y: the range of the data.
        about_x: what is drawn to the right.
        about_y: what is drawn upwards; it stands in a line above the frame.
        over: more height above the frame.
    """

    def __init__(
        self,
        x: tuple[float, float],
        y: tuple[float, float],
        about_x: str = "step",
        about_y: str | None = None,
        over: int = 0,
    ) -> None:
        self.x = x if x[1] > x[0] else (x[0] - 1, x[0] + 1)
        self.y = y
        self.about_x, self.about_y = about_x, about_y
        self.top = _TOP + over + (0 if about_y is None else _LINE)

    def px(self, x: Floats | float) -> Floats:
        """Pixels from the left of values of x."""
        share = (np.asarray(x) - self.x[0]) / (self.x[1] - self.x[0])
        return np.asarray(_LEFT + share * (WIDTH - _LEFT - _RIGHT))

    def py(self, y: Floats | float) -> Floats:
        """Pixels from the top of values of y."""
        share = (np.asarray(y) - self.y[0]) / (self.y[1] - self.y[0])
        return np.asarray(HEIGHT - _BOTTOM - share * (HEIGHT - self.top - _BOTTOM))

    def axes(self) -> Markup:
        """Lines across, numbers, and what the axes are of."""
        parts = []
        for value in ticks(*self.y):
            y = f"{float(self.py(value)):.1f}"
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
            x = f"{float(self.px(value)):.1f}"
            parts.append(
                tag("text", f"{value:.6g}", x=x, y=HEIGHT - 14, class_="tick", text_anchor="middle")
            )
        at = {"x": WIDTH - _RIGHT, "y": HEIGHT - 2, "text_anchor": "end"}
        parts.append(tag("text", self.about_x, **at, class_="tick"))
        if self.about_y is not None:
            parts.append(tag("text", self.about_y, x=2, y=_TOP + 2, class_="tick"))
        return join(parts)

    def mark(self, mark: Mark) -> Markup:
        """A dashed line from top to bottom."""
        x = f"{float(self.px(mark.step)):.1f}"
        about = tag("title", mark.about)
        return tag("line", about, x1=x, x2=x, y1=self.top, y2=HEIGHT - _BOTTOM, class_="mark")

    def line(self, x: Floats, y: Floats, class_: str) -> Markup:
        """A line through points."""
        return tag("path", d="M" + self._points(x, y), class_=class_)

    def whisker(self, x: float, ends: Sequence[float], colour: str) -> Markup:
        """An interval of y at one x."""
        at = f"{float(self.px(x)):.1f}"
        low, high = (f"{float(self.py(end)):.1f}" for end in ends)
        return tag("line", x1=at, x2=at, y1=low, y2=high, class_=f"whisker {colour}")

    def area(self, x: Floats, low: Floats, high: Floats, c: str) -> Markup:
        """What lies between two lines."""
        outline = self._points(np.concatenate([x, x[::-1]]), np.concatenate([low, high[::-1]]))
        return tag("path", d=f"M{outline}Z", class_=f"area {c}")

    def dot(self, x: float, y: float, colour: str, about: str, radius: float = 2.6) -> Markup:
        """A point, and what is said of it."""
        cx, cy = f"{float(self.px(x)):.1f}", f"{float(self.py(y)):.1f}"
        told = tag("title", about)
        return tag("circle", told, cx=cx, cy=cy, r=radius, class_=f"dot {colour}")

    def _points(self, x: Floats, y: Floats) -> str:
        pairs = zip(self.px(x), self.py(y), strict=True)
        return " ".join(f"{px:.1f},{py:.1f}" for px, py in pairs)


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
