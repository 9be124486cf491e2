"""The cells of MMAD's table that a part of a benchmark leaves empty, and what is not told then.

A mean over what happens to be there is another figure than the mean over all cells. So where a
limit or a shard leaves a cell without a question that the whole benchmark has, the averages that
would go over it are null.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from anomalyr1.errors import listed
from anomalyr1.metrics.mcq import ACCOUNTINGS, AVERAGE, MISS, OVERKILL, ChoiceRecord
from anomalyr1.run_folder import PREDICTIONS_ORIGIN
from anomalyr1.schema import ANOMALY_DETECTION, SUBTASKS, Question, Sample
from anomalyr1.storage import read_json

NORMAL, ANOMALOUS = "normal", "anomalous"
_SHARE = {NORMAL: OVERKILL, ANOMALOUS: MISS}
CELLS = "cells"  # in the record of where predictions come from

Cell = tuple[str, str]  # data set; subtask, or the side of Anomaly Detection


def cells_of(asked: Iterable[tuple[Sample, Sequence[tuple[int, Question]]]]) -> list[list[str]]:
    """Every cell that has a question, sorted; of images, each with its numbered questions."""
    cells = {
        (sample.dataset, _cell(question.subtask, sample.is_normal))
        for sample, questions in asked
        for _, question in questions
        if question.subtask in SUBTASKS
    }
    return [list(cell) for cell in sorted(cells)]


def empty_cells(predictions: Path, records: Iterable[ChoiceRecord]) -> list[Cell]:
    """The cells of the whole benchmark that a part of it leaves empty; none where it is whole.

    Args:
        predictions: the file; what lies beside it says whether it is a part.
        records: the choice questions in it.
    """
    origin = predictions.parent / PREDICTIONS_ORIGIN
    found = read_json(origin, "the origin of the predictions") if origin.is_file() else None
    cells = found.get(CELLS) if isinstance(found, dict) else None
    filled = {(record.dataset, _cell(record.subtask, record.normal)) for record in records}
    return [(dataset, cell) for dataset, cell in cells or () if (dataset, cell) not in filled]


def told_empty(cells: Sequence[Sequence[str]]) -> str:
    """A line on them.

    >>> told_empty([["VisA", "normal"]])
    'no macro average: this part has no question for VisA normal'
    """
    named = listed([" ".join(cell) for cell in cells])
    return f"no macro average: this part has no question for {named}"


def withhold(metrics: dict[str, Any], empty: Sequence[Cell]) -> None:
    """Make null, in what `score` writes, every average that would go over an empty cell.

    Of images that were seen in training, and of the others, only the tables of subtasks stay.
    """
    metrics["empty_cells"] = [list(cell) for cell in empty]
    letters = metrics.get("likelihood", {}).get("letters", {}).values()
    seen = metrics.get("exposure", {}).values()
    tables = (of["table"] for of in letters), (of["strict"] for of in seen)
    for table in (*metrics["blind"].values(), *tables[0], *tables[1]):
        _withhold_table(table, empty)
    for part in (*letters, *seen):
        part["macro"] = None
    for part in letters:
        part["intervals"]["macro"] = None
    for column in without_average(empty):
        metrics["detectable"][column] = None
    for accounting in ACCOUNTINGS:
        for tables in (metrics["mmad"], metrics["overkill_miss"], metrics["intervals"]):
            _withhold_table(tables[accounting], empty)
        metrics["macro"][accounting] = metrics["intervals"]["macro"][accounting] = None


def without_average(empty: Sequence[Cell]) -> set[str]:
    """The columns that no mean over the data sets is told of."""
    if not empty:
        return set()
    return {AVERAGE} | {ANOMALY_DETECTION if cell in _SHARE else cell for _, cell in empty}


def _withhold_table(table: Mapping[str, dict[str, Any]], empty: Sequence[Cell]) -> None:
    for dataset, cell in empty:
        columns = {_SHARE[cell], ANOMALY_DETECTION} if cell in _SHARE else {cell}
        for row in (dataset, AVERAGE):
            for column in columns | {AVERAGE}:
                if column in table.get(row, ()):
                    table[row][column] = None


def _cell(subtask: str, normal: bool) -> str:
    if subtask != ANOMALY_DETECTION:
        return subtask
    return NORMAL if normal else ANOMALOUS
