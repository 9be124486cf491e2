"""Other wordings ask what the options answer; what one suggests follows from the question's key."""

from __future__ import annotations

import pytest

from anomalyr1.evaluation.rewordings import OPTION, WORDINGS, rewordings
from anomalyr1.parsing.verdict_letters import verdict_letters
from anomalyr1.schema import ANOMALY_DETECTION, SUBTASKS, Question

YES_NO = {"A": "Yes.", "B": "No."}


def test_each_subtask_has_three_of_which_one_leads():
    assert set(WORDINGS) == set(SUBTASKS)
    for wordings in WORDINGS.values():
        assert [OPTION in wording for wording in wordings] == [False, False, True]
        assert len({*wordings}) == 3
    texts = [wording for wordings in WORDINGS.values() for wording in wordings]
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize("subtask", SUBTASKS)
def test_the_words_of_a_subtask(subtask):
    question = Question("Is it bent?", subtask, {"A": "A dent", "B": "A hole."}, "A")
    if subtask == ANOMALY_DETECTION:
        question = Question("Is there a flaw?", subtask, YES_NO, "A")
    found = rewordings(question, "D/c/test/bad/1.png#0")
    assert [wording.number for wording in found] == [1, 2, 3]
    assert [wording.suggested is None for wording in found] == [True, True, False]
    for wording in found:
        asked = wording.of(question)
        assert asked.text != question.text and "{" not in asked.text
        assert (asked.options, asked.answer) == (question.options, question.answer)
        assert verdict_letters(asked) == verdict_letters(question)
    leading = found[-1]
    said = question.options[leading.suggested].rstrip(".")
    assert f": {said}. {question.text}" in leading.text


def test_what_is_suggested_is_right_or_wrong_by_the_key():
    question = Question("Is there a flaw?", ANOMALY_DETECTION, YES_NO, "A")
    letters = [rewordings(question, f"{number}.png#0")[-1].suggested for number in range(200)]
    assert 70 < letters.count("A") < 130
    assert letters == [rewordings(question, f"{n}.png#0")[-1].suggested for n in range(200)]


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("Is the product in order?", YES_NO),  # here yes says that nothing is wrong
        ("How does it look?", {"A": "Red.", "B": "Blue."}),  # no verdict at all
    ],
)
def test_words_that_would_turn_the_options_around_are_left_out(text, options):
    found = rewordings(Question(text, ANOMALY_DETECTION, options), "1.png#0")
    assert [wording.number for wording in found] == [3]
