"""The report's table of verdicts that stay the same when a question is asked again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from anomalyr1.evaluation.consistency import named_shares
from anomalyr1.evaluation.report.markup import Child, Markup
from anomalyr1.evaluation.report.tables import DASH, SMALL_PRINT, grid, with_interval
from anomalyr1.schema import SUBTASKS

CONSISTENCY_NOTE = (
    "Of the questions with a readable answer, the share of further askings whose verdict is the "
    "same option, by its text. An unreadable second answer counts as another verdict. Leading "
    "wordings suggest an option, which may be the right one or not. " + SMALL_PRINT
)


def consistency_table(metrics: Mapping[str, Any]) -> Markup | None:
    """A row for each way of asking again, and for its parts; None where there is none."""
    found = metrics.get("consistency")
    if found is None:
        return None
    rows = list(named_shares(found))
    columns = [name for name in SUBTASKS if any(name in by_subtask for *_, by_subtask in rows)]
    table: list[list[Child]] = []
    for name, share, by_subtask in rows:
        row: list[Child] = [name]
        row += (
            [DASH, DASH, DASH]
            if share is None
            else [
                str(share["askings"]),
                str(share["unreadable"]),
                with_interval(share["percent"], share["interval"]),
            ]
        )
        cells = (by_subtask.get(column) for column in columns)
        absent = DASH if by_subtask else ""  # parts of a row are not split further
        row += [absent if c is None else with_interval(c["percent"], c["interval"]) for c in cells]
        table.append(row)
    header = ["Same verdict, %", "askings", "unreadable", "All", *columns]
    return grid(header, table)
