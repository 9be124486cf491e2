"""Options in another order keep their meaning: what may not move stays, gold follows its text."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomalyr1.data.shuffling import movable_options, shift_options, shuffle_otherwise
from anomalyr1.schema import OPTION_LETTERS, Question


def asked(*texts: str, answer: str | None = "A") -> Question:
    return Question(
        "Which?", "Defect Analysis", dict(zip(OPTION_LETTERS, texts, strict=False)), answer
    )


@pytest.mark.parametrize(
    ("texts", "by", "expected", "answer"),
    [
        (("1", "2", "3"), 1, ("3", "1", "2"), "B"),
        (("1", "2", "3"), 2, ("2", "3", "1"), "C"),
        (("1", "2", "3"), 3, ("1", "2", "3"), "A"),  # once around
        (("1", "2", "None of the above."), 1, ("2", "1", "None of the above."), "B"),  # stays last
    ],
)
def test_shifts_by_hand(texts, by, expected, answer):
    shifted = shift_options(asked(*texts), by)
    assert tuple(shifted.options.values()) == expected and shifted.answer == answer
    assert list(shifted.options) == list(asked(*texts).options)


@pytest.mark.parametrize(
    "texts",
    [
        ("Both B and C.", "A dent.", "A hole."),  # it speaks of letters
        ("None of these.", "A dent.", "A hole."),  # one that stays last, but is not
        ("The same.", "The same."),
        ("A dent.", "None of the above."),  # one alone may move
    ],
)
def test_what_may_not_move_has_no_other_order(texts):
    assert movable_options(asked(*texts)) < 2 or len(set(texts)) == 1
    assert shuffle_otherwise(asked(*texts), "key") is None


@settings(max_examples=50)
@given(st.lists(st.sampled_from("1234"), min_size=2, max_size=5), st.sampled_from("abcdefgh"))
def test_another_order_differs_and_is_the_same_each_time(texts, key):
    question = asked(*texts)
    other = shuffle_otherwise(question, key)
    if len(set(texts)) == 1:
        assert other is None
        return
    assert other == shuffle_otherwise(question, key)
    assert other.options != question.options
    assert sorted(other.options.values()) == sorted(texts)
    assert other.options[other.answer] == question.options["A"]
