"""What follows from the records, each said in one place."""

from pathlib import Path

import pytest

from anomalyr1.schema import GROUNDING, Box, Prediction, Question, Sample

OWN, IMAGE = (Box(0, 0, 1, 1, "own"),), (Box(2, 2, 3, 3),)


@pytest.mark.parametrize(
    ("of_question", "of_image", "gold"),
    [
        (OWN, IMAGE, OWN),  # a question's own come first
        ((), IMAGE, ()),  # also where it says that there is none
        (None, IMAGE, IMAGE),
        (None, (), ()),
        (None, None, None),  # not known, which is not "none"
    ],
)
def test_gold_boxes_of_a_question(of_question, of_image, gold):
    question = Question("Locate.", GROUNDING, boxes=of_question)
    assert Sample("D/c/1.png", Path(), (question,), boxes=of_image).gold_boxes(question) == gold


@pytest.mark.parametrize(
    ("image", "recorded", "normal"),
    [
        ("VisA/pcb/test/good/1.JPG", None, True),
        ("VisA/pcb/test/bad/1.JPG", None, False),
        ("VisA/pcb/test/good/1.JPG", False, False),  # the record knows better than the path
        ("GoodsAD/goods/test/goodish/1.jpg", None, False),  # a part of the path, not of a word
    ],
)
def test_whose_and_how_an_image_is(image, recorded, normal):
    prediction = Prediction(image, 0, GROUNDING, {}, None, "", normal=recorded)
    assert prediction.is_normal is normal
    assert prediction.dataset == image.split("/")[0] == Sample(image, Path(), ()).dataset
    if recorded is None:
        assert Sample(image, Path(), ()).is_normal is normal
