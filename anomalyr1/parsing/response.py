"""From the raw text of a completion to a Response."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from anomalyr1.parsing import faults
from anomalyr1.parsing.box_lists import only_word, read_boxes, split_list
from anomalyr1.parsing.letters import read_letter
from anomalyr1.parsing.statements import conclude
from anomalyr1.parsing.tags import Blocks, released_blocks, split_blocks
from anomalyr1.parsing.verdicts import conclude_verdict
from anomalyr1.schema import Box, Question, Response

Gate = Literal["strict", "released"]

# A conclusion closes the reasoning: it is looked for in this many characters at the end.
_CLOSING = 8192


def parse_response(text: str, question: Question, *, gate: Gate = "strict") -> Response:
    """Read a completion. Never raises, and takes time linear in the length of `text`.

    `well_formed` says whether the gate is passed. The strict gate asks for exactly one
    `<think>...</think>` and one `<answer>...</answer>` after it, a word of reasoning, and nothing
    but whitespace around them. `answer` and `boxes` are filled for an ill-formed completion too
    where there is just one way to read it: one answer block, or the same text in all of them;
    without any answer tag, what stands outside the think block if that is a bare letter, an
    option's text, a statement ("The answer is B") or a list of boxes. Whoever scores decides
    whether that counts.

    Args:
        text: the completion.
        question: its options say which letters exist; without options a list of boxes is read.
        gate: `released` passes what the released code's search finds anywhere in the text.

    >>> question = Question("Any defect?", "Anomaly Detection", {"A": "No.", "B": "Yes."}, "B")
    >>> text = "<think>A scratch is visible. So the answer is B.</think><answer>B</answer>"
    >>> response = parse_response(text, question)
    >>> response.conclusion, response.answer, response.well_formed
    ('B', 'B', True)
    >>> response = parse_response("B. Yes.", question)
    >>> response.answer, response.well_formed, response.errors
    ('B', False, ('no_answer', 'no_think', 'text_outside'))
    """
    blocks = released_blocks(text) if gate == "released" else split_blocks(text)
    passed = blocks is not None and not blocks.faults
    return _read(blocks or split_blocks(text), question.options, passed)


def _read(blocks: Blocks, options: Mapping[str, str], passed: bool) -> Response:
    found = set(blocks.faults)
    answer_text = _answer_text(blocks)
    answer: str | None = None
    boxes: tuple[Box, ...] | None = None
    if answer_text is not None:
        around, listed = split_list(answer_text)
        if options and listed is not None and not around:
            word = only_word(listed)  # a letter in JSON
            around, listed = (around, listed) if word is None else (word, None)
        if listed is not None:
            boxes, box_faults = read_boxes(listed)
            found |= box_faults
        if options:
            answer, letter_faults = read_letter(around, options)
            found |= letter_faults
        elif listed is None:
            found.add(faults.UNREADABLE_BOXES if around else faults.EMPTY_ANSWER)
        elif around and boxes is not None:
            found.add(faults.TEXT_BESIDE_BOXES)
    return Response(
        reasoning=blocks.reasoning,
        answer_text=answer_text,
        conclusion=_conclusion(blocks.reasoning, options),
        answer=answer,
        boxes=boxes,
        well_formed=passed,
        errors=faults.worst_first(found),
    )


def _answer_text(blocks: Blocks) -> str | None:
    """The one text that can be the answer; None where there are several or none."""
    if len(blocks.answers) == 1:
        return blocks.answers[0]
    return blocks.outside or None if not blocks.answers else None


def _conclusion(reasoning: str | None, options: Mapping[str, str]) -> str | None:
    if reasoning is None:
        return None
    closing = reasoning[-_CLOSING:]
    return conclude(closing, options) if options else conclude_verdict(closing)
