"""Normal or abnormal: the verdict that the reasoning of a grounding answer ends on."""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import Literal

from anomalyr1.parsing.tidy import split_ending, tidy

Verdict = Literal["normal", "abnormal"]

# Words for a defect, for a product without one, and for one with.
NOUN = (
    r"(?:defects?|anomal(?:y|ies)|abnormalit(?:y|ies)|flaws?|damages?|faults?"
    r"|imperfections?)\b(?!-)"
)
GOOD = r"normal|defect-free|fault-free|flawless|intact|undamaged|non-?defective|unblemished"
BAD = r"abnormal|anomalous|defective|faulty|damaged|flawed"
_BEFORE = (
    r"(?: (?:to be|be|been|a|an|very|quite|all|both|still|also|thus|therefore|indeed|just|rather"
    r"|so|deemed|considered|judged|classified as|neither|nor|not|never|far from|anything but"
    r"|\w{1,20}ly))"
)
# "The product is (not) (clearly) normal", "Verdict: abnormal".
_ADJECTIVE = re.compile(
    r"(?P<no>\b(?:not|never|nothing|none) )?(?:\b(?:is|are|be|appears?|looks?|seems?|remains?|as"
    r"|nothing|nor|neither|so|thus|hence|therefore)\b,?"
    r"|\b(?:verdict|conclusion|result|answer|status|classification)\b:)"
    rf"{_BEFORE}{{0,5}} (?:(?P<good>{GOOD})|{BAD})\b(?!-)"
)
# Items of a list before what it is a list of: "no scratches, small dents, or other defects".
_ITEMS = r"(?: [\w-]+(?: [\w-]+)?,(?! (?:which|this|that|an?|indicating|suggesting)\b)){0,12}"
# A word between "no" and the defect, unless what is missing is the defect: "no cap, which is a
# defect", "the lack of a cap indicates a defect".
_GAP = (
    r"(?: (?!(?:indicates?|suggests?|(?<!no )means|constitutes?|represents?)\b"
    r"|(?<!there )(?:is|are|was|were) (?:an?|the)\b)[\w-]+"
    r"(?:,(?! (?:which|this|that|an?|indicating|suggesting|meaning|making)\b))?)"
)
# "no visible defect", "no flaw or damage", "not free of flaws", "not appear to have any defect".
ABSENCE = re.compile(
    r"(?P<no>\b(?:not|never) )?\b(?:no|without|zero|lacks?|absence of|free of|free from|neither|nor"
    r"|(?:not|never)(?: \w{1,20}ly)?(?:(?: (?:appear|seem|look)s?)? to)?(?: \w{1,20}ly)?"
    r" (?:ha(?:ve|s)|shows?|sees?|finds?|contains?|exhibits?|reveals?|displays?|any))\b"
    rf"{_ITEMS}{_GAP}{{0,6}}? {NOUN}(?:,? (?:or|and|nor)(?: [\w-]+){{0,3}}? {NOUN}){{0,6}}"
)
# "there is a small defect", "defects are (not) visible".
_PRESENCE = re.compile(
    r"\b(?:there (?:is|are)|has|have|shows?|contains?|exhibits?|reveals?|displays?|sees?|found"
    r"|finds?)\b"
    rf"(?P<between>(?: [\w-]+,?){{0,5}}?) {NOUN}"
    rf"|\b{NOUN}(?: (?:is|are|was|were|can be)(?P<no> not)?(?: \w{{1,20}}ly)?)?"
    r" (?:visible|present|found|detected|seen|observed|identified|there)\b"
)
# A subject that denies what is said of it: "no part is damaged", "no sign that it is damaged".
_NOBODY = re.compile(
    r"(?:^|\b(?:that|so|thus|hence|therefore),? )"
    r"(?:no|none of|neither of|nothing|not (?:a single|one))"
    r"(?: (?!(?:means?|makes?|and|so|which)\b)[\w-]+){0,6} ?$"
    r"|\bno (?:sign|evidence|indication|hint|trace)s?(?: [\w-]+){0,8} ?$"
)
_SUBJECT = 100  # characters before a statement in which its subject is looked for
_CHINESE = re.compile(
    r"(?P<absent>(?:没有|无|未发现|未见|不存在|未检测到|不是|并非|不属于)(?:任何|发现|明显|可见|的)*"
    r"(?:缺陷|异常|瑕疵|损坏))"
    r"|(?:是|为|有|存在|发现|属于|出现)(?:一个|一处|明显|的|多处|一些|轻微)*(?:缺陷|异常|瑕疵|损坏)|异常的?$"
    r"|(?P<no>不是|并非|不|非)?(?P<good>正常|合格|完好)的?(?:产品)?$"
)
_UNSURE = re.compile(
    r"\b(?:if|whether|suppose|assume|assuming|unless|could|might|may|unsure|uncertain|unclear"
    r"|not (?:say|think|believe|conclude|sure|clear|certain))\b|如果|假如|是否|可能"
)
# Of a product that was found defective elsewhere: "no other defects", "the rest is intact".
_REST = re.compile(
    r"\b(?:rest|remainder|elsewhere|otherwise)\b|^(?:except|apart from|aside from|other than)\b"
    r"|(?<!or )(?<!and )\b(?:other|remaining|surrounding|further|additional|more)(?: [\w-]+){0,2}?"
    rf" (?:{NOUN}|(?:areas?|parts?|regions?|sides?|surfaces?|components?|sections?|portions?)\b)"
    rf"|{NOUN}(?: \w+){{0,3}}?,? (?:other than|except|apart from|aside from|besides)\b"
    r"|(?<!or )(?<!and )(?<!each )\b(?:other|remaining)(?! words)(?: [\w-]+){0,3}?"
    r" (?:is|are|looks?|appears?|seems?|remains?|shows?|ha(?:s|ve))\b"
)
_OTHER_IMAGE = re.compile(
    r"\b(?:references?|templates?|first image|example)\b|参考|模板"
    r"|\b(?:in|on|of|from) (?:the |both |all )?normal (?:images?|samples?|ones?|products?)\b"
)
# Says nothing by itself: "no doubt that", "compared with the normal reference image".
_IDIOM = re.compile(
    r"\b(?:no|without(?: a| any)?|beyond) (?:doubt|question)(?: that)?\b|\bnot only\b"
    r"|\bas \w+ as normal\b"
    r"|\b(?:compared (?:to|with)|in contrast to|relative to|unlike|than|from|as in|as|like)"
    r"(?: (?:the|a|any|all|normal|given|first|good)){0,4} (?:references?|templates?)"
    r"(?: (?:image|picture|photo|product|part|sample)s?)?\b"
)
_NEGATOR = re.compile(
    r"\b(?:not|never|no|without|neither|nor|far from|anything but|nothing|hardly)\b"
)
_CLAUSE = re.compile(
    r"([.!?。！？;；\n，]|, (?=but|so|however|and|yet|therefore|thus|hence)"
    r"|\b(?:but|however|although|though|yet)\b)"
)


def conclude_verdict(text: str) -> Verdict | None:
    """The verdict a text ends on; None when it names none.

    Read clause by clause: adjectives said of the product ("is normal", "looks defective"), absence
    or presence of a defect ("no flaw is visible"), each with its negation. The last clause that
    says something counts. Conditions, guesses, questions and sentences about a reference image say
    nothing; nor does what is well with the rest ("no other defects") make a product normal.

    >>> conclude_verdict("A dark line crosses the rim. So the product is abnormal.")
    'abnormal'
    >>> conclude_verdict("It is not abnormal.")
    'normal'
    >>> conclude_verdict("The normal product has a round rim.") is None
    True
    """
    for part in reversed(split_ending(text)):
        for clause, mark in reversed(_clauses(part)):
            if mark in ("?", "？") or _UNSURE.search(clause) or _OTHER_IMAGE.search(clause):
                continue
            verdict = _last_verdict(clause)
            if verdict is not None and not (verdict == "normal" and _REST.search(clause)):
                return verdict
    return None


def _clauses(text: str) -> list[tuple[str, str]]:
    """(clause, the mark that ends it)."""
    pieces = [*_CLAUSE.split(tidy(text).lower()), ""]
    pairs = zip(pieces[::2], pieces[1::2], strict=True)
    return [(_IDIOM.sub("", clause).strip(), mark) for clause, mark in pairs if clause.strip()]


def _last_verdict(clause: str) -> Verdict | None:
    found: list[tuple[int, Verdict]] = []
    absent = [(0, 0)]
    for match in ABSENCE.finditer(clause):
        absent.append(match.span())
        found.append((match.end(), _verdict(not match["no"])))
    for match in _PRESENCE.finditer(clause):
        _, last_end = absent[bisect_right(absent, (match.start(), len(clause))) - 1]
        denied = match["between"] and _NEGATOR.search(match["between"])
        if not denied and match.start() >= last_end:
            good = bool(match["no"]) != _denied(clause, match.start())
            found.append((match.end(), _verdict(good)))
    for match in _ADJECTIVE.finditer(clause):
        said = match.group()[len(match["no"] or "") :]
        negated = bool(match["no"]) != bool(_NEGATOR.search(said))
        negated ^= _denied(clause, match.start())
        found.append((match.end(), _verdict(bool(match["good"]) != negated)))
    for match in () if clause.isascii() else _CHINESE.finditer(clause):
        good = bool(match["absent"]) or (bool(match["good"]) and not match["no"])
        found.append((match.end(), _verdict(good)))
    return max(found, default=(0, None), key=lambda pair: pair[0])[1]


def _denied(clause: str, position: int) -> bool:
    """Whether the subject of what is said at a position denies it."""
    return _NOBODY.search(clause, max(0, position - _SUBJECT), position) is not None


def _verdict(good: bool) -> Verdict:
    return "normal" if good else "abnormal"
