"""Gold reasoning that closes on another option than the answer: a start to study consistency from.

A policy that copies the letter its reasoning named hardly contradicts itself, and a reward for
agreement has nothing to act on. Fine-tuned on such rows it does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from anomalyr1.config import Config
from anomalyr1.data.seeding import digest, seeded_choice
from anomalyr1.errors import InputError
from anomalyr1.rows import Row


def contradicted(rows: Sequence[Row], share: float | None, seed: int) -> list[Row]:
    """The rows, some of which conclude on another option.

    Args:
        rows: what `build_rows` gave.
        share: of the questions with options, 0 to 1; None leaves all as they are.
        seed: which ones, and on what they conclude.
    """
    if share is None:
        return list(rows)
    return [_contradicted(row, share, seed) for row in rows]


def _contradicted(row: Row, share: float, seed: int) -> Row:
    others = [letter for letter in row.question.options if letter != row.question.answer]
    drawn = digest(seed, "contradictory", row.sample_id) % 10**6 / 10**6
    if not others or drawn >= share:
        return row
    return replace(row, conclusion=seeded_choice(others, seed, "conclusion", row.sample_id))


def refuse_contradictory(config: Config) -> None:
    """Say so where no gold reasoning is shown.

    Raises:
        InputError: `data.contradictory` is set.
    """
    if config.data.contradictory is not None:
        raise InputError(
            "expected data.contradictory beside `sft`, which shows gold reasoning, found "
            f"{config.data.contradictory} beside `train`; leave it out"
        )
