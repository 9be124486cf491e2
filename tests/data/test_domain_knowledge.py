import json

import pytest

from anomalyr1.data.knowledge import (
    knowledge_for,
    load_knowledge,
    split_sentences,
)
from anomalyr1.data.making.descriptions import description_facts
from anomalyr1.data.making.sources.item import Item
from anomalyr1.errors import InputError

TEXTS = {
    "MVTec": {
        "nut": {
            "good": "<Normal>\n Description: It is round. It shines.",
            "crack": "<Crack>\n Description: A dark line runs over it. It may break.",
            "bent": "<Bent>\n Description: One side stands up. It does not lie flat.",
        }
    }
}


def test_the_lookup_of_mmad():
    full = knowledge_for(TEXTS, "DS-MVTec", "nut")
    assert full == "\n".join(text.strip() for text in TEXTS["MVTec"]["nut"].values())
    assert knowledge_for(TEXTS, "MVTec-AD", "nut") == full
    assert knowledge_for(TEXTS, "VisA", "nut") is None
    assert knowledge_for(TEXTS, "DS-MVTec", "bolt") is None


@pytest.mark.parametrize("budget", range(0, 45))
def test_no_sentence_is_cut_and_the_budget_holds(budget):
    text = knowledge_for(TEXTS, "MVTec", "nut", budget=budget)
    whole = {s for t in TEXTS["MVTec"]["nut"].values() for s in split_sentences(t)}
    if text is not None:
        assert len(text.split()) <= budget
        assert set(split_sentences(text)) <= whole


def test_a_small_budget_keeps_something_of_every_defect():
    text = knowledge_for(TEXTS, "MVTec", "nut", budget=20)
    assert "It is round." in text and "A dark line" in text and "One side" in text
    assert "It shines." not in text


def test_sentences():
    text = "<Spot>\n Description: It is red. It is small:\n - as a dot\n - as a ring"
    assert split_sentences(text) == [
        "<Spot> Description: It is red.",
        "It is small:",
        "- as a dot",
        "- as a ring",
    ]
    assert split_sentences("<Only a title>") == ["<Only a title>"]


def test_description_questions():
    item = Item(None, "MVTec-AD", "nut", "crack", "1.png", "nut")
    (fact,) = description_facts(TEXTS, 0)(item)
    assert fact.answer == "A dark line runs over it."
    assert fact.distractors == ("One side stands up.",)
    assert description_facts(TEXTS, 0)(Item(None, "MVTec-AD", "nut", "good", "1.png", "nut")) == ()


@pytest.mark.parametrize("content", [[], {}, {"MVTec": 3}, {"MVTec": {"nut": ["a"]}}])
def test_another_form_is_refused(tmp_path, content):
    (tmp_path / "k.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"domain_knowledge\.json"):
        load_knowledge(tmp_path / "k.json")


def test_the_real_file(real_data):
    knowledge = load_knowledge(real_data("mmad") / "domain_knowledge.json")
    assert sum(len(classes) for classes in knowledge.values()) == 38
    for dataset, classes in knowledge.items():
        for category in classes:
            text = knowledge_for(knowledge, dataset, category, budget=150)
            assert text and len(text.split()) <= 150
