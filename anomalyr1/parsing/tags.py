"""The think and answer blocks of a completion. The only tag patterns of the project are here."""

from __future__ import annotations

import re
from dataclasses import dataclass

from anomalyr1.parsing import faults

_TAG = re.compile(r"<(/?)(think|answer)>", re.IGNORECASE)
ANSWER = "<answer>", "</answer>"
_PAIR = ("<think>", "</think>", *ANSWER)
_NESTED = re.compile(r"tt|aa|t[aA]+T|a[tT]+A")
_HANDOVER = re.compile(r"</think>\s*<answer>")
_WORD = re.compile(r"\w")


@dataclass(frozen=True, slots=True)
class Blocks:
    """What stands where in a completion.

    `answers` are the distinct texts of the answer blocks; `outside` is what stands outside all
    blocks, tags removed. `faults` name what is wrong with the shape.
    """

    reasoning: str | None
    answers: tuple[str, ...]
    outside: str
    faults: frozenset[str]


def split_blocks(text: str) -> Blocks:
    """Find the think and answer blocks, whatever the shape.

    >>> split_blocks("<think>Even.</think> <answer>B</answer>")
    Blocks(reasoning='Even.', answers=('B',), outside='', faults=frozenset())
    >>> sorted(split_blocks("<think>Even. <answer>B").faults)
    ['unclosed_answer', 'unclosed_think']
    """
    tags = list(_TAG.finditer(text))
    if tuple(tag.group() for tag in tags) == _PAIR:
        (_, first), (second, third), (fourth, fifth), (sixth, _) = (tag.span() for tag in tags)
        outside = text[: tags[0].start()] + text[third:fourth] + text[tags[3].end() :]
        return _blocks([text[first:second]], [text[fifth:sixth]], outside, set())
    return _irregular(text, tags)


def released_blocks(text: str) -> Blocks | None:
    r"""The first match of the released code's gate; None where it finds nothing.

    The gate is a search for `<think>(.*?)</think>\s*<answer>(.*?)</answer>` (chaoyuhao/AnomalyR1),
    `.` matching any character: text around the pair and further blocks pass. Written as three plain
    searches, which find the same groups in linear time: if the leftmost `<think>` opens no match,
    no later one does.

    >>> released_blocks("Hm. <think>Even.</think><answer>B</answer> Or <answer>A</answer>").answers
    ('B',)
    """
    start = text.find("<think>")
    handover = _HANDOVER.search(text, start + len("<think>")) if start >= 0 else None
    end = text.find("</answer>", handover.end()) if handover else -1
    if handover is None or end < 0:
        return None
    reasoning = text[start + len("<think>") : handover.start()].strip()
    return Blocks(reasoning, (text[handover.end() : end].strip(),), "", frozenset())


def answer_opening(text: str) -> tuple[int, int] | None:
    """Where the first opening answer tag begins and ends; None where there is none.

    >>> answer_opening("<think>Even.</think><answer>B</answer>")
    (20, 28)
    """
    return next((tag.span() for tag in _TAG.finditer(text) if _code(tag) == "a"), None)


def answer_opener(text: str) -> str:
    r"""What opens an answer behind a completion that has none, closing its reasoning first.

    >>> answer_opener("<think>The rim is ben"), answer_opener("<think>Even.</think>")
    ('</think>\n<answer>', '\n<answer>')
    """
    closed = any(_code(tag) == "T" for tag in _TAG.finditer(text))
    return "\n<answer>" if closed else "</think>\n<answer>"


def _irregular(text: str, tags: list[re.Match[str]]) -> Blocks:
    found: set[str] = set()
    codes = "".join(_code(tag) for tag in tags)
    answers = _spans(tags, "answer", len(text), found)
    thinks = _spans(tags, "think", len(text), found)
    checks = {
        faults.NO_ANSWER: not answers,
        faults.SEVERAL_ANSWERS: len(answers) > 1,
        faults.NO_THINK: not thinks,
        faults.SEVERAL_THINKS: len(thinks) > 1,
        faults.NESTED_TAGS: _NESTED.search(codes) is not None,
        faults.ANSWER_FIRST: bool(answers and thinks and answers[0] < thinks[0]),
        faults.TAG_CASE: any(tag.group() != tag.group().lower() for tag in tags),
        faults.EMPTY_COMPLETION: not text.strip(),
    }
    found |= {fault for fault, present in checks.items() if present}
    return _blocks(
        [text[start:end] for start, end in thinks],
        [text[start:end] for start, end in answers],
        _TAG.sub(" ", _outside(text, sorted(thinks + answers))),
        found,
    )


def _blocks(thinks: list[str], answers: list[str], outside: str, found: set[str]) -> Blocks:
    reasoning = "\n".join(think.strip() for think in thinks) if thinks else None
    if outside.strip():
        found.add(faults.TEXT_OUTSIDE)
    if reasoning is not None and not _WORD.search(reasoning):
        found.add(faults.EMPTY_THINK)
    distinct = dict.fromkeys(answer.strip() for answer in answers)
    return Blocks(reasoning, tuple(distinct), outside.strip(), frozenset(found))


def _code(tag: re.Match[str]) -> str:
    letter = tag.group(2)[0].lower()
    return letter.upper() if tag.group(1) else letter


def _spans(
    tags: list[re.Match[str]], name: str, length: int, found: set[str]
) -> list[tuple[int, int]]:
    """Where the contents of the blocks called `name` are; the innermost opening tag counts."""
    spans: list[tuple[int, int]] = []
    opened: int | None = None
    for tag in tags:
        if tag.group(2).lower() != name:
            continue
        if not tag.group(1):
            opened = tag.end()
        elif opened is not None:
            spans.append((opened, tag.start()))
            opened = None
        else:
            found.add(faults.UNOPENED_THINK if name == "think" else faults.UNOPENED_ANSWER)
            if name == "think" and not spans:
                spans.append((0, tag.start()))  # the prompt may have ended on the opening tag
    if opened is not None:
        found.add(faults.UNCLOSED_THINK if name == "think" else faults.UNCLOSED_ANSWER)
        following = (tag.start() for tag in tags if tag.start() >= opened)
        spans.append((opened, next(following, length)))
    return spans


def _outside(text: str, spans: list[tuple[int, int]]) -> str:
    pieces, position = [], 0
    for start, end in spans:
        if start > position:
            pieces.append(text[position:start])
        position = max(position, end)
    return "".join([*pieces, text[position:]])
