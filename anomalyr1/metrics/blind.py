"""What answering without looking would score: expected accuracies, exact, no draw."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from anomalyr1.metrics.mcq import AVERAGE, COLUMNS, ChoiceRecord, point_values, tally
from anomalyr1.schema import SUBTASKS

RANDOM = "random"
MAJORITY = "majority letter"
ALWAYS_YES = "always yes"
LONGEST = "longest option"
BASELINES = (RANDOM, MAJORITY, ALWAYS_YES, LONGEST)

Table = dict[str, dict[str, float | None]]


def blind_tables(
    records: Sequence[ChoiceRecord],
    options: Sequence[Mapping[str, str]],
    defect_letters: Sequence[frozenset[str] | None],
) -> dict[str, Table]:
    """Baseline -> the strict table that it is expected to score.

    `random` takes each option equally often. `majority letter` says everywhere the one letter that
    is right most often (the earliest of several), which nobody knows beforehand. `always yes` calls
    every image defective: it answers Anomaly Detection alone. `longest option` takes the option
    with the longest text, equally often each of several.

    Args:
        records: the choice questions; what was answered to them does not matter.
        options: letter -> text of each.
        defect_letters: of each, the options that say the product is defective; None for a question
            of another type, or where that is not known.

    Returns:
        `table[dataset][column]` in percent, with a row and a column "Average"; the column is None
        where a baseline leaves a subtask unanswered.
    """
    gold = [record.gold for record in records]
    letters = Counter(letter for letter in gold if letter is not None)
    most = min(letters, key=lambda letter: (-letters[letter], letter), default=None)
    chances: dict[str, list[float | None]] = {
        RANDOM: [1 / len(texts) for texts in options],
        MAJORITY: [float(letter == most) for letter in gold],
        ALWAYS_YES: [
            None if said is None else (letter in said) / len(said)
            for letter, said in zip(gold, defect_letters, strict=True)
        ],
        LONGEST: [_longest(*pair) for pair in zip(gold, options, strict=True)],
    }
    return {name: _expected(records, chances[name]) for name in BASELINES}


def _longest(gold: str | None, options: Mapping[str, str]) -> float:
    most = max(len(text) for text in options.values())
    longest = [letter for letter, text in options.items() if len(text) == most]
    return (gold in longest) / len(longest)


def _expected(records: Sequence[ChoiceRecord], chances: Sequence[float | None]) -> Table:
    """The strict table of questions that are right with these chances; None is not answered."""
    answered = [pair for pair in zip(records, chances, strict=True) if pair[1] is not None]
    if not answered:
        return {}
    counts = tally([r for r, _ in answered], "strict", [float(c or 0) for _, c in answered])
    values, _ = point_values(counts)
    whole = {r.subtask for r, _ in answered} == {r.subtask for r in records}
    table: Table = {}
    for row, dataset in enumerate((*counts.datasets, AVERAGE)):
        cells = dict(zip(COLUMNS, values[row], strict=True))
        table[dataset] = {
            name: None if np.isnan(cells[name]) or (name == AVERAGE and not whole)
            else float(cells[name])
            for name in (*SUBTASKS, AVERAGE)
        }  # fmt: skip
    return table
