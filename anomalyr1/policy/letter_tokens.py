"""The tokens in which a policy would write each option's letter, and what stands before them.

A letter need not be a token. Qwen's tokenizer cuts "<answer>A</answer>" into `<answer` `>A` `</`,
others into `>` `A` or even `A</`; so the token after a completion cut off behind "<answer>" may be
none that the policy ever writes. What is compared here is what the tokenizer makes of the answer
with each letter in it: of the whole tag, the letter and what follows, up to and with the token that
the letter is in. Where the policy has written a letter itself its own token stands for it, and the
others are put into the same place, with what that token holds beside the letter.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from anomalyr1.parsing.tags import ANSWER, answer_opener, answer_opening

# A letter by itself behind the opening tag: "A", "(a)", "**B**.", "A. Yes", but no article.
_LETTER = re.compile(r"[\s(\[*\"']*([A-Za-z])(?![A-Za-z0-9]|[ \t]+[A-Za-z])")


@dataclass(frozen=True)
class LetterTokens:
    """Where the letters of an answer go.

    Attributes:
        before: tokens of the completion in front of the letter.
        tokens: of each letter, from there on, the one that it is in at the end.
        forced: the completion did not open an answer, so that it is opened for it.
    """

    before: tuple[int, ...]
    tokens: Mapping[str, tuple[int, ...]]
    forced: bool = False


def letters_at_once(tokenizer: Any, letters: Iterable[str]) -> LetterTokens:
    """The letters of an answer that is given at once, without reasoning."""
    return _opened(tokenizer, (), ANSWER[0], letters, forced=False)


def letters_alone(tokenizer: Any, letters: Iterable[str]) -> LetterTokens:
    """The letters of an answer that is a letter and nothing else."""
    return LetterTokens((), {k: _up_to_letter(tokenizer, "", k, "") for k in letters})


def letters_after(tokenizer: Any, ids: Sequence[int], letters: Iterable[str]) -> LetterTokens:
    """The letters of the answer that a completion gives behind its reasoning.

    It is the first answer that it opens. A completion that opens none (cut off by its budget, or
    another form) has its reasoning closed and an answer opened.

    Args:
        tokenizer: of the policy.
        ids: tokens of the completion, its end included.
        letters: of the options.
    """
    marks = set(tokenizer.all_special_ids)
    own = [token for token in ids if token not in marks]
    text = tokenizer.decode(own)
    opening = answer_opening(text)
    if opening is None:
        return _opened(tokenizer, tuple(own), answer_opener(text), letters, forced=True)
    start, end = opening
    found = _LETTER.match(text, end)
    letters = tuple(letters)
    if found is not None and found[1].upper() in letters:
        return _in_place_of(tokenizer, own, found.start(1), letters)
    cut = _token_at(tokenizer, own, text, start)
    window = text[len(tokenizer.decode(own[:cut])) : end]
    return _opened(tokenizer, tuple(own[:cut]), window, letters, forced=False)


def _opened(
    tokenizer: Any, before: tuple[int, ...], window: str, letters: Iterable[str], *, forced: bool
) -> LetterTokens:
    """The letters behind `window`, which opens the answer and follows the tokens `before`."""
    written = {letter: _up_to_letter(tokenizer, window, letter, ANSWER[1]) for letter in letters}
    alike = _common(list(written.values()))
    common = next(iter(written.values()))[:alike]
    return LetterTokens(
        (*before, *common), {k: tokens[alike:] for k, tokens in written.items()}, forced
    )


def _in_place_of(
    tokenizer: Any, own: Sequence[int], place: int, letters: Sequence[str]
) -> LetterTokens:
    """The letters in the token whose text covers `place`, where the completion wrote one."""
    text = tokenizer.decode(own)
    number = _token_at(tokenizer, own, text, place)
    start = len(tokenizer.decode(own[:number]))
    stop = len(tokenizer.decode(own[: number + 1]))
    front, letter, behind = text[start:place], text[place], text[place + 1 : stop]
    tokens = {
        other: _up_to_letter(tokenizer, front, other.lower() if letter.islower() else other, behind)
        for other in letters
    }
    tokens[letter.upper()] = (own[number],)
    return LetterTokens(tuple(own[:number]), tokens)


def _up_to_letter(tokenizer: Any, front: str, letter: str, behind: str) -> tuple[int, ...]:
    encoded = tokenizer(
        front + letter + behind, add_special_tokens=False, return_offsets_mapping=True
    )
    spans = enumerate(encoded["offset_mapping"])
    last = next(number for number, (start, end) in spans if start <= len(front) < end)
    return tuple(encoded["input_ids"][: last + 1])


def _token_at(tokenizer: Any, ids: Sequence[int], text: str, place: int) -> int:
    """The number of the token whose text covers a place of the whole text."""
    low, high = 0, len(ids) - 1
    while low < high:
        middle = (low + high) // 2
        read = tokenizer.decode(ids[: middle + 1])
        # Bytes of a character that goes on are shown as other characters.
        if read[: place + 1] == text[: place + 1]:
            high = middle
        else:
            low = middle + 1
    return low


def _common(rows: Sequence[tuple[int, ...]]) -> int:
    """Tokens that all begin with, short of the last of the shortest."""
    length = 0
    while all(len(row) > length + 1 and row[length] == rows[0][length] for row in rows):
        length += 1
    return length
