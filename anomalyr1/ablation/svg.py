"""Plots as SVG files that stand alone: light colours, no style sheet or font from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from anomalyr1.evaluation.report.charts import COLOURS, run_colour
from anomalyr1.evaluation.report.markup import Markup, asset, escape, join, tag

MARGIN = 16
_LETTER = 6.3  # pixels that a letter of 11 pixels' type takes, at most
_FONT = 'svg { font-family: system-ui, "Liberation Sans", Arial, sans-serif; }'


def document(width: float, height: float, title: str, *children: Markup | None) -> str:
    """A whole file; `title` is drawn at its top left, in the first 26 pixels."""
    heading = tag("text", title, x=MARGIN, y=22, class_="heading")
    drawing = tag(
        "svg",
        tag(
            "style", Markup(f"{_FONT} .heading {{ font-size: 14px; font-weight: 600; }}{_style()}")
        ),
        tag("rect", width=width, height=height, fill="#ffffff"),
        heading,
        *children,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width:g} {height:g}",
        width=f"{width:g}",
        height=f"{height:g}",
        role="img",
        aria_label=title,
    )
    return f"{drawing}\n"


def variant_colours(variants: Iterable[str]) -> dict[str, str]:
    """Variant -> its CSS classes; dashed where colours come round again."""
    return {
        variant: run_colour(index) + (" dashed" if index // COLOURS % 2 else "")
        for index, variant in enumerate(variants)
    }


def legend(colours: Mapping[str, str], width: float, top: float) -> tuple[Markup, float]:
    """Names beside their colours in as many lines as they need, and the height of these."""
    x, y, parts = float(MARGIN), top, []
    for name, colour in colours.items():
        wide = 40 + _LETTER * len(name)
        if x > MARGIN and x + wide > width - MARGIN:
            x, y = float(MARGIN), y + 18
        line = tag("line", x1=x, x2=x + 18, y1=y, y2=y, class_=f"line {colour}")
        parts.append(join([line, text(name, x + 24, y + 4)]))
        x += wide
    return join(parts), y + 18 - top


def text(
    content: str, x: float, y: float, anchor: str = "start", class_: str | None = None
) -> Markup:
    """A line of text."""
    return tag(
        "text", escape(content), x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor, class_=class_
    )


def panel(left: float, top: float, title: str, shapes: Sequence[Markup]) -> Markup:
    """A chart drawn in a frame of its own, moved to its place below its title."""
    moved = tag("g", *shapes, transform=f"translate({left:g} {top + 16:g})")
    return join([text(title, left, top + 8, class_="rowname start"), moved])


def _style() -> str:
    """The chart styles of the report, each variable replaced by its light value."""
    light, _, rest = asset("charts.css").partition("@media")
    colours = dict(re.findall(r"--([\w-]+): ([^;]+);", light))
    rules = rest[rest.index("\n}\n") + 3 :]
    rules = re.sub(r"var\(--([\w-]+)\)", lambda found: colours[found[1]], rules)
    return f"{rules} .start {{ text-anchor: start; }}"
