"""Defect Description questions out of domain knowledge."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from anomalyr1.data.knowledge import ALIASES, Knowledge, knowledge_for, split_sentences
from anomalyr1.data.making.questions import Fact, words
from anomalyr1.data.making.sources.item import Item
from anomalyr1.data.seeding import seeded_order
from anomalyr1.errors import listed

_TITLE = re.compile(r"<[^>]*>|\*\*|(?:^|\s)Description:")


def description_facts(knowledge: Knowledge, seed: int) -> Callable[[Item], tuple[Fact, ...]]:
    """A Defect Description question for images whose defect the knowledge describes.

    The answer is the first sentence about the defect, the distractors those about other defects of
    the class. A class with one described defect gets no question.
    """

    def facts(item: Item) -> tuple[Fact, ...]:
        name = ALIASES.get(item.dataset, item.dataset)
        entries = knowledge.get(name, {}).get(item.category, {})
        defects = {d: t for d, t in entries.items() if d not in ("good", "combined")}
        if item.normal or item.folder not in defects or len(defects) < 2:
            return ()
        present = {item.folder, *item.defects}
        absent = [d for d in defects if d not in present and words(d) not in present]
        others = seeded_order(absent, seed, item.key, "facts")
        return (
            Fact(
                "Defect Description",
                "There is a defect in the object. Which description fits it?",
                _headline(defects[item.folder]),
                tuple(_headline(defects[other]) for other in others),
            ),
        )

    return facts


def told_undescribed(items: Iterable[Item], knowledge: Knowledge) -> list[str]:
    """A line about products none of which the knowledge has a text about."""
    products = list(dict.fromkeys((item.dataset, item.category) for item in items))
    if any(knowledge_for(knowledge, *product) for product in products):
        return []
    named = listed(["/".join(product) for product in products], 3)
    known = listed([f"{name}/{part}" for name, parts in knowledge.items() for part in parts], 3)
    return [
        f"warning: the domain knowledge is of {known}, not of {named}: no description is asked for "
        "(--set dataset= and category= name the products of a source that does not)"
    ]


def _headline(text: str) -> str:
    plain = " ".join(_TITLE.sub(" ", split_sentences(text)[0]).split())
    return plain or text.strip()
