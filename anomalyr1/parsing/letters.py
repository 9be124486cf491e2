"""The option letter that an answer names."""

from __future__ import annotations

import re
from collections.abc import Mapping

from anomalyr1.parsing import faults
from anomalyr1.parsing.statements import statements
from anomalyr1.parsing.tidy import opening, plain, tidy

_ALONE = re.compile(
    r"[\W_]*(?:(?:option|choice|answer|选项|答案)[\W_]*)?([A-Za-z])[\W_]*", re.IGNORECASE
)
_LEADING = re.compile(
    r"[(\[\"'<]*(?:(?:option|choice|answer|选项) ?:?[(]?)? ?"
    r"([A-Za-z])([)\]\"'>]*[.:,、)\]]| [-–—]|\n|)\s*",
    re.IGNORECASE,
)
_ENUMERATED = re.compile(
    r"[\W_]*(?:[A-Z](?:[\W_]+(?:(?:and|or)[\W_]+)?|[和或与])){1,25}[A-Z][\W_]*"
)
# A further capital letter that stands alone, unless it is an article before a lower-case word.
_ANOTHER = re.compile(r"(?<![A-Za-z0-9_'-])([B-Z]|A(?! [a-z]))(?![A-Za-z0-9_'-])")
# What may follow an option's text before more is said; "No. 3" is a number.
_THEN = re.compile(r"[,;:!。](?![0-9A-Za-z])|\.(?![0-9A-Za-z]|\s*[0-9])|\n| [-–—](?=\s)")
# Longer than any sensible answer: not searched for a letter.
_LONGEST = 4096


def read_letter(text: str, options: Mapping[str, str]) -> tuple[str | None, set[str]]:
    """The option an answer names and, where it names none, why.

    Read, in this order: a letter alone in any case and any brackets; an option's text; a letter
    with its option's text ("B. Yes."); a statement ("The answer is B"); an option's text that opens
    a sentence which names no other ("No, nothing is broken."). Two different options are never
    resolved in favour of one.

    >>> options = {"A": "No.", "B": "Yes."}
    >>> [read_letter(text, options)[0] for text in ("b", "**(B)**", "yes", "B. Yes", "答案是B")]
    ['B', 'B', 'B', 'B', 'B']
    >>> read_letter("A scratch is visible", options)
    (None, {'unreadable_answer'})
    >>> read_letter("A or B", options)
    (None, {'several_letters'})
    """
    if len(text) > _LONGEST:
        return None, {faults.UNREADABLE_ANSWER}
    tidied = tidy(text).strip()
    alone = _ALONE.fullmatch(tidied)
    if alone:
        return _among(alone[1].upper(), options)
    answer = plain(text)
    if not answer:
        return None, {faults.EMPTY_ANSWER}
    texts = {letter: plain(option) for letter, option in options.items()}
    same = [letter for letter, option in texts.items() if option == answer]
    if same:
        return (same[0], set()) if len(same) == 1 else (None, {faults.SEVERAL_LETTERS})
    if _ENUMERATED.fullmatch(tidied):
        return None, {faults.SEVERAL_LETTERS}
    leading = _LEADING.match(tidied)
    if leading:
        read = _with_rest(leading, tidied[leading.end() :], texts, options)
        if read is not None:
            return read
    letter, found = _stated(tidied, options)
    if letter is None and found == {faults.UNREADABLE_ANSWER}:
        letter = _opened(tidied, texts)
        found = set() if letter else found
    return letter, found


def _among(letter: str, options: Mapping[str, str]) -> tuple[str | None, set[str]]:
    return (letter, set()) if letter in options else (None, {faults.NOT_AN_OPTION})


def _with_rest(
    leading: re.Match[str], rest: str, texts: Mapping[str, str], options: Mapping[str, str]
) -> tuple[str | None, set[str]] | None:
    """A letter that opens the answer, read with what follows; None when it is no letter."""
    letter, mark = leading[1].upper(), leading[2]
    described = plain(rest)
    named = [key for key, option in texts.items() if option == described]
    if letter in named:
        return letter, set()
    if not mark or not leading[1].isupper():
        return None
    if named:
        return None, {faults.SEVERAL_LETTERS}
    if any(other in options and other != letter for other in _ANOTHER.findall(rest)):
        return None, {faults.SEVERAL_LETTERS}
    return _among(letter, options)


def _stated(text: str, options: Mapping[str, str]) -> tuple[str | None, set[str]]:
    stated = {statement.letter for statement in statements(text, options) if not statement.denied}
    if len(stated) > 1:
        return None, {faults.SEVERAL_LETTERS}
    letter = next(iter(stated), None)
    return (letter, set()) if letter else (None, {faults.UNREADABLE_ANSWER})


def _opened(text: str, texts: Mapping[str, str]) -> str | None:
    """The option whose text opens an answer that names no other option."""
    said = opening(text)
    begun = [
        letter
        for letter, option in texts.items()
        if option and said.startswith(option) and _THEN.match(said, len(option))
    ]
    if len(begun) != 1:
        return None
    others = [option for letter, option in texts.items() if letter != begun[0] and option]
    if any(_speaks_of(said, option) for option in others):
        return None
    named = (other for other in _ANOTHER.findall(text) if other in texts)
    return None if any(other != begun[0] for other in named) else begun[0]


def _speaks_of(said: str, option: str) -> bool:
    if not option.isascii():
        return option in said
    return re.search(rf"(?<![^\W_]){re.escape(option)}(?![^\W_])", said) is not None
