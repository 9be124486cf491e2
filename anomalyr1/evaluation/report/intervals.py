"""Values with their 95 % intervals, drawn as inline SVG on a scale in percent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from anomalyr1.evaluation.report.charts import STACK, legend, run_colour
from anomalyr1.evaluation.report.markup import Markup, join, scrolling, tag
from anomalyr1.values import in_words


def interval_bar(value: float | None, ends: Sequence[float] | None) -> Markup:
    """A percent value and its interval on a track from 0 to 100."""
    if value is None:
        return Markup("")
    band = (
        tag(
            "rect",
            x=f"{ends[0]:.2f}",
            y=3,
            width=f"{max(0.6, ends[1] - ends[0]):.2f}",
            height=4,
            class_="band",
        )
        if ends is not None
        else None
    )
    return tag(
        "svg",
        tag("rect", x=0, y=4.5, width=100, height=1, class_="track"),
        band,
        tag(
            "rect",
            x=f"{min(99.2, max(0, value - 0.4)):.2f}",
            y=1.5,
            width=0.8,
            height=7,
            class_="needle",
        ),
        viewBox="0 0 100 10",
        preserveAspectRatio="none",
        class_="bar",
        aria_hidden="true",
    )


Row = tuple[str, Sequence[tuple[float | None, Sequence[float] | None]]]


def interval_chart(rows: Sequence[Row], labels: Sequence[str]) -> Markup:
    """One row a metric, one dot with its interval a run, on an axis in percent.

    Args:
        rows: (name, one (value, interval) a run).
        labels: the runs' names.
    """
    left, width, step = 190, 860, 12 * len(labels) + 14
    height = step * len(rows) + 34
    scale = (width - left - 16) / 100

    def at(percent: float) -> float:
        return left + scale * percent

    grid = [
        join(
            [
                tag("line", x1=at(p), x2=at(p), y1=6, y2=height - 24, class_="grid"),
                tag("text", str(p), x=at(p), y=height - 8, class_="tick", text_anchor="middle"),
            ]
        )
        for p in range(0, 101, 20)
    ]
    body = []
    for index, (name, values) in enumerate(rows):
        top = 8 + index * step
        body.append(tag("text", name, x=left - 10, y=top + step / 2, class_="rowname"))
        for run, (value, ends) in enumerate(values):
            if value is None:
                continue
            y, colour = top + 11 + 12 * run, run_colour(run)
            if ends is not None:
                body.append(
                    tag(
                        "line",
                        x1=f"{at(ends[0]):.1f}",
                        x2=f"{at(ends[1]):.1f}",
                        y1=y,
                        y2=y,
                        class_=f"whisker {colour}",
                    )
                )
            about = f"{labels[run]}: {value:.1f}"
            if ends is not None:
                about += f" [{ends[0]:.1f}, {ends[1]:.1f}]"
            body.append(
                tag(
                    "circle",
                    tag("title", about),
                    cx=f"{at(value):.1f}",
                    cy=y,
                    r=4,
                    class_=f"dot {colour}",
                )
            )
    drawing = tag(
        "svg", *grid, *body, viewBox=f"0 0 {width} {height}", class_="intervals", role="img"
    )
    return tag(
        "figure",
        legend([(label, run_colour(run)) for run, label in enumerate(labels)]),
        scrolling(drawing, "Intervals of the runs"),
        class_="chart wide",
    )


def outcome_bars(shares: Sequence[tuple[str, Mapping[str, float]]]) -> Markup | None:
    """One bar a run, of its name and ROAM's outcomes in percent, best first. None without runs."""
    if not shares:
        return None
    rows = []
    for name, of_run in shares:
        left, parts = 0.0, []
        for outcome in STACK:
            share = of_run[outcome]
            about = f"{in_words(outcome)}: {share:.1f} %"
            parts.append(
                tag(
                    "rect",
                    tag("title", about),
                    x=f"{left:.3f}",
                    y=0,
                    width=f"{share:.3f}",
                    height=10,
                    class_=f"o-{outcome}",
                )
            )
            left += share
        bar = tag("svg", *parts, viewBox="0 0 100 10", preserveAspectRatio="none", class_="stack")
        count = tag("small", f"{of_run['questions']:,} answers")
        rows.append(tag("div", tag("p", name, " ", count), bar, class_="stackrow"))
    only = shares[0][1] if len(shares) == 1 else None
    labels = [
        (
            in_words(outcome) + (f" {only[outcome]:.1f} %" if only else ""),
            f"o-{outcome}",
        )
        for outcome in STACK
    ]
    return tag("figure", legend(labels), *rows, class_="chart wide")
