"""The plots of an ablation: bars with intervals, curves over steps, curves over a number."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from anomalyr1.ablation.contrasts import Cell, Line
from anomalyr1.ablation.grid import Scale
from anomalyr1.ablation.svg import MARGIN, document, legend, panel, text, variant_colours
from anomalyr1.evaluation.figures import FIGURES, signed
from anomalyr1.evaluation.report.charts import Series, line_shapes
from anomalyr1.evaluation.report.curves import History, curve_of
from anomalyr1.evaluation.report.markup import Markup, join, tag
from anomalyr1.evaluation.report.plot_frame import HEIGHT, WIDTH, ticks
from anomalyr1.rewards.telemetry import BOX_IOU, OUTCOME
from anomalyr1.values import is_number

_BAR, _GAP, _NAMES, _SCALE, _WORDS = 13, 14, 130, 480, 290  # pixels
_ACROSS = 3  # panels beside each other
_LESS = "(less is better)"

# Log keys that every variant is drawn for, each in a panel of its own where it was logged.
_LOGGED = {
    "reward": "Reward",
    f"{OUTCOME}contradictory": "Contradictory, share of completions",
    f"{OUTCOME}malformed": "Unreadable, share of completions",
    BOX_IOU: "Set IoU of boxes on defects",
    "completions/mean_length": "Completion length, tokens",
    "entropy": "Entropy, nats a token",
    "kl": "KL to the reference policy",
    "loss": "Loss",
    "mean_token_accuracy": "Token accuracy",
}


def bars(lines: Sequence[Line], title: str, baseline: str) -> str | None:
    """A bar for each variant in each figure of the evaluation; None where there is none.

    The bar is the mean over the seeds, which are dots; the line on it is the 95 % interval by
    image. Beside it stand the mean and the difference to the baseline with its paired interval.
    """
    names = [name for name in FIGURES if any(line.cells.get(name) for line in lines)]
    if not names:
        return None
    width = _NAMES + _SCALE + _WORDS + 2 * MARGIN
    left = MARGIN + _NAMES
    colours = variant_colours(line.variant for line in lines)
    key, tall = legend(colours, width, 44)
    top = 44 + tall
    group = _BAR * len(lines) + _GAP
    bottom = top + group * len(names)
    parts: list[Markup] = [key]
    for percent in range(0, 101, 20):
        x = left + _SCALE * percent / 100
        parts.append(tag("line", x1=x, x2=x, y1=top, y2=bottom, class_="grid"))
        parts.append(text(f"{percent}", x, bottom + 14, "middle"))
    parts.append(text(f"difference to {baseline}", left + _SCALE + 62, top - 2))
    for row, name in enumerate(names):
        y = top + row * group + _GAP / 2
        for number, words in enumerate([name] if FIGURES[name] else [name, _LESS]):
            middle = y + _BAR * len(lines) / 2 + 13 * number
            parts.append(text(words, left - 8, middle, class_="rowname"))
        for index, line in enumerate(lines):
            cell = line.cells[name]
            if cell is not None:
                parts.append(_bar(cell, left, y + _BAR * index, colours[line.variant]))
    return document(width, bottom + 24, title, *parts)


def curves(histories: Mapping[str, Sequence[History]], title: str) -> str | None:
    """What was logged over the steps, the mean of a variant's seeds a line; None without any."""
    colours = variant_colours(histories)
    means = {variant: mean_history(of_seeds) for variant, of_seeds in histories.items() if of_seeds}
    terms = sorted(
        {key for history in means.values() for row in history for key in row if _is_term(key)}
    )
    titles = {key: f"Reward term: {key.split('/')[1]}" for key in terms}
    keys = {"reward": _LOGGED["reward"], **titles, **_LOGGED}
    panels = []
    for key, name in keys.items():
        lines = [
            Series(variant, *points, colours[variant])
            for variant, history in means.items()
            if (points := curve_of(history, key)) is not None
        ]
        if lines:
            panels.append((name, line_shapes(lines)))
    if not panels:
        return None
    width = _ACROSS * (WIDTH + MARGIN) + MARGIN
    key_of_lines, tall = legend({variant: colours[variant] for variant in means}, width, 44)
    step = HEIGHT + 34
    placed = [
        panel(
            MARGIN + index % _ACROSS * (WIDTH + MARGIN),
            44 + tall + index // _ACROSS * step,
            name,
            shapes,
        )
        for index, (name, shapes) in enumerate(panels)
    ]
    height = 44 + tall + -(-len(panels) // _ACROSS) * step + 4
    return document(width, height, title, key_of_lines, *placed)


def scale_curves(lines: Sequence[Line], scale: Scale, title: str, baseline: str) -> str | None:
    """Each figure over the number that the variants differ in, with intervals.

    The values stand at equal distances. A baseline without such a number is a dashed line.
    """
    ordered = sorted(
        (line for line in lines if line.variant in scale.values),
        key=lambda line: scale.values[line.variant],
    )
    outside = [line for line in lines if line.variant == baseline not in scale.values]
    names = [name for name in FIGURES if any(line.cells.get(name) for line in ordered)]
    if len(ordered) < 2 or not names:
        return None
    width, step = _ACROSS * (WIDTH + MARGIN) + MARGIN, HEIGHT + 34
    placed = [
        panel(
            MARGIN + index % _ACROSS * (WIDTH + MARGIN),
            40 + index // _ACROSS * step,
            name if FIGURES[name] else f"{name} {_LESS}",
            _over_scale(
                [(f"{scale.values[line.variant]:g}", line.cells[name]) for line in ordered],
                [cell for line in outside if (cell := line.cells[name]) is not None],
                scale.key,
            ),
        )
        for index, name in enumerate(names)
    ]
    about = f"{title}: over {scale.key}" + (f", dashed: {baseline}" if outside else "")
    return document(width, 44 + -(-len(names) // _ACROSS) * step, about, *placed)


def mean_history(histories: Sequence[History]) -> list[dict[str, Any]]:
    """One log out of several: at each step the mean of those that logged a key there.

    >>> mean_history([[{"step": 1, "reward": 1.0}], [{"step": 1, "reward": 2.0, "kl": None}]])
    [{'step': 1, 'reward': 1.5}]
    """
    found: dict[int, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for history in histories:
        for row in history:
            for key, value in row.items():
                if key != "step" and is_number(value):
                    found[row["step"]][key].append(value)
    return [
        {"step": step, **{key: fmean(values) for key, values in keys.items()}}
        for step, keys in sorted(found.items())
    ]


def _is_term(key: str) -> bool:
    return key.startswith("rewards/") and key.endswith("/mean")


def _bar(cell: Cell, left: float, top: float, colour: str) -> Markup:
    """One bar, its interval, its seeds, and what it says in words."""
    middle, unit = top + _BAR / 2, _SCALE / 100
    filled = colour.split()[0]
    parts = [
        tag("rect", x=left, y=top + 1.5, width=f"{cell.mean * unit:.1f}", height=_BAR - 3,
            opacity=0.45, class_=filled),
    ]  # fmt: skip
    if cell.ends is not None:
        x1, x2 = (f"{left + end * unit:.1f}" for end in cell.ends)
        parts.append(tag("line", x1=x1, x2=x2, y1=middle, y2=middle, stroke_width=2, class_=filled))
    parts += [
        tag("circle", cx=f"{left + value * unit:.1f}", cy=middle, r=2, class_=filled)
        for value in cell.values
    ]
    parts.append(text(f"{cell.mean:.1f}", left + _SCALE + 46, middle + 4, "end"))
    contrast = cell.contrast
    if contrast is not None:
        words = signed(contrast.difference, contrast.ends)
        words += f", p {contrast.flips.p:.2g}" + (" *" if contrast.is_clear else "")
        parts.append(text(words, left + _SCALE + 62, middle + 4))
    return join(parts)


def _over_scale(
    points: Sequence[tuple[str, Cell | None]], outside: Sequence[Cell], key: str
) -> list[Markup]:
    """A curve through the means, with intervals, in the frame of a chart."""
    left, right, top, bottom = 46, WIDTH - 12, 10, HEIGHT - 30
    cells = [cell for _, cell in points if cell is not None] + list(outside)
    ends = [end for cell in cells for end in (cell.ends or (cell.mean,))]
    low, high = max(0.0, min(ends) - 5), min(100.0, max(ends) + 5)

    def y(percent: float) -> float:
        return bottom - (bottom - top) * (percent - low) / (high - low)

    places = [left + (right - left) * (n + 0.5) / len(points) for n in range(len(points))]
    parts = []
    for percent in ticks(low, high):
        where = y(percent)
        parts.append(tag("line", x1=left, x2=right, y1=where, y2=where, class_="grid"))
        parts.append(text(f"{percent:g}", left - 6, where + 4, "end"))
    for cell in outside:
        where = y(cell.mean)
        parts.append(tag("line", x1=left, x2=right, y1=where, y2=where, class_="line c5 dashed"))
    drawn = [(x, cell) for x, (_, cell) in zip(places, points, strict=True) if cell is not None]
    path = " ".join(f"{x:.1f},{y(cell.mean):.1f}" for x, cell in drawn)
    parts.append(tag("path", d=f"M{path}", class_="line c0"))
    for x, cell in drawn:
        if cell.ends is not None:
            y1, y2 = (f"{y(end):.1f}" for end in cell.ends)
            parts.append(tag("line", x1=x, x2=x, y1=y1, y2=y2, class_="whisker c0"))
        parts.append(tag("circle", cx=x, cy=f"{y(cell.mean):.1f}", r=4, class_="dot c0"))
    parts += [
        text(name, x, HEIGHT - 14, "middle") for x, (name, _) in zip(places, points, strict=True)
    ]
    return [*parts, text(key, right, HEIGHT - 2, "end")]
