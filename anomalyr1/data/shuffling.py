"""The order of a question's options, drawn from a seed."""

from __future__ import annotations

import re
from dataclasses import replace

from anomalyr1.data.seeding import seeded_order
from anomalyr1.schema import Question

_FIXED_LAST = re.compile(r"^\s*(all|none|both|neither|any) of (the above|these|the options)", re.I)
_NAMES_LETTERS = re.compile(
    r"^\s*(?i:both |either |neither )?(?i:options? )?([A-Z])(?: and | or |, )([A-Z])\b"
)


def shuffle_options(question: Question, key: str, seed: int) -> Question:
    """The same question with its options in the order of sha256(seed|image|question).

    Letters keep their order, texts move, and the gold letter follows its text. An option such as
    "All of the above" stays last. A question whose options speak of letters ("Both A and B"), or
    with such an option in the middle, is returned as it is: moving texts would change its meaning.

    >>> q = Question("What is it?", "Object Classification", {"A": "Nut.", "B": "Pill."}, "A")
    >>> shuffled = shuffle_options(q, "D/c/test/good/1.png", 3)
    >>> shuffled.options[shuffled.answer]
    'Nut.'
    """
    letters, texts = list(question.options), list(question.options.values())
    fixed = [index for index, text in enumerate(texts) if _FIXED_LAST.match(text)]
    if any(_names_letters(text, question) for text in texts) or (
        fixed and fixed != list(range(len(texts) - len(fixed), len(texts)))
    ):
        return question
    movable = len(texts) - len(fixed)
    order = seeded_order(range(movable), seed, key, question.text)
    if len(set(texts)) == len(texts):  # by text, so that the order read does not matter
        order = [texts.index(t) for t in seeded_order(texts[:movable], seed, key, question.text)]
    order += fixed
    options = {letter: texts[index] for letter, index in zip(letters, order, strict=True)}
    answer = question.answer
    if answer is not None:
        answer = letters[order.index(letters.index(answer))]
    return replace(question, options=options, answer=answer)


def _names_letters(text: str, question: Question) -> bool:
    """Whether an option's text speaks of the question's options by their letters."""
    named = _NAMES_LETTERS.match(text)
    return named is not None and any(letter in question.options for letter in named.groups())
