"""Hand-labelled box lists, alone (grounding) and after a letter (inspect)."""

import pytest

from anomalyr1.gold_completions import format_boxes
from anomalyr1.parsing import faults, parse_response
from anomalyr1.schema import Box, Question

GROUNDING = Question("Where?", "Defect Grounding")
CHOICE = Question("Any defect?", "Anomaly Detection", {"A": "No.", "B": "Yes."}, "B")
ONE = (Box(1, 2, 30, 40),)
TWO = (Box(1, 2, 30, 40), Box(5, 6, 7, 8))

READABLE = [
    ("[]", (), set()),
    (" [ ] ", (), set()),
    # One box.
    ('[{"bbox_2d": [1, 2, 30, 40], "label": "dent"}]', (Box(1, 2, 30, 40, "dent"),), set()),
    ('[{"bbox_2d": [1, 2, 30, 40]}]', ONE, set()),
    ('{"bbox_2d": [1, 2, 30, 40]}', ONE, set()),
    ('[{"bbox": [1, 2, 30, 40]}]', ONE, set()),
    ("[1, 2, 30, 40]", ONE, set()),
    ("[[1, 2, 30, 40]]", ONE, set()),
    ("(1, 2, 30, 40)", None, {faults.UNREADABLE_BOXES}),  # round brackets open no list
    ("[(1, 2, 30, 40)]", ONE, set()),
    ("[1,2,30,40]", ONE, set()),
    ("[ 1 ,  2,\n30 ,40 ]", ONE, set()),
    # Floats, signs, exponents.
    ("[[1.5, 2.25, 30.0, 40.]]", (Box(1.5, 2.25, 30, 40),), set()),
    ("[[-5, -2.5, 30, 40]]", (Box(-5, -2.5, 30, 40),), set()),
    ("[[+1, 2, 3e1, 40]]", ONE, set()),
    ("[[.5, 2, 30, 40]]", (Box(0.5, 2, 30, 40),), set()),
    ("[[1, 2, 99999, 40]]", (Box(1, 2, 99999, 40),), set()),  # the frame is not known here
    # Python-like.
    ("[{'bbox_2d': [1, 2, 30, 40], 'label': 'dent'}]", (Box(1, 2, 30, 40, "dent"),), set()),
    ("[{'bbox_2d': (1, 2, 30, 40), 'label': None}]", ONE, set()),
    ("[[1, 2, 30, 40],]", ONE, set()),
    ("[{'bbox_2d': [1, 2, 30, 40], 'label': 'worker\\'s mark'}]", None, None),
    # Several.
    ("[[1, 2, 30, 40], [5, 6, 7, 8]]", TWO, set()),
    ("[1, 2, 30, 40], [5, 6, 7, 8]", TWO, set()),
    ("[1, 2, 30, 40]\n[5, 6, 7, 8]", TWO, set()),
    ('{"bbox_2d": [1, 2, 30, 40]}\n{"bbox_2d": [5, 6, 7, 8]}', TWO, set()),
    ('[{"bbox_2d": [1, 2, 30, 40]}, {"bbox_2d": [5, 6, 7, 8]}]', TWO, set()),
    ('[{"bbox_2d": [1, 2, 30, 40]} {"bbox_2d": [5, 6, 7, 8]}]', TWO, set()),
    # Dress.
    ("```json\n[[1, 2, 30, 40]]\n```", ONE, set()),
    ("```\n[]\n```", (), set()),
    ("The dent: [1, 2, 30, 40]", ONE, {faults.TEXT_BESIDE_BOXES}),
    # Named, and put right or kept.
    ("[30, 40, 1, 2]", ONE, {faults.SWAPPED_BOX}),
    ("[30, 2, 1, 40]", ONE, {faults.SWAPPED_BOX}),
    ("[5, 5, 5, 9]", (Box(5, 5, 5, 9),), {faults.DEGENERATE_BOX}),
    ("[0, 0, 0, 0]", (Box(0, 0, 0, 0),), {faults.DEGENERATE_BOX}),
    # Unreadable: nothing is guessed, nothing is dropped.
    ("[1, 2, 30]", None, {faults.UNREADABLE_BOXES}),
    ("[1, 2, 30, 40, 50]", None, {faults.UNREADABLE_BOXES}),
    ("[[1, 2, 30, 40], [5, 6]]", None, {faults.UNREADABLE_BOXES}),
    ("[[1, 2, 30, 40], 7]", None, {faults.UNREADABLE_BOXES}),
    ("[[]]", None, {faults.UNREADABLE_BOXES}),
    ("{}", None, {faults.UNREADABLE_BOXES}),
    ('[{"label": "dent"}]', None, {faults.UNREADABLE_BOXES}),
    ('[{"bbox_2d": "1, 2, 30, 40"}]', None, {faults.UNREADABLE_BOXES}),
    ('[{"bbox_2d": [1, 2, 30, "40"]}]', None, {faults.UNREADABLE_BOXES}),
    ('[{"bbox_2d": [true, 2, 30, 40]}]', None, {faults.UNREADABLE_BOXES}),
    ("[[NaN, 2, 30, 40]]", None, {faults.UNREADABLE_BOXES}),
    ("[[1e999, 2, 30, 40]]", None, {faults.UNREADABLE_BOXES}),
    ("[[1, 2, 30, 1" + "0" * 400 + "]]", None, {faults.UNREADABLE_BOXES}),
    ('[{"bbox_2d": [1, 2, 30, 40], "lab', None, {faults.UNREADABLE_BOXES}),
    ('[{"bbox_2d": [1, 2, 30, 40]}, {"bbox_2d": [5, 6', None, {faults.UNREADABLE_BOXES}),
    ("[1, 2, 30, 40] and [5, 6, 7, 8]", None, {faults.UNREADABLE_BOXES}),
    ("none", None, {faults.UNREADABLE_BOXES}),
    ("null", None, {faults.UNREADABLE_BOXES}),
    ("No defect.", None, {faults.UNREADABLE_BOXES}),
    ("B", None, {faults.UNREADABLE_BOXES}),
    ("", None, {faults.EMPTY_ANSWER}),
]


@pytest.mark.parametrize(("answer", "boxes", "errors"), READABLE)
def test_grounding_answer(answer, boxes, errors):
    response = parse_response(f"<think>Hm.</think><answer>{answer}</answer>", GROUNDING)
    if errors is None:  # an escaped quote inside a label
        boxes, errors = (Box(1, 2, 30, 40, "worker's mark"),), set()
    assert response.boxes == boxes
    assert set(response.errors) == errors
    assert response.answer is None
    assert response.well_formed


INSPECT = [
    ("B\n[[1, 2, 30, 40]]", "B", ONE),
    ("B [[1, 2, 30, 40]]", "B", ONE),
    ("(b)\n[1, 2, 30, 40]", "B", ONE),
    ("A\n[]", "A", ()),
    ("A. No.\n[]", "A", ()),
    ('B\n```json\n[{"bbox_2d": [1, 2, 30, 40]}]\n```', "B", ONE),
    ("[[1, 2, 30, 40]]\nB", "B", ONE),
    ("B\n[[1, 2, 30", "B", None),
    ("B", "B", None),
    ("[B]", "B", None),
    ("[[1, 2, 30, 40]]", None, ONE),
]


@pytest.mark.parametrize(("answer", "letter", "boxes"), INSPECT)
def test_letter_and_boxes(answer, letter, boxes):
    response = parse_response(f"<think>Hm.</think><answer>{answer}</answer>", CHOICE)
    assert (response.answer, response.boxes) == (letter, boxes)


@pytest.mark.parametrize("boxes", [(), ONE, TWO])
def test_reads_what_the_prompt_builder_writes(boxes):
    written = format_boxes(boxes)
    labelled = tuple(Box(*box.xyxy, "defect") for box in boxes)
    assert parse_response(f"<answer>{written}</answer>", GROUNDING).boxes == labelled


def test_bare_list_without_tags():
    response = parse_response('```json\n[{"bbox_2d": [1, 2, 30, 40]}]\n```', GROUNDING)
    assert response.boxes == ONE
    assert not response.well_formed
