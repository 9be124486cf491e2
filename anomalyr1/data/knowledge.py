"""Domain knowledge as MMAD keeps it: a text for each (data set, class, defect or "good").

It describes the categories of the test set, so using it is a choice of its own, off by default.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from anomalyr1.errors import InputError
from anomalyr1.storage import read_json

Knowledge = Mapping[str, Mapping[str, Mapping[str, str]]]  # data set -> class -> defect -> text
CountTokens = Callable[[str], int]

# MMAD's keys name its copy of MVTec-AD otherwise than its knowledge file does.
ALIASES: Mapping[str, str] = {"DS-MVTec": "MVTec", "MVTec-AD": "MVTec"}
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"“*-])|\n+")


def load_knowledge(path: Path) -> Knowledge:
    """Read domain_knowledge.json.

    Raises:
        InputError: the file is missing, or is not {data set: {class: {defect: text}}}.
    """
    content = read_json(path, "domain knowledge")
    levels: list[object] = [content]
    for _ in range(2):
        if not all(isinstance(level, dict) for level in levels):
            break
        levels = [value for level in levels if isinstance(level, dict) for value in level.values()]
    texts = [v for level in levels if isinstance(level, dict) for v in level.values()]
    if not texts or not all(isinstance(text, str) for text in texts):
        raise InputError(
            f"expected {{data set: {{class: {{defect: text}}}}}} in {path}, found another form; "
            "give MMAD's domain_knowledge.json"
        )
    knowledge: Knowledge = content
    return knowledge


def knowledge_for(
    knowledge: Knowledge,
    dataset: str,
    category: str,
    *,
    budget: int | None = None,
    count_tokens: CountTokens = lambda text: len(text.split()),
) -> str | None:
    """The text about a class: MMAD joins that of its normal look and of every defect.

    Args:
        knowledge: as loaded.
        dataset: first part of the benchmark key; DS-MVTec is looked up as MVTec.
        category: the class.
        budget: most tokens; None for all, joined as MMAD's script does. Sentences are never cut:
            they are taken in turn, the first of every defect, then the second, so that a small
            budget leaves out detail and not the defects that come last.
        count_tokens: counts the tokens of a text.

    Returns:
        None where there is no text, or no sentence fits.
    """
    entries = knowledge.get(ALIASES.get(dataset, dataset), {}).get(category)
    if not entries:
        return None
    if budget is None:
        return "\n".join(entries.values())
    sentences = [split_sentences(text) for text in entries.values()]
    kept: list[list[str]] = [[] for _ in sentences]
    for turn in range(max(map(len, sentences))):
        for own, chosen in zip(sentences, kept, strict=True):
            if turn < len(own):
                chosen.append(own[turn])
                if count_tokens(_join(kept)) > budget:
                    chosen.pop()
                    return _join(kept) or None
    return _join(kept)


def split_sentences(text: str) -> list[str]:
    """Sentences and list entries, trimmed; a title stays with the sentence after it.

    >>> split_sentences("<Crack> The glass broke. It is sharp.")
    ['<Crack> The glass broke.', 'It is sharp.']
    """
    parts = [part.strip() for part in _SENTENCE_END.split(text) if part.strip()]
    joined: list[str] = []
    carry = ""
    for part in parts:
        if part.startswith("<") and part.endswith(">"):
            carry = f"{carry}{part} "
            continue
        joined.append(carry + part)
        carry = ""
    return joined + ([carry.strip()] if carry else [])


def _join(parts: Sequence[Sequence[str]]) -> str:
    return "\n".join(" ".join(part) for part in parts if part)


class KnowledgeTexts:
    """The texts about the products of a run, each looked up once.

    Args:
        path: of domain_knowledge.json; None where the prompts say nothing.
        budget: tokens of a text; None for all of it.
        count_tokens: of the policy.
    """

    def __init__(self, path: str | None, budget: int | None, count_tokens: CountTokens) -> None:
        self.knowledge = None if path is None else load_knowledge(Path(path))
        self.budget = budget
        self.count_tokens = count_tokens
        self._found: dict[tuple[str, str], str | None] = {}

    def text(self, dataset: str, category: str) -> str | None:
        """What is known of a product; None where there is nothing."""
        if self.knowledge is None:
            return None
        key = dataset, category
        if key not in self._found:
            self._found[key] = knowledge_for(
                self.knowledge, *key, budget=self.budget, count_tokens=self.count_tokens
            )
        return self._found[key]
