"""The named faults a completion can have; telemetry counts each by its name."""

from __future__ import annotations

from collections.abc import Iterable

# What the tags look like.
EMPTY_COMPLETION = "empty_completion"  # nothing but whitespace
NO_ANSWER = "no_answer"  # no <answer> block
UNCLOSED_ANSWER = "unclosed_answer"  # <answer> without </answer>: cut off
UNOPENED_ANSWER = "unopened_answer"  # </answer> without <answer>
SEVERAL_ANSWERS = "several_answers"  # more than one <answer> block
NO_THINK = "no_think"  # no <think> block
UNCLOSED_THINK = "unclosed_think"  # <think> without </think>
UNOPENED_THINK = "unopened_think"  # </think> without <think>
SEVERAL_THINKS = "several_thinks"  # more than one <think> block
NESTED_TAGS = "nested_tags"  # a block inside a block
ANSWER_FIRST = "answer_first"  # the answer stands before the reasoning
TEXT_OUTSIDE = "text_outside"  # words before, between or after the two blocks
TAG_CASE = "tag_case"  # <Think>, <ANSWER>
EMPTY_THINK = "empty_think"  # no word between the think tags
# What stands in the answer.
EMPTY_ANSWER = "empty_answer"  # nothing between the answer tags
UNREADABLE_ANSWER = "unreadable_answer"  # no option letter and no option's text
SEVERAL_LETTERS = "several_letters"  # more than one option is named
NOT_AN_OPTION = "not_an_option"  # a letter that is not among the options
UNREADABLE_BOXES = "unreadable_boxes"  # no list of boxes where one is due, or a broken one
TEXT_BESIDE_BOXES = "text_beside_boxes"  # words around the list of a grounding answer
SWAPPED_BOX = "swapped_box"  # x1 > x2 or y1 > y2; the corners are put in order
DEGENERATE_BOX = "degenerate_box"  # no width or no height; kept, and overlaps nothing

# Worst first: the order of `Response.errors`.
FAULTS = (
    EMPTY_COMPLETION,
    NO_ANSWER,
    UNCLOSED_ANSWER,
    UNOPENED_ANSWER,
    SEVERAL_ANSWERS,
    NO_THINK,
    UNCLOSED_THINK,
    UNOPENED_THINK,
    SEVERAL_THINKS,
    NESTED_TAGS,
    ANSWER_FIRST,
    TEXT_OUTSIDE,
    TAG_CASE,
    EMPTY_THINK,
    EMPTY_ANSWER,
    UNREADABLE_ANSWER,
    SEVERAL_LETTERS,
    NOT_AN_OPTION,
    UNREADABLE_BOXES,
    TEXT_BESIDE_BOXES,
    SWAPPED_BOX,
    DEGENERATE_BOX,
)
_RANK = {fault: rank for rank, fault in enumerate(FAULTS)}


def worst_first(faults: Iterable[str]) -> tuple[str, ...]:
    """Each fault once, worst first.

    >>> worst_first([SWAPPED_BOX, NO_THINK, SWAPPED_BOX])
    ('no_think', 'swapped_box')
    """
    return tuple(sorted(set(faults), key=_RANK.__getitem__))
