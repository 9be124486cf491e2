"""The gates, and what is still read when the shape is off."""

import pytest

from anomalyr1.parsing import FAULTS, faults, parse_response
from anomalyr1.schema import Question

QUESTION = Question("?", "Defect Localization", {"A": "Top.", "B": "Left.", "C": "Rim."}, "B")
THINK = "<think>Bent. So the answer is B.</think>"

SHAPES = [
    # completion, answer, passes strict, passes released, layout faults
    (f"{THINK}<answer>B</answer>", "B", True, True, ()),
    (f"  {THINK}\n\n<answer>B</answer>\n", "B", True, True, ()),
    (f"{THINK}<answer>B</answer> Thanks!", "B", False, True, (faults.TEXT_OUTSIDE,)),
    (f"Sure. {THINK}<answer>B</answer>", "B", False, True, (faults.TEXT_OUTSIDE,)),
    (f"{THINK} So: <answer>B</answer>", "B", False, False, (faults.TEXT_OUTSIDE,)),
    ("<answer>B</answer>", "B", False, False, (faults.NO_THINK,)),
    ("Bent. <answer>B</answer>", "B", False, False, (faults.NO_THINK, faults.TEXT_OUTSIDE)),
    (THINK, None, False, False, (faults.NO_ANSWER,)),
    ("", None, False, False, (faults.EMPTY_COMPLETION, faults.NO_ANSWER, faults.NO_THINK)),
    # Truncated.
    ("<think>Bent. So the", None, False, False, (faults.NO_ANSWER, faults.UNCLOSED_THINK)),
    (f"{THINK}<answer>B", "B", False, False, (faults.UNCLOSED_ANSWER,)),
    (f"{THINK}<answer>", None, False, False, (faults.UNCLOSED_ANSWER, faults.EMPTY_ANSWER)),
    (f"{THINK}<ans", None, False, False, None),
    # Unbalanced.
    ("<think>Bent. <answer>B</answer>", "B", False, False, (faults.UNCLOSED_THINK,)),
    ("Bent.</think><answer>B</answer>", "B", False, False, (faults.UNOPENED_THINK,)),
    (f"{THINK}B</answer>", "B", False, False, None),
    # Repeated.
    (
        f"{THINK}<answer>B</answer><answer>B</answer>",
        "B",
        False,
        True,
        (faults.SEVERAL_ANSWERS,),
    ),
    (
        f"{THINK}<answer>B</answer><answer>A</answer>",
        None,
        False,
        True,
        (faults.SEVERAL_ANSWERS,),
    ),
    (
        f"{THINK}<answer>B</answer>{THINK}<answer>B</answer>",
        "B",
        False,
        True,
        (faults.SEVERAL_ANSWERS, faults.SEVERAL_THINKS),
    ),
    (f"{THINK}{THINK}<answer>B</answer>", "B", False, True, (faults.SEVERAL_THINKS,)),
    # Nested.
    (
        "<think>Bent. <answer>B</answer></think><answer>B</answer>",
        "B",
        False,
        True,
        (faults.SEVERAL_ANSWERS, faults.NESTED_TAGS),
    ),
    (
        "<think>Bent. <answer>A</answer></think><answer>B</answer>",
        None,
        False,
        True,
        (faults.SEVERAL_ANSWERS, faults.NESTED_TAGS),
    ),
    ("<think>Bent. <answer>B</answer></think>", "B", False, False, (faults.NESTED_TAGS,)),
    (f"<think>{THINK}<answer>B</answer>", "B", False, True, None),
    # The wrong way round, the wrong case, nothing thought.
    (f"<answer>B</answer>{THINK}", "B", False, False, (faults.ANSWER_FIRST,)),
    ("<Think>Bent.</Think><ANSWER>B</ANSWER>", "B", False, False, (faults.TAG_CASE,)),
    ("<think></think><answer>B</answer>", "B", False, True, (faults.EMPTY_THINK,)),
    ("<think> \n </think><answer>B</answer>", "B", False, True, (faults.EMPTY_THINK,)),
    ("<think>...</think><answer>B</answer>", "B", False, True, (faults.EMPTY_THINK,)),
]


@pytest.mark.parametrize(("text", "answer", "strict", "released", "errors"), SHAPES)
def test_shape(text, answer, strict, released, errors):
    response = parse_response(text, QUESTION)
    assert response.answer == answer
    assert response.well_formed is strict
    assert parse_response(text, QUESTION, gate="released").well_formed is released
    if errors is not None:
        assert response.errors == errors
    if not strict:
        assert response.errors


def test_released_gate_reads_the_first_match_only():
    text = f"{THINK}<answer>B</answer> or <answer>A</answer>"
    response = parse_response(text, QUESTION, gate="released")
    assert (response.answer, response.conclusion, response.errors) == ("B", "B", ())


def test_errors_come_worst_first():
    response = parse_response("Hm <answer>A or B</answer>", QUESTION)
    assert response.errors == (faults.NO_THINK, faults.TEXT_OUTSIDE, faults.SEVERAL_LETTERS)
    assert list(response.errors) == sorted(response.errors, key=FAULTS.index)


def test_every_fault_has_a_name_of_its_own():
    named = [value for name, value in vars(faults).items() if name.isupper() and name != "FAULTS"]
    assert sorted(v for v in named if isinstance(v, str)) == sorted(FAULTS)
    assert len(set(FAULTS)) == len(FAULTS)


def test_reasoning_is_kept_as_written():
    response = parse_response("<think> It's **B**.\n</think><answer>B</answer>", QUESTION)
    assert response.reasoning == "It's **B**."
    assert response.answer_text == "B"
