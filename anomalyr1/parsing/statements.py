"""Sentences that commit to an option: "So the answer is B.", "B and C are wrong.", "答案是B。"."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from anomalyr1.parsing.tidy import lowered, plain, split_ending, tidy

_LINK = (
    r"(?: (?:here|then|therefore|thus|clearly|now|still|also|indeed|definitely|probably"
    r"|actually))?,?"
    r" ?(?:(?:is|would be|must be|should be|has to be|can only be|becomes|remains)\b|=|:)"
)
_ADVERBS = (
    r"(?: (?:clearly|therefore|thus|then|indeed|definitely|certainly|actually|still|now|likely"
    r"|most likely|probably|just|simply|only|in fact|also|as follows)\b)*"
)
_NEGATED = r"(?P<{}> (?:definitely |certainly |clearly )?(?:not|never|neither)\b)?"
# How a cue begins: found fast, then matched in full.
_TRIGGER = re.compile(
    r"answer|choice|option|conclusion|solution|it|this|that|choos|pick|select|go|settle|opt for"
    r"|correspond|so|thus|hence|therefore|finally|wait|actually|=>|->|→|答案|结论|选|不|别|排除|所以|因此"
    r"|应|故|就|那么|而|于是"
)
# What leads up to a named option; matched against lower-cased text.
_CUE = re.compile(
    r"(?:answer|choice|option|conclusion|solution)(?:(?P<no1> can not be| could not be)"
    rf"|{_LINK}{_NEGATED.format('no2')}){_ADVERBS}"
    rf"|(?P<it>it|this|that)(?: (?:is|must be|should be|has to be)\b{_NEGATED.format('no3')}"
    rf"|(?P<no4> can not be)){_ADVERBS}"
    r"|(?:choose|choosing|pick|picking|select|selecting|go with|going with|settle on|opt for"
    r"|corresponds to|correspond to|corresponding to)\b"
    r"|(?P<leap>(?:so|thus|hence|therefore|finally|wait|actually)\b,?|=>|->|→)"
    r"|(?:答案|结论|选项)(?:应该|应当|应|就|显然|必须|只能)?(?P<no5>不)?(?:是|为|:|应?选(?!项))+"
    r"|(?P<no6>不应|不能|不|别|排除)?选(?!项)择?"
    r"|(?:所以|因此|应该|应当|故|就|那么|而|于是)(?:就|应该|应)?(?P<no7>不)?[是为]"
)
_DENIALS = tuple(f"no{number}" for number in range(1, 8))
_FILL = re.compile(
    r"[,:]?(?: (?:that|option|choice|letter|answer|the|either)\b| ?选项)* ?[:(\[\"'「【<]* ?"
)
_LETTER = re.compile(r"([A-Za-z])(?![A-Za-z0-9_]|-[A-Za-z]|'[a-z])")
_SINGLE = r"(?:option |选项)?[A-Z](?![A-Za-z0-9_-])"
_SEPARATOR = r"(?:, ?(?:and |or )?| and | or | & | ?/ ?|、|和|与|或者?|还是)"
_MORE = re.compile(rf"(?:{_SEPARATOR}(?:maybe |perhaps |possibly |even )?{_SINGLE}){{1,25}}")
_AND_THEN = re.compile(
    r"(?: [A-Z]){0,25} (?:is|are|was|were|can|do|does|seems?|looks?|must|should)\b|[是都均不错]"
)
_END = re.compile(
    r"[\"')\]}」】>]*(?:$|[.,;:!?。，；：！？、()\n\u4e00-\u9fff]| ?[-—–(]"
    r"| (?:because|since|as|which|that|given|due|based|not|rather|instead|but|and|here|for|with"
    r"|in)\b)"
)
_FULL_STOP = re.compile(r"[\"')\]}」】>]*(?:$|[.!。！\n])")
# Behind "right" it is a place that is meant.
_PLACE = r"(?:side|edge|half|part|end|corner|hand|third|top|bottom|upper|lower|of)"
# A verdict on named options; matched against the text as written.
_VERDICT = re.compile(
    rf"(?<![A-Za-z0-9_'-])(?P<list>[A-Z](?:(?:{_SEPARATOR}| ){_SINGLE}){{0,25}})\)?(?:"
    r" (?:is|are|was|were|must be|seems?|looks?|(?P<can>can) not be|can be)(?P<not> not)?"
    r"(?: (?:the|all|both|clearly|therefore|also|obviously|definitely|most|only|simply)\b)*"
    rf" (?:(?P<good>correct|right(?! {_PLACE}\b|-)|true|best|answer)"
    r"|(?P<bad>wrong|incorrect|false|ruled out|excluded"
    r"|eliminated|impossible|invalid|out|inaccurate))\b"
    r"|(?:选项|项)?[都均也]?[是为]?都?"
    r"(?:(?P<zh_bad>不正确|不对|错|排除|不符合?|不是)|(?P<zh_good>正确|对(?![于比应]))))"
)
_REJECTED = re.compile(
    r"(?:not|rule out|ruling out|不是|排除)(?: option| choice)? ?([B-Z]|A(?! [a-z]))"
    r"(?![A-Za-z0-9_'-])"
)
_SUPPOSED = re.compile(
    r"(?<!\bas )\bif\b|\bwhether\b(?![^,]*, (?:so |therefore |then )?(?:the )?$)"
    r"|\b(?:suppose|supposing|assume|assuming|unless)\b|如果|假如|假设|若|是否"
)
_DENIED = re.compile(
    r"(?:\b(?:not|never)(?: (?:think|believe|say|agree|mean|true|sure|that|the|correct|right|final"
    r"|best))* ?|不认为|并非|不能说)$"
)
_NEITHER = re.compile(r"\b(?:neither|nor|not|none of)(?: option)? $")
_LED_IN = re.compile(
    r"\b(?:so|thus|hence|therefore|wait|actually|instead|rather|but|no|then|conclude|concluding"
    r"|means)(?: that)?[,:]? ?$"
)
_BREAKS = ".!?。！？；;\n"
_BREAK = re.compile(f"[{_BREAKS}]")


@dataclass(frozen=True, slots=True)
class Statement:
    """A commitment at `position`: to `letter` (None: to several or to none of the options)."""

    position: int
    letter: str | None
    denied: bool = False


def conclude(text: str, options: Mapping[str, str]) -> str | None:
    """The option letter that a text ends on, None when it is unclear.

    Only sentences that name a conclusion count, by letter or by an option's text; the last one
    wins, and denying it later takes it back. A loose capital letter is never read.

    >>> options = {"A": "Top left.", "B": "Rim.", "C": "Base."}
    >>> conclude("A scratch is visible. So the answer is B. Wait, so it is C.", options)
    'C'
    >>> conclude("The answer is C because A B are wrong", options)
    'C'
    >>> conclude("A scratch is visible.", options) is None
    True
    """
    before, ending = split_ending(text)
    stated = statements(ending, options)
    if before and all(statement.denied for statement in stated):
        stated = statements(before, options) + stated
    current: str | None = None
    for statement in stated:
        if not statement.denied:
            current = statement.letter
        elif statement.letter == current:
            current = None
    return current


def statements(text: str, options: Mapping[str, str]) -> list[Statement]:
    """Every commitment and denial in a text, in order."""
    text = tidy(text)
    lower = lowered(text)
    names = _names(tuple(options.items()))
    found = list(_named(text, lower, options, names))
    found += _judged(text, lower, options, {statement.position for statement in found})
    for match in _REJECTED.finditer(text):
        found.append(Statement(match.start(1), match[1], denied=True))
    return sorted(found, key=lambda statement: statement.position)


_plain = lru_cache(maxsize=4096)(plain)  # of options, of which a benchmark has few


@lru_cache(maxsize=1024)
def _names(options: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """(text, letter), longest text first; texts that two options share are left out."""
    texts = [_plain(text) for _, text in options]
    pairs = [
        (text, letter)
        for text, (letter, _) in zip(texts, options, strict=True)
        if len(text) > 1 and texts.count(text) == 1
    ]
    return tuple(sorted(pairs, key=lambda pair: -len(pair[0])))


def _named(
    text: str, lower: str, options: Mapping[str, str], names: tuple[tuple[str, str], ...]
) -> Iterator[Statement]:
    """A cue, then a letter or an option's text."""
    reached = 0
    for trigger in _TRIGGER.finditer(lower):
        start = trigger.start()
        cue = _CUE.match(lower, start)
        if cue is None or start < reached or _inside_a_word(lower, start):
            continue
        reached = cue.end()
        fill = _FILL.match(lower, cue.end())
        position = fill.end() if fill else cue.end()
        end_pattern = _FULL_STOP if cue["leap"] else _END
        value = _value(text, position, end_pattern, bool(cue["it"] or cue["leap"]))
        by_text = _by_text(lower, position, names, end_pattern)
        if value is None and by_text is None:
            continue
        before = _sentence_before(lower, start)
        letter: str | None
        if by_text is not None and (not cue["it"] or _LED_IN.search(before)):
            letter, end = by_text
        elif value is not None:
            letter, end = value
            letter = letter if letter in options else None
        else:
            continue
        if _SUPPOSED.search(before) or _is_question(text, end):
            continue
        denied = any(cue[name] for name in _DENIALS)
        yield Statement(position, letter, denied or _DENIED.search(before) is not None)


def _inside_a_word(lower: str, position: int) -> bool:
    pair = lower[max(0, position - 1) : position + 1]
    return len(pair) == 2 and pair.isascii() and pair.isalnum()


def _value(
    text: str, position: int, end_pattern: re.Pattern[str], capital: bool
) -> tuple[str | None, int] | None:
    """The letter at `position`; None inside the pair when several are named."""
    match = _LETTER.match(text, position)
    if match is None or (capital and not match[1].isupper()):
        return None
    more = _MORE.match(text, match.end())
    if more is not None and not _AND_THEN.match(text, more.end()):
        return None, more.end()
    sure = match[1].isupper() and match[1] not in "AI" and end_pattern is _END
    if not sure and not end_pattern.match(text, match.end()):
        return None
    return match[1].upper(), match.end()


def _by_text(
    lower: str, position: int, names: tuple[tuple[str, str], ...], end_pattern: re.Pattern[str]
) -> tuple[str, int] | None:
    starts = [position]
    for article in ("a ", "an ", "the "):
        if lower.startswith(article, position):
            starts.append(position + len(article))
    for name, letter in names:
        for start in starts:
            end = start + len(name)
            if lower.startswith(name, start) and end_pattern.match(lower, end):
                return letter, end
    return None


def _judged(
    text: str, lower: str, options: Mapping[str, str], taken: set[int]
) -> Iterator[Statement]:
    """Named options, then a verdict on them; letters at `taken` belong to the sentence before."""
    for match in _VERDICT.finditer(text):
        named = re.finditer("[A-Z]", match["list"])
        letters = [m.group() for m in named if match.start() + m.start() not in taken]
        before = _sentence_before(lower, match.start())
        if _SUPPOSED.search(before) or _is_question(text, match.end()):
            continue
        negated = bool(match["not"] or match["can"]) != bool(_NEITHER.search(before))
        good = bool(match["good"] or match["zh_good"]) != negated
        if not good:
            yield from (Statement(match.start(), letter, denied=True) for letter in letters)
        elif match["bad"] or match["zh_bad"]:
            continue  # "is not wrong" commits to nothing
        else:
            only = letters[0] if len(letters) == 1 and letters[0] in options else None
            yield Statement(match.start(), only)


def _sentence_before(lower: str, position: int) -> str:
    """The part of the sentence before `position`; at most 200 characters."""
    window = lower[max(0, position - 200) : position]
    return window[max(window.rfind(mark) for mark in _BREAKS) + 1 :]


def _is_question(text: str, position: int) -> bool:
    """True when the sentence at `position` ends on a question mark."""
    end = _BREAK.search(text, position, position + 200)
    return end is not None and end.group() in "?？"
