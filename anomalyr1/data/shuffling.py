"""The order of a question's options: drawn from a seed, or shifted."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import count

from anomalyr1.data.seeding import seeded_order
from anomalyr1.schema import Question

_FIXED_LAST = re.compile(r"^\s*(all|none|both|neither|any) of (the above|these|the options)", re.I)
_NAMES_LETTERS = re.compile(
    r"^\s*(?i:both |either |neither )?(?i:options? )?([A-Z])(?: and | or |, )([A-Z])\b"
)


def movable_options(question: Question) -> int:
    """How many options, from the first on, may change places; 0 where none may.

    An option such as "All of the above" stays last. In a question whose options speak of letters
    ("Both A and B"), or with such an option in the middle, none may move: that would change its
    meaning.
    """
    texts = list(question.options.values())
    fixed = [index for index, text in enumerate(texts) if _FIXED_LAST.match(text)]
    if any(_names_letters(text, question) for text in texts) or (
        fixed and fixed != list(range(len(texts) - len(fixed), len(texts)))
    ):
        return 0
    return len(texts) - len(fixed)


def shuffle_options(question: Question, key: str, seed: int) -> Question:
    """The same question with its options in the order of sha256(seed|image|question).

    Letters keep their order, texts move as far as they may (`movable_options`), and the gold letter
    follows its text.

    >>> q = Question("What is it?", "Object Classification", {"A": "Nut.", "B": "Pill."}, "A")
    >>> shuffled = shuffle_options(q, "D/c/test/good/1.png", 3)
    >>> shuffled.options[shuffled.answer]
    'Nut.'
    """
    movable = movable_options(question)
    if not movable:
        return question
    texts = list(question.options.values())
    order = seeded_order(range(movable), seed, key, question.text)
    if len(set(texts)) == len(texts):  # by text, so that the order read does not matter
        order = [texts.index(t) for t in seeded_order(texts[:movable], seed, key, question.text)]
    return _reordered(question, order)


def shuffle_otherwise(question: Question, key: str) -> Question | None:
    """The same question with its options in another order: the first of the seeds from 0 on.

    None where the options that may move read all the same, or there is but one.
    """
    texts = list(question.options.values())
    if len(set(texts[: movable_options(question)])) < 2:
        return None
    orders = (shuffle_options(question, key, seed) for seed in count())
    return next(other for other in orders if other.options != question.options)


def shift_options(question: Question, by: int) -> Question:
    """The same question with the texts of its options so many letters further, in a circle.

    Those that may not move stay (`movable_options`), and the gold letter follows its text.

    >>> q = Question("What is it?", "Object Details", {"A": "1.", "B": "2.", "C": "3."}, "C")
    >>> shift_options(q, 1).options, shift_options(q, 1).answer
    ({'A': '3.', 'B': '1.', 'C': '2.'}, 'A')
    """
    movable = movable_options(question)
    return _reordered(question, [(place - by) % movable for place in range(movable)])


def _reordered(question: Question, order: Sequence[int]) -> Question:
    """Texts in this order, those behind it where they are."""
    letters, texts = list(question.options), list(question.options.values())
    order = [*order, *range(len(order), len(texts))]
    options = {letter: texts[index] for letter, index in zip(letters, order, strict=True)}
    answer = question.answer
    if answer is not None:
        answer = letters[order.index(letters.index(answer))]
    return replace(question, options=options, answer=answer)


def _names_letters(text: str, question: Question) -> bool:
    """Whether an option's text speaks of the question's options by their letters."""
    named = _NAMES_LETTERS.match(text)
    return named is not None and any(letter in question.options for letter in named.groups())
