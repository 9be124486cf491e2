"""Whatever comes in, a Response comes out, and in time linear in the length."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomalyr1.parsing import FAULTS, parse_response
from anomalyr1.parsing.tidy import plain, tidy
from anomalyr1.schema import Question

CHOICE = Question("?", "Defect Localization", {"A": "Top.", "B": "Left.", "C": "No"}, "B")
GROUNDING = Question("?", "Defect Grounding")
PIECES = [
    "<think>", "</think>", "<answer>", "</answer>", "<Think>", "[", "]", "{", "}", "(", ")", '"',
    "'", "\\", "\\boxed{", ",", ":", ".", "\n", " ", "A", "B", "C", "b", "Top", "no", "not ", "is ",
    "are ", "The answer ", "so ", "it ", "or ", "and ", "wrong", "correct", "normal", "abnormal",
    "no defect", "bbox_2d", "label", "1", "2.5", "-3", "1e999", "null",
    "答案", "是", "选", "不", "正常", "\ufdfa", "\ud800", "\x00", "İ", "ﬀ", "```json",
]  # fmt: skip
COMPLETIONS = st.one_of(st.text(), st.lists(st.sampled_from(PIECES), max_size=40).map("".join))


@settings(max_examples=400)
@given(COMPLETIONS, st.sampled_from([CHOICE, GROUNDING]), st.sampled_from(["strict", "released"]))
def test_never_raises_and_keeps_its_word(text, question, gate):
    response = parse_response(text, question, gate=gate)
    assert set(response.errors) <= set(FAULTS)
    assert response.answer is None or response.answer in question.options
    allowed = question.options if question.options else ("normal", "abnormal")
    assert response.conclusion is None or response.conclusion in allowed
    for box in response.boxes or ():
        assert box.x1 <= box.x2
        assert box.y1 <= box.y2
    if not response.well_formed and gate == "strict":
        assert response.errors


@settings(max_examples=200)
@given(COMPLETIONS, st.sampled_from([CHOICE, GROUNDING]))
def test_what_was_read_reads_the_same_when_written_again(text, question):
    """Idempotence: the canonical form of a well-formed reading gives that reading."""
    first = parse_response(text, question)
    if first.well_formed:
        again = f"<think>{first.reasoning}</think>\n<answer>{first.answer_text}</answer>"
        assert parse_response(again, question) == first


@settings(max_examples=200)
@given(COMPLETIONS)
def test_strict_implies_released(text):
    """Every text that passes the strict gate passes the released one, and reads the same."""
    strict = parse_response(text, CHOICE)
    if strict.well_formed:
        assert parse_response(text, CHOICE, gate="released") == strict


@settings(max_examples=300)
@given(COMPLETIONS)
def test_released_gate_is_the_released_pattern(text):
    pattern = re.compile(r"<think>(.*?)</think>\s*<answer>(.*?)</answer>", re.DOTALL)
    match = pattern.search(text)
    response = parse_response(text, CHOICE, gate="released")
    assert response.well_formed is (match is not None)
    if match is not None:
        assert response.reasoning == match[1].strip()
        assert response.answer_text == match[2].strip()


@settings(max_examples=200)
@given(COMPLETIONS)
def test_tidy_and_plain_are_idempotent_on_words(text):
    assert len(tidy(text).splitlines()) <= len(text.splitlines()) + text.count("\x0c") + 1
    assert plain(plain(text)) == plain(plain(plain(text)))


HOSTILE = [
    "<think>", "</think>", "<answer>", "</answer>", "<think></think>", "<think><answer>",
    "<answer></think>", "<answer>B</answer>", "[", "{", "(", "]", "[[", "[{", "[1,", '"', "'", '["',
    "['", '["\\"', "-", "[-", " ", "\n", "[ ", "```", "``` ", "\\", "\\boxed{", "\\boxed{ ", "A ",
    "A, ", "A and ", "A/", "B", "answer is ", "answer is the ", "the answer is B ", "so ",
    "so, B. ", "it is ", "it is just ", "not B ", "choose option ", "if the answer is ",
    "A is the ", "no ", "no defect ", "no defect or ", "defect is ", "there is ", "is not ",
    "no scratches, ", "no sign that ", "no part of it ", "other parts ", "as if ", "whether, ",
    "is normal ", "is really ", "is damaged and ", "compared to the ", "a-", "no-", "n't ", "it's ",
    ": \n", "*", "# ", "1e", "1", "=>", "(((B", "B. ", "Left. ", "\ufdfa", "ab",
    "答案", "答案是", "答案是B", "选", "不", "没有", "没有任何", "正常", "，",
]  # fmt: skip


def read_hostile(unit: str, size: int) -> None:
    text = unit * (size // len(unit))
    for question in (CHOICE, GROUNDING):
        parse_response(text, question)
        parse_response(f"<think>{text[-9000:]}</think><answer>{text}</answer>", question)
    parse_response(f"<think>{text}", CHOICE, gate="released")


@pytest.mark.parametrize("unit", HOSTILE)
def test_hostile_text_is_read_in_linear_time(unit):
    """A quadratic reader would need minutes for any of these; the suite would not end."""
    read_hostile(unit, 250_000)


@pytest.mark.slow
@pytest.mark.parametrize("unit", HOSTILE)
def test_a_megabyte_of_hostile_text_is_read_in_linear_time(unit):
    read_hostile(unit, 1_000_000)
