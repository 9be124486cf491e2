"""No letter of a file name or of a policy becomes HTML."""

import html
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from anomalyr1.demo.answer_card import answer_card, as_text, message_card
from anomalyr1.demo.session import Entry
from anomalyr1.values import printable

ROW = {
    "image": "part.png",
    "question": "Is there any defect in the object?",
    "options": {"A": "Yes.", "B": "No."},
    "verdict": "anomalous",
    "answer": "A",
    "probability": 0.9,
    "probability_at_once": 0.25,
    "threshold": None,
    "decided_by": "answer",
    "defect_type": None,
    "description": None,
    "boxes": [{"box": [1.0, 2.4, 3.6, 4.0], "label": "hole"}],
    "well_formed": True,
    "seconds": 0.5,
    "settings": {"weigh": "reasoning"},
}


class Tags(HTMLParser):
    """What a browser makes of it: the elements, and the text."""

    def __init__(self, card: str) -> None:
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(card)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, sorted(name for name, _ in attrs)))

    def handle_data(self, data):
        self.text += data


def test_it_says_what_was_found():
    text = Tags(answer_card(ROW)).text
    for said in (
        "anomalous",
        "P(anomalous) = 0.900",
        "A Yes.",
        "hole: 1, 2, 4, 4",
        "0.250 at once",
    ):
        assert said in text
    row = ROW | {"settings": {"weigh": "at_once"}}
    assert "P(anomalous) = 0.250" in answer_card(row)
    entry = Entry(Path("part.png"), (), row, (), Image.new("RGB", (4, 4)))
    assert entry.caption == "part.png: anomalous (0.25)"  # the history says the same


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"verdict": None, "probability": None, "probability_at_once": None}, "Yes.image"),
        ({"verdict": None, "probability": None, "answer": None}, "no verdict"),
        ({"boxes": None}, "none that can be read"),
        ({"boxes": []}, "boxesnone"),
        ({"boxes": ROW["boxes"] * 25}, "and 5 more"),
        ({"decided_by": "threshold", "threshold": 0.125}, "threshold 0.125"),
        ({"defect_type": "hole"}, "defect typehole"),
        ({"well_formed": False}, "not the one that was asked for"),
    ],
)
def test_what_is_there_is_told_and_what_is_not_is_not(changed, said):
    assert said in Tags(answer_card(ROW | changed)).text
    assert said not in Tags(answer_card(ROW)).text


@given(st.text(st.sampled_from("<>&\"'`${}\\@/=! \nabonerror") | st.characters(), max_size=60))
def test_any_text_stays_text(text):
    plain = Tags(answer_card(ROW))
    box = {"box": [1, 2, 3, 4], "label": text}
    changed = {"image": text, "question": text, "options": {"A": text}, "boxes": [box]}
    card = answer_card(ROW | changed)
    assert Tags(card).tags == plain.tags
    assert not set("${}`@\\") & set(card)
    assert html.unescape(as_text(text)) == printable(text)
    assert [tag for tag, _ in Tags(message_card(text)).tags] == (["p"] if text else [])
