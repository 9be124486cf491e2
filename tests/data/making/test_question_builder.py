import pytest
from commands import fresh
from hypothesis import given
from hypothesis import strategies as st

from anomalyr1.data.making.questions import (
    CELLS,
    Fact,
    Subject,
    Vocabulary,
    build_questions,
    choice,
    shuffle_options,
    touched_cells,
)
from anomalyr1.schema import GROUNDING, Box, Question

KEY = "D/nut/test/crack/1.png"
VOCABULARY = Vocabulary({"nut": ("bent", "crack", "scratch"), "pill": ("chip", "crack")})


def subject(**changes) -> Subject:
    values = {
        "key": KEY,
        "product": "nut",
        "normal": False,
        "size": (90, 90),
        "defects": ("crack",),
        "boxes": (Box(2, 2, 20, 20, "crack"),),
    }
    return Subject(**{**values, **changes})


def gold(question: Question) -> str:
    return question.options[question.answer]


def by_type(asked: Subject, seed: int = 0) -> dict[str, Question]:
    return {q.type: q for q in build_questions(asked, VOCABULARY, seed)}


def test_a_defective_image_gets_every_question():
    asked = by_type(subject())
    assert gold(asked["Anomaly Detection"]) == "Yes."
    assert gold(asked["Defect Classification"]) == "Crack."
    assert gold(asked["Defect Localization"]) == "Top left."
    assert gold(asked["Object Classification"]) == "Nut."
    assert asked[GROUNDING].boxes == (Box(2, 2, 20, 20, "crack"),)
    assert asked["Defect Classification"].presupposes_defect


def test_a_normal_image_has_an_empty_grounding_answer():
    asked = by_type(subject(normal=True, defects=(), boxes=()))
    assert set(asked) == {"Anomaly Detection", "Object Classification", GROUNDING}
    assert asked[GROUNDING].boxes == () and gold(asked["Anomaly Detection"]) == "No."


def test_an_unknown_place_or_type_is_not_asked_for():
    asked = by_type(subject(boxes=None, defects=()))
    assert set(asked) == {"Anomaly Detection", "Object Classification"}


@pytest.mark.parametrize("seed", range(8))
def test_distractors_come_from_the_same_product_first(seed):
    options = set(by_type(subject(), seed)["Defect Classification"].options.values())
    assert {"Crack.", "Bent.", "Scratch."} < options and len(options) == 4


@pytest.mark.parametrize("seed", range(8))
def test_several_types_are_asked_against_absent_ones(seed):
    asked = by_type(subject(defects=("bent", "crack")), seed)["Defect Classification"]
    present = {"Bent.", "Crack."} & set(asked.options.values())
    assert present == {gold(asked)} and "several types" in asked.text


@pytest.mark.parametrize("seed", range(8))
def test_no_distractor_place_touches_a_box(seed):
    boxes = (Box(2, 2, 20, 20), Box(35, 35, 40, 40), Box(62, 5, 88, 20))
    asked = by_type(subject(boxes=boxes), seed)["Defect Localization"]
    wrong = {text.rstrip(".").lower() for text in asked.options.values() if text != gold(asked)}
    assert not wrong & touched_cells(boxes, 90, 90)
    assert gold(asked) == "Top right."  # the largest box


def test_a_defect_all_over_the_image_has_no_place():
    assert "Defect Localization" not in by_type(subject(boxes=(Box(0, 0, 90, 90),)))
    assert touched_cells([Box(0, 0, 90, 90)], 90, 90) == set(CELLS)


def test_facts_become_questions():
    fact = Fact("Object Details", "Which colour?", "red", ("blue", "Red", "green"))
    asked = build_questions(subject(facts=(fact,)), VOCABULARY)[-1]
    assert gold(asked) == "Red." and len(asked.options) == 3  # "Red" repeats the answer


def test_a_question_without_distractors_is_not_asked():
    assert choice("Object Details", "Which?", "red", ("Red.",), KEY, 0) is None


def test_gold_letters_are_spread():
    letters = {by_type(subject(key=f"{KEY}{n}"))["Defect Classification"].answer for n in range(60)}
    assert letters == set("ABCD")


texts = st.lists(st.text(min_size=1, max_size=12), min_size=2, max_size=5)


@given(texts, st.integers(0, 4), st.text(max_size=20), st.integers())
def test_shuffle_is_a_permutation_that_keeps_the_gold_text(options, gold_index, key, seed):
    letters = "ABCDE"[: len(options)]
    answer = letters[gold_index % len(options)]
    question = Question("Q?", "Defect Analysis", dict(zip(letters, options, strict=True)), answer)
    shuffled = shuffle_options(question, key, seed)
    assert list(shuffled.options) == list(letters)
    assert sorted(shuffled.options.values()) == sorted(options)
    assert gold(shuffled) == gold(question)


@given(st.integers())
def test_all_of_the_above_stays_last(seed):
    options = {"A": "One.", "B": "Two.", "C": "Three.", "D": "All of the above."}
    shuffled = shuffle_options(Question("Q?", "Defect Analysis", options, "D"), KEY, seed)
    assert shuffled.answer == "D" and shuffled.options["D"] == "All of the above."


@pytest.mark.parametrize(
    "options",
    [
        {"A": "One.", "B": "All of the above.", "C": "Three."},  # what is above would change
        {"A": "One.", "B": "Two.", "C": "Both A and B."},  # letters would change their meaning
        {**dict(zip("ABCDEF", "uvwxyz", strict=True)), "G": "Both F and G."},  # beyond E as well
        {**dict(zip("ABCDEF", "uvwxyz", strict=True)), "G": "Options F, D."},
    ],
)
def test_options_that_speak_of_others_are_left_alone(options):
    question = Question("Q?", "Defect Analysis", options, "A")
    assert all(shuffle_options(question, KEY, seed) == question for seed in range(10))


def test_reading_order_does_not_matter():
    first = Question("Q?", "Defect Analysis", {"A": "x", "B": "y", "C": "z"}, "A")
    other = Question("Q?", "Defect Analysis", {"A": "z", "B": "x", "C": "y"}, "B")
    assert shuffle_options(first, KEY, 5) == shuffle_options(other, KEY, 5)


def test_a_grounding_question_has_nothing_to_shuffle():
    question = Question("Locate.", GROUNDING, boxes=())
    assert shuffle_options(question, KEY, 1) == question


def test_two_processes_agree():
    code = (
        "from anomalyr1.data.making.questions import *\n"
        "from anomalyr1.schema import Question\n"
        "q = Question('Q?', 'Defect Analysis', dict(zip('ABCD', 'wxyz')), 'A')\n"
        "print([shuffle_options(q, str(n), 7).answer for n in range(30)])"
    )
    runs = [fresh(code) for _ in range(2)]
    assert runs[0] == runs[1] and "B" in runs[0]
