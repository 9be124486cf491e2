"""Which options of a yes-or-no question say that the product is defective."""

from __future__ import annotations

import re
from functools import lru_cache

from anomalyr1.parsing.tidy import plain, tidy
from anomalyr1.parsing.verdicts import ABSENCE, BAD, GOOD, NOUN, Verdict, conclude_verdict
from anomalyr1.schema import ANOMALY_DETECTION, Question

_YES = re.compile(r"(?:yes|true|correct|right|是|有)\b")
_NO = re.compile(r"(?:no|false|incorrect|wrong|否|没有|无)\b")
_ASKS_NORMAL = re.compile(
    rf"(?P<no>\bnot )?\b(?:{GOOD}|good|fine|ok|okay|acceptable|perfect|in order|pass)\b(?!-)"
    r"|正常|合格|完好"
)
_ASKS_DEFECT = re.compile(
    rf"\b(?:{NOUN}|{BAD}|irregularit(?:y|ies)|problems?|issues?|wrong|unusual|unexpected"
    r"|differ(?:s|ent|ently|ences?)?\b|deviat(?:es?|ed|ions?)\b|changed)|缺陷|异常|瑕疵|损坏"
)
# Asks for what is absent, beside what `ABSENCE` knows.
_ASKS_FREE = re.compile(
    r"\bfree (?:of|from)\b|\b(?:no|without)(?: [\w-]+){0,3}?"
    r" (?:irregularit(?:y|ies)|problems?|issues?|scratch(?:es)?|dents?|cracks?)\b"
)
# "Does it differ from the normal sample?" asks nothing of the sample.
_SAMPLE = (
    rf"(?:(?:the|a|an|any|its|given|first|same|other) ){{0,3}}(?:{GOOD}|good)(?: [\w-]+){{0,2}}?"
    r" (?:sample|template|reference|image|picture|photo|one|product|part|example)s?"
)
_COMPARED = re.compile(
    r"\b(?:compared (?:to|with)|relative to|unlike|than|from|and|with|to|as in|as|like)"
    rf" {_SAMPLE}\b"
)
_ASKS_ALIKE = re.compile(r"\b(?:match(?:es)?|same|identical|consistent|similar|alike)\b")


def verdict_letters(question: Question) -> dict[str, Verdict] | None:
    """What each option of an Anomaly Detection question says of the product.

    An option that says it by itself ("Abnormal.", "No defect is visible.") is read as reasoning is.
    A bare yes or no says what the question asks: after a defect or a difference, as MMAD does, or,
    where it speaks of neither, whether the product is normal or like a normal one.

    Returns:
        letter -> normal or abnormal, options that say neither left out; None where the question is
        of another type, or not both are among its options.

    >>> verdict_letters(Question("Any flaw?", ANOMALY_DETECTION, {"A": "No.", "B": "Yes."}))
    {'A': 'normal', 'B': 'abnormal'}
    >>> verdict_letters(Question("Is it intact?", ANOMALY_DETECTION, {"A": "No.", "B": "Yes."}))
    {'A': 'abnormal', 'B': 'normal'}
    """
    if question.type != ANOMALY_DETECTION:
        return None
    said = dict(_meanings(question.text, tuple(question.options.items())))
    return said if len(set(said.values())) == 2 else None


@lru_cache(maxsize=4096)  # a benchmark asks the same few questions of every image
def _meanings(
    question: str, options: tuple[tuple[str, str], ...]
) -> tuple[tuple[str, Verdict], ...]:
    yes = _meant_by_yes(question)
    found = ((letter, _said(text, yes)) for letter, text in options)
    return tuple((letter, verdict) for letter, verdict in found if verdict is not None)


def _said(option: str, yes: Verdict) -> Verdict | None:
    text = plain(option)
    own = conclude_verdict(text) or conclude_verdict(f"the product is {text}")
    if own is not None:
        return own
    good = _ASKS_NORMAL.fullmatch(text)
    if good:
        return "abnormal" if good["no"] else "normal"
    if _YES.match(text):
        return yes
    return _opposite(yes) if _NO.match(text) else None


def _meant_by_yes(question: str) -> Verdict:
    text = tidy(question).lower()
    if ABSENCE.search(text) or _ASKS_FREE.search(text):
        return "normal"
    if _ASKS_DEFECT.search(text):
        return "abnormal"
    alike = _ASKS_ALIKE.search(text) and _COMPARED.search(text)
    good = _ASKS_NORMAL.search(_COMPARED.sub("", text))
    return "normal" if alike or (good and not good["no"]) else "abnormal"


def _opposite(verdict: Verdict) -> Verdict:
    return "normal" if verdict == "abnormal" else "abnormal"
