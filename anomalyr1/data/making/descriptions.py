"""Defect Description questions out of domain knowledge."""

from __future__ import annotations

import re
from collections.abc import Callable

from anomalyr1.data.knowledge import ALIASES, Knowledge, split_sentences
from anomalyr1.data.making.questions import Fact, words
from anomalyr1.data.making.sources.item import Item
from anomalyr1.data.seeding import seeded_order

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


def _headline(text: str) -> str:
    plain = " ".join(_TITLE.sub(" ", split_sentences(text)[0]).split())
    return plain or text.strip()
