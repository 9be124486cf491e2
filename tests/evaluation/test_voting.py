"""The majority's verdict, by hand."""

from __future__ import annotations

import pytest
from evaluation_data import boxes, letter

from anomalyr1.evaluation.voting import Election, elect
from anomalyr1.schema import GROUNDING, Box, Question

CHOICE = Question("Which?", "Defect Analysis", {"A": "1", "B": "2", "C": "3"})
LOCATE = Question("Locate.", GROUNDING)
DENT, HOLE = boxes(Box(1, 1, 9, 9)), boxes(Box(2, 2, 5, 5), Box(1, 1, 3, 3))


@pytest.mark.parametrize(
    ("question", "completions", "expected"),
    [
        (CHOICE, [letter("B")], Election(0, 1.0)),
        (CHOICE, [letter("A"), letter("B"), letter("B")], Election(1, 2 / 3)),
        (CHOICE, [letter("C"), letter("B"), letter("B"), letter("C")], Election(0, 1 / 2)),  # a tie
        (CHOICE, ["?", letter("B"), letter("A")], Election(1, 1 / 2)),  # one that does not vote
        (CHOICE, ["?", "!", letter("D")], Election(0, None)),  # nobody votes
        (CHOICE, ["A", letter("A"), "B"], Election(0, 2 / 3)),  # however it is written
        (LOCATE, [boxes(), DENT, HOLE], Election(1, 2 / 3)),  # that there is a defect
        (LOCATE, [boxes(), DENT, boxes()], Election(0, 2 / 3)),
        (LOCATE, ["?", DENT], Election(1, 1.0)),
    ],
)
def test_elections(question, completions, expected):
    assert elect(completions, question) == expected
