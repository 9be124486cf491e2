"""leaderboard.html: many runs on one self-contained page, sortable, with the settings of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from anomalyr1.evaluation.beside import SETTINGS
from anomalyr1.evaluation.kept_settings import FIELDS
from anomalyr1.evaluation.report.markup import Child, Markup, asset, document, scrolling, tag
from anomalyr1.evaluation.report.runs import told_apart
from anomalyr1.evaluation.report.tables import DASH, percent, with_interval
from anomalyr1.evaluation.standings import (
    COLUMNS,
    Standing,
    comma_separated,
    read_metrics,
    standings,
)
from anomalyr1.metrics.mcq import ACCOUNTINGS, AVERAGE
from anomalyr1.settings_card import flat, shown
from anomalyr1.storage import write_text

_NOTES = {
    "strict": "Every question counts, an unreadable answer is wrong.",
    "compat": "MMAD's own accounting, under which the published figures were counted: an "
    "unreadable answer and the question after it leave the count.",
}
_ABOUT = (
    "Percent, means over data sets; in small print the 95 % interval, whole images drawn. Rows of "
    "different benchmarks do not compare: choose one. Published figures and what answers without "
    "looking (blind) stand among the runs. A dash is not asked, or not told."
)
_KINDS = {"run": "runs", "blind": "blind", "published": "published"}


def write_leaderboard(runs: Sequence[Path], out: Path) -> tuple[Path, Path]:
    """Write the page and, beside it, the same rows as CSV.

    Args:
        runs: run folders that were scored, or their metrics.json.
        out: the HTML file.

    Returns:
        The page and the CSV.

    Raises:
        InputError: runs hold no metrics; all of them are named.
    """
    read = read_metrics(runs)
    names = told_apart([folder for folder, _ in read])
    named = [(name, metrics) for name, (_, metrics) in zip(names, read, strict=True)]
    table = out.with_suffix(".csv")
    page = render_leaderboard(named)
    write_text(table, comma_separated(named))
    write_text(out, page)
    return out, table


def render_leaderboard(runs: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    """The page as text; of name and metrics of each run."""
    boards = {accounting: standings(runs, accounting) for accounting in ACCOUNTINGS}
    body = [
        tag(
            "header",
            tag("p", "AnomalyR1 leaderboard", class_="kicker"),
            tag("h1", f"{len(runs)} run{'s' * (len(runs) != 1)}"),
            tag("p", _ABOUT, class_="note"),
        ),
        tag(
            "main",
            _controls(boards["compat"]),
            *(_board(accounting, rows) for accounting, rows in boards.items()),
            _cards([row for row in boards["strict"] if row.card]),
        ),
    ]
    style = asset("charts.css") + asset("report.css") + asset("leaderboard.css")
    return document("AnomalyR1 leaderboard", body, style, asset("leaderboard.js"))


def _controls(rows: Sequence[Standing]) -> Markup:
    """What is shown: one benchmark, and which kinds of rows."""
    benchmarks = list(dict.fromkeys(row.benchmark for row in rows))
    kinds = [kind for kind in _KINDS if any(row.kind == kind for row in rows)]
    return tag(
        "div",
        tag(
            "label",
            "Benchmark ",
            tag(
                "select",
                tag("option", "all", value=""),
                *(tag("option", name, value=name) for name in benchmarks),
                id="benchmark",
            ),
        ),
        *(
            tag("label", tag("input", type="checkbox", checked=True, data_kind=kind), _KINDS[kind])
            for kind in kinds
        ),
        class_="controls layers",
    )


def _board(accounting: str, rows: Sequence[Standing]) -> Markup:
    shown_columns = [c for c in COLUMNS if any(c in row.cells for row in rows)]
    header: list[tuple[str, str]] = [("Name", "text"), ("Benchmark", "text")]
    header += [(column, "number") for column in (*shown_columns, "Unreadable")]
    header += [(name.capitalize(), "text") for name in SETTINGS]
    heads = [
        tag(
            "th",
            tag("button", title, type="button", data_sort=kind),
            scope="col",
            aria_sort="descending" if title == AVERAGE else None,
        )
        for title, kind in header
    ]
    table = tag(
        "table",
        tag("caption", f"Sorted by a column's button; {_NOTES[accounting]}"),
        tag("thead", tag("tr", *heads)),
        tag("tbody", *(_row(row, shown_columns) for row in rows)),
        class_="board",
    )
    title = tag("h2", accounting.capitalize())
    return tag("section", title, scrolling(table, accounting.capitalize()), id=accounting)


def _row(row: Standing, columns: Sequence[str]) -> Markup:
    asked = "" if row.questions is None else f"{row.questions:,} questions"
    cells = [
        tag(
            "th",
            row.name,
            tag("small", " · ".join(part for part in (row.kind, row.source, asked) if part)),
            scope="row",
            data_value=row.name,
        ),
        tag("td", tag("small", row.benchmark), class_="words", data_value=row.benchmark),
    ]
    for column in columns:
        value = row.cells.get(column)
        ends = row.ends if column == AVERAGE else None
        cells.append(_number(value, with_interval(value, ends)))
    cells.append(_number(row.unreadable, percent(row.unreadable)))
    for name in SETTINGS:
        value = row.settings.get(name)
        told = DASH if value is None else shown(value)
        cells.append(tag("td", told, data_value="" if value is None else told))
    return tag("tr", *cells, data_kind=row.kind, data_benchmark=row.benchmark, class_=row.kind)


def _number(value: float | None, child: Child) -> Markup:
    return tag("td", child, data_value="" if value is None else f"{value:.6f}")


def _cards(rows: Sequence[Standing]) -> Markup | None:
    """The settings of the runs side by side, a field a row; where they differ it is marked."""
    if not rows:
        return None
    cards = [flat({name: v for name, v in row.card.items() if name != "prompts"}) for row in rows]
    order = {name: place for place, name in enumerate(FIELDS)}
    fields = sorted(
        dict.fromkeys(name for card in cards for name in card),
        key=lambda name: order.get(name.split(".")[0], len(order)),
    )
    body = []
    for name in fields:
        values = [shown(card[name]) if name in card else "not known" for card in cards]
        unlike = len({repr(card.get(name, KeyError)) for card in cards}) > 1
        cells = [tag("td", value) for value in values]
        body.append(
            tag("tr", tag("th", name, scope="row"), *cells, class_="unlike" if unlike else None)
        )
    table = tag(
        "table",
        tag("caption", "What can change a number; fields in which runs differ are marked."),
        tag("thead", tag("tr", *(tag("th", name, scope="col") for name in _heads(rows)))),
        tag("tbody", *body),
        class_="cards-table",
    )
    return tag("section", tag("h2", "Settings"), scrolling(table, "Settings"), id="settings")


def _heads(rows: Sequence[Standing]) -> list[str]:
    return ["", *(row.name for row in rows)]
