"""Hand-labelled answers: which option an answer names, and the fault where it names none."""

import pytest

from anomalyr1.parsing import faults, parse_response
from anomalyr1.schema import Question

PLACES = {"A": "Top left.", "B": "Left.", "C": "The rim.", "D": "Base."}
YES_NO = {"A": "No.", "B": "Yes."}
COUNT = {"A": "2", "B": "3", "C": "A dozen"}

INSIDE = [
    # A letter alone, in any dress.
    (PLACES, "B", "B", None),
    (PLACES, "b", "B", None),
    (PLACES, " B \n", "B", None),
    (PLACES, "B.", "B", None),
    (PLACES, "(B)", "B", None),
    (PLACES, "[B]", "B", None),
    (PLACES, "{B}", "B", None),
    (PLACES, "<B>", "B", None),
    (PLACES, "B)", "B", None),
    (PLACES, "**B**", "B", None),
    (PLACES, "**B.**", "B", None),
    (PLACES, "`B`", "B", None),
    (PLACES, '"B"', "B", None),
    (PLACES, "$\\boxed{B}$", "B", None),
    (PLACES, "\\boxed{\\text{B}}", "B", None),
    (PLACES, "\uff22", "B", None),  # full width
    (PLACES, "（\uff42）。", "B", None),
    (PLACES, "Ⓑ", "B", None),
    # With its option's text.
    (YES_NO, "B. Yes.", "B", None),
    (YES_NO, "B) yes", "B", None),
    (YES_NO, "(b) Yes", "B", None),
    (YES_NO, "B: Yes", "B", None),
    (YES_NO, "B Yes", "B", None),
    (YES_NO, "b. yes", "B", None),
    (YES_NO, "B、Yes", "B", None),
    (YES_NO, "Option B: Yes", "B", None),
    (PLACES, "C. rim", "C", None),
    # An option's text alone.
    (YES_NO, "Yes", "B", None),
    (YES_NO, "no.", "A", None),
    (PLACES, "the rim", "C", None),
    (PLACES, "  TOP   LEFT ", "A", None),
    (PLACES, "left", "B", None),
    (COUNT, "3", "B", None),
    (COUNT, "a dozen", "C", None),
    # A statement.
    (PLACES, "The answer is B", "B", None),
    (PLACES, "The answer is B.", "B", None),
    (PLACES, "Answer: B", "B", None),
    (PLACES, "Option B", "B", None),
    (PLACES, "I choose C.", "C", None),
    (PLACES, "The correct answer is the rim.", "C", None),
    (PLACES, "答案是B", "B", None),
    (PLACES, "选B", "B", None),
    (PLACES, "选项C", "C", None),
    (PLACES, "B. Left, because the dent is there.", "B", None),
    (PLACES, "B. A dent is there.", "B", None),
    (PLACES, "B\n\nA dent is there.", "B", None),
    # An option's text opens a sentence that names no other option.
    (YES_NO, "No, there are no visible defects in the test image.", "A", None),
    (YES_NO, "No. There are no defects.", "A", None),
    (YES_NO, "Yes - a hole", "B", None),
    (PLACES, "The rim, as it is bent.", "C", None),
    ({"A": "是。", "B": "否。"}, "是，产品有缺陷。", "A", None),
    (YES_NO, "Yes, I can see a crack on the left side.", "B", None),
    (YES_NO, "No, I do not see any defect.", "A", None),
    # A letter in JSON.
    (PLACES, '{"answer": "B"}', "B", None),
    (PLACES, '```json\n{"answer": "B"}\n```', "B", None),
    (PLACES, '["B"]', "B", None),
    (YES_NO, "Yes, there is no defect.", None, faults.UNREADABLE_ANSWER),
    (YES_NO, "Yes, but A", None, faults.UNREADABLE_ANSWER),
    (YES_NO, "No, the answer is B", "B", None),
    (YES_NO, "No. 3 is bent", None, faults.UNREADABLE_ANSWER),
    (PLACES, "Left, near the base", None, faults.UNREADABLE_ANSWER),
    (PLACES, "B\nA", None, faults.SEVERAL_LETTERS),
    # Two options are not one.
    (PLACES, "A or B", None, faults.SEVERAL_LETTERS),
    (PLACES, "A, B", None, faults.SEVERAL_LETTERS),
    (PLACES, "A B", None, faults.SEVERAL_LETTERS),
    (PLACES, "A/B", None, faults.SEVERAL_LETTERS),
    (PLACES, "A和B", None, faults.SEVERAL_LETTERS),
    (PLACES, "A, B and D are wrong", None, faults.SEVERAL_LETTERS),
    (YES_NO, "B. No.", None, faults.SEVERAL_LETTERS),
    (PLACES, "A. Top left. B. Left.", None, faults.SEVERAL_LETTERS),
    (PLACES, "The answer is A. The answer is B.", None, faults.SEVERAL_LETTERS),
    (PLACES, "ABCD", None, faults.UNREADABLE_ANSWER),
    # No guessing.
    (PLACES, "A scratch is visible", None, faults.UNREADABLE_ANSWER),
    (PLACES, "a scratch", None, faults.UNREADABLE_ANSWER),
    (PLACES, "CAD part DEFECT", None, faults.UNREADABLE_ANSWER),
    (PLACES, "The part is bent", None, faults.UNREADABLE_ANSWER),
    (PLACES, "不是B", None, faults.UNREADABLE_ANSWER),
    (PLACES, "not B", None, faults.UNREADABLE_ANSWER),
    (PLACES, "None of them", None, faults.UNREADABLE_ANSWER),
    (YES_NO, "Yes and no", None, faults.UNREADABLE_ANSWER),
    # Letters that are no options.
    (YES_NO, "C", None, faults.NOT_AN_OPTION),
    (YES_NO, "X.", None, faults.NOT_AN_OPTION),
    (YES_NO, "E. Maybe", None, faults.NOT_AN_OPTION),
    # Nothing.
    (PLACES, "", None, faults.EMPTY_ANSWER),
    (PLACES, " . ", None, faults.EMPTY_ANSWER),
    # Options that share a text.
    ({"A": "Left", "B": "Left"}, "left", None, faults.SEVERAL_LETTERS),
]

# Completions without any answer tag, as policies that were never tuned write them.
BARE = [
    (PLACES, "B", "B"),
    (PLACES, "b", "B"),
    (PLACES, "B.", "B"),
    (YES_NO, "B. Yes.", "B"),
    (YES_NO, "Yes.", "B"),
    (PLACES, "The rim", "C"),
    (PLACES, "Option B is the right side. The answer is C.", "C"),
    (PLACES, "The answer is B.", "B"),
    (PLACES, "The dent sits on the left. The answer is B.", "B"),
    (PLACES, "答案是B。", "B"),
    (PLACES, "<think>Bent. So the answer is B.</think>\nB", "B"),
    (PLACES, "A scratch is visible.", None),
    (PLACES, "It could be A or B.", None),
    (PLACES, "The answer is A. Or the answer is B.", None),
    (PLACES, "<think>So the answer is B.</think>", None),
    (PLACES, "<think>So the answer is B.", None),
    (PLACES, "I see no answer here.", None),
    (PLACES, "", None),
]


@pytest.mark.parametrize(("options", "answer", "letter", "fault"), INSIDE)
def test_answer_inside_its_tags(options, answer, letter, fault):
    question = Question("?", "Defect Localization", options, "B")
    response = parse_response(f"<think>Bent.</think><answer>{answer}</answer>", question)
    assert response.well_formed
    assert response.answer == letter
    assert response.errors == (() if fault is None else (fault,))


@pytest.mark.parametrize(("options", "completion", "letter"), BARE)
def test_bare_completion(options, completion, letter):
    response = parse_response(completion, Question("?", "Defect Localization", options, "B"))
    assert response.answer == letter
    assert not response.well_formed
    assert faults.NO_ANSWER in response.errors
