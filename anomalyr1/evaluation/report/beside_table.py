"""The report's rows beside a run: blind baselines and published figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from anomalyr1.evaluation.beside import (
    Beside,
    asked_columns,
    blind_rows,
    box_cells,
    published_box_rows,
    published_rows,
)
from anomalyr1.evaluation.report.markup import Child, Markup, join, tag
from anomalyr1.evaluation.report.tables import grid, percent
from anomalyr1.metrics.mcq import AVERAGE

_UNLIKE = "Settings unlike this run's"
_NOTES = {
    "strict": (
        "Computed from the questions, no policy asked: each option equally often; the one letter "
        "that is right most often, always; every image called defective; the option with the "
        "longest text. What does not beat them has learnt nothing from the images."
    ),
    "compat": (
        "Published figures under MMAD's own accounting, means over the same data sets. What their "
        "settings and this run's differ in, theirs first, is named: such figures do not compare."
    ),
    "boxes": (
        "Published figures of MMAD-BBox beside the means over this run's data sets. They were held "
        "against gold boxes of their own, and their settings differ as named."
    ),
}


def beside_table(name: str, metrics: Mapping[str, Any], accounting: str) -> Markup | None:
    """The run and what stands beside it; None where nothing does."""
    rows = blind_rows(metrics) if accounting == "strict" else published_rows(metrics)
    if not rows:
        return None
    columns = asked_columns(metrics, accounting)
    average = metrics["mmad"][accounting][AVERAGE]
    body: list[list[Child]] = [[tag("b", name), *(percent(average[c]) for c in columns)]]
    header: list[Child] = ["", *columns]
    if accounting == "compat":
        header.append(_UNLIKE)
        body[0].append("")
    body += [_row(row, columns, unlike=accounting == "compat") for row in rows]
    title = "Without looking" if accounting == "strict" else "Published"
    note = tag("p", _NOTES[accounting], class_="note")
    return join([tag("h3", title), grid(header, body, title), note])


def box_beside_table(name: str, metrics: Mapping[str, Any]) -> Markup | None:
    """The four figures of MMAD-BBox of a run and the published ones; None where they do not fit."""
    rows, ours = published_box_rows(metrics), box_cells(metrics)
    if not rows:
        return None
    columns = list(ours)
    body: list[list[Child]] = [[tag("b", name), *(percent(ours[c]) for c in columns), ""]]
    body += [_row(row, columns, unlike=True) for row in rows]
    note = tag("p", _NOTES["boxes"], class_="note")
    return join([grid(["", *columns, _UNLIKE], body, "Published boxes"), note])


def _row(row: Beside, columns: Sequence[str], *, unlike: bool) -> list[Child]:
    source = tag("small", row.source) if row.source else None
    cells: list[Child] = [join([row.name, source]), *(percent(row.cells.get(c)) for c in columns)]
    if unlike:
        cells.append(tag("small", ", ".join(row.unlike) or "none", class_="words"))
    return cells
