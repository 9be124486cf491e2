"""Reasoning without the sentences that commit to a letter."""

from __future__ import annotations

import re
from collections.abc import Iterable

from anomalyr1.parsing.statements import statements

_BETWEEN = re.compile(r"(?<=[.!?])\s+|(?<=[。！？\n])")


def without_letters(text: str, letters: Iterable[str]) -> str:
    """A text less every sentence that names an option by its letter, to choose or to reject it.

    What it says of an option in words stays, and so does a letter that it only mentions.

    Args:
        text: the reasoning of a completion.
        letters: of the options it was written for.

    >>> without_letters("The rim is bent, so it is the rim. So the answer is B.", "AB")
    'The rim is bent, so it is the rim.'
    >>> without_letters("A dent is visible. A and C are wrong.", "ABC")
    'A dent is visible.'
    """
    unnamed = dict.fromkeys(letters, "")  # options without a text: none is found by it
    sentences = [part for part in _BETWEEN.split(text) if not statements(part, unnamed)]
    return " ".join(part.strip() for part in sentences if part.strip())
