"""What is said of an image follows the image, or the image stays as it is."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomalyr1.config import AugmentConfig
from anomalyr1.data.looks import draw_look
from anomalyr1.data.making.questions import Subject, Vocabulary, build_questions
from anomalyr1.data.place_words import allows_crops, allows_turns, cells_of, follow
from anomalyr1.geometry import CELLS, UNTURNED, Turn, View, grid_cell, touched_cells
from anomalyr1.schema import GROUNDING, Box, Question

SIZE = (120, 90)
WHERE = Question(
    "Where is it?",
    "Defect Localization",
    {"A": "Top left.", "B": "Center.", "C": "Bottom center.", "D": "right"},
    "A",
)


def test_cells_by_hand():
    for turn, texts in (
        (Turn(mirrored=True), ["Top right.", "Center.", "Bottom center.", "left"]),
        (Turn(upside_down=True), ["Bottom left.", "Center.", "Top center.", "right"]),
        (Turn(True, True, False), ["Top right.", "Center.", "Left.", "bottom center"]),  # 90 right
        (UNTURNED, list(WHERE.options.values())),
    ):
        turned = follow(WHERE, None, View(turn=turn), SIZE)
        assert list(turned.options.values()) == texts and turned.answer == "A"


def test_a_crop_asks_anew_where_the_largest_box_is():
    small, large = Box(100, 80, 110, 88), Box(10, 10, 30, 25)
    view = View(Box(0.0, 0.0, 0.5, 0.5))  # the large box's centre is at 20 and 17.5 of 60 and 45
    cut = follow(WHERE, [large], view, SIZE)
    assert cut.options["A"] == "Center." and len(set(cut.options.values())) == 4
    # It touches all but the last row and the right column, so two of the old cells stay.
    assert cut.options["C"] == "Bottom center." and cut.options["D"] == "right"
    assert allows_crops(WHERE, [large, small], SIZE)
    assert not allows_crops(WHERE, [small], SIZE)  # the answer is not the largest box's cell
    assert not allows_crops(WHERE, [], SIZE) and not allows_crops(WHERE, None, SIZE)
    assert (
        follow(WHERE, [Box(0, 0, 50, 35)], View(Box(0, 0, 0.4, 0.4)), SIZE) is None
    )  # no cell free


@pytest.mark.parametrize(
    ("text", "turns", "crops"),
    [
        ("Is there any defect in the object?", True, True),
        ("What is printed in the lower half of the label?", False, False),
        ("Is the RIGHT pin bent?", False, False),
        ("Is the edge chipped?", True, False),  # an edge stays one when turned, a crop has its own
        ("How many candles are there?", True, False),
        ("Does the copyright notice show an alright print?", True, True),  # no whole words
        ("Is the pin of the top-left socket bent?", False, False),
    ],
)
def test_free_words(text, turns, crops):
    question = Question(text, "Anomaly Detection", {"A": "Yes.", "B": "No."}, "A")
    assert allows_turns(question) == turns
    assert allows_crops(question, [], SIZE) == crops


def test_options_labels_and_knowledge_are_words_too():
    options = {"A": "Top.", "B": "Left.", "C": "Rim.", "D": "Base."}  # not all are cells
    assert cells_of(Question("Which part?", "Defect Localization", options, "C")) == {}
    assert not allows_turns(Question("Which part?", "Defect Localization", options, "C"))
    plain = Question("Is there a defect?", "Anomaly Detection", {"A": "Yes.", "B": "No."}, "A")
    assert not allows_turns(plain, ["", "bent_left_pin"]) and not allows_crops(
        plain, [], SIZE, ["top"]
    )
    count = Question("What is it made of?", "Object Details", {"A": "Wax.", "B": "Wool."}, "A")
    assert allows_turns(count) and not allows_crops(count, [], SIZE)  # a part may not show it


@given(st.integers(0, 10**6), st.integers(1, 3), st.booleans())
def test_built_questions_are_right_in_every_view(seed, count, turned):
    """The right cell holds the largest box, no wrong one is touched: as `data build` asks."""
    drawn = random.Random(seed)
    boxes = []
    for _ in range(count):
        x, y = drawn.uniform(0, 100), drawn.uniform(0, 75)
        boxes.append(Box(x, y, x + drawn.uniform(4, 20), y + drawn.uniform(4, 15), "dent"))
    subject = Subject("a/b/test/dent/1.png", "nut", False, SIZE, ("dent",), tuple(boxes))
    options = AugmentConfig(turned, turned, turned, crop=0.4)
    look = draw_look(options, drawn, SIZE, boxes)
    shown = look.view.boxes(boxes, SIZE)
    size = look.view.turn.size(SIZE)
    for question in build_questions(subject, Vocabulary.of([subject])):
        moved = follow(question, boxes, look.view, SIZE)
        if question.type == GROUNDING:
            assert moved.boxes == shown
        if question.type != "Defect Localization":
            assert moved.options == question.options and moved.answer == question.answer
        elif moved is None:
            assert len(touched_cells(shown, *size)) > len(CELLS) - len(question.options)
        else:
            right = grid_cell(max(shown, key=lambda box: box.area), *size)
            wrong = [cell for letter, cell in cells_of(moved).items() if letter != moved.answer]
            assert cells_of(moved)[moved.answer] == right
            assert len({right, *wrong}) == len(question.options)
            assert not set(wrong) & touched_cells(shown, *size)
