"""Gold reasoning that closes on another option than the answer: a start to study consistency from.

A policy that copies the letter its reasoning named hardly contradicts itself, and a reward for
agreement has nothing to act on. Fine-tuned on such rows it does. The other option is the next one,
so that with more than half of the rows the likeliest conclusion contradicts, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from anomalyr1.data.seeding import digest
from anomalyr1.rows import Row


def contradicted(rows: Sequence[Row], share: float | None, seed: int) -> list[Row]:
    """The rows, some of which conclude on another option.

    Args:
        rows: what `build_rows` gave.
        share: of the questions with options, 0 to 1; None leaves all as they are.
        seed: decides which ones.
    """
    if share is None:
        return list(rows)
    return [_contradicted(row, share, seed) for row in rows]


def _contradicted(row: Row, share: float, seed: int) -> Row:
    letters = list(row.question.options)
    drawn = digest(seed, "contradictory", row.sample_id) % 10**6 / 10**6
    if row.question.answer not in letters or drawn >= share:
        return row
    after = letters.index(row.question.answer) + 1
    return replace(row, conclusion=letters[after % len(letters)])
