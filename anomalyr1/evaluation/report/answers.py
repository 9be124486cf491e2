"""One question of the gallery: what was asked, what the policy reasoned and answered."""

from __future__ import annotations

from collections.abc import Sequence

from anomalyr1.evaluation.image_readings import PredictionReading
from anomalyr1.evaluation.outcomes import evaluated_outcome
from anomalyr1.evaluation.report.markup import Markup, tag
from anomalyr1.evaluation.right_answers import grounding_iou, is_right
from anomalyr1.schema import Box
from anomalyr1.values import in_words

_MAX_CHARACTERS = 2000


def anchor(place: int, question_index: int) -> str:
    """The id of a question of the gallery's `place`-th image, which links lead to."""
    return f"question-{place}-{question_index}"


def answer_block(
    reading: PredictionReading,
    others: Sequence[tuple[str, PredictionReading]],
    is_open: bool,
    **attributes: str,
) -> Markup:
    """A question that unfolds to options, reasoning and answer.

    Args:
        reading: the completion shown.
        others: (name of a run, its reading of the same question), one line each.
        is_open: unfolded at first.
        attributes: of its element.
    """
    right = is_right(reading)
    mark = {True: ("right", "✓"), False: ("wrong", "✗"), None: ("unknown", "·")}[right]
    outcome = evaluated_outcome(reading)
    return tag(
        "details",
        tag(
            "summary",
            tag("span", mark[1], class_=f"mark {mark[0]}", title=mark[0]),
            tag("span", reading.prediction.question_type, class_="type"),
            tag("span", short(reading), class_="short") if outcome != "malformed" else None,
            tag("span", in_words(outcome), class_=f"outcome o-{outcome}")
            if outcome is not None
            else None,
        ),
        tag("p", reading.prediction.question, class_="question")
        if reading.prediction.question
        else None,
        _options(reading) if not reading.is_grounding else _boxes(reading),
        *_said(reading),
        *(
            tag("p", tag("b", f"{name}: "), short(other), _verdict(other), class_="other")
            for name, other in others
        ),
        class_="answer",
        open=is_open,
        **attributes,
    )


def short(reading: PredictionReading) -> str:
    """The answer in a word: a letter, or how well the boxes lie."""
    if not reading.is_grounding:
        return reading.response.answer or "unreadable"
    boxes = reading.boxes_in_model
    if boxes is None:
        return "unreadable"
    overlap = grounding_iou(reading)
    if not boxes:
        return "no box"
    count = f"{len(boxes)} box{'es' if len(boxes) > 1 else ''}"
    return count if overlap is None else f"IoU {overlap:.2f}"


def _verdict(reading: PredictionReading) -> str:
    return {True: " (right)", False: " (wrong)", None: ""}[is_right(reading)]


def _options(reading: PredictionReading) -> Markup:
    items = []
    for letter, text in reading.prediction.options.items():
        gold = letter == reading.prediction.answer
        chosen = letter == reading.response.answer
        classes = " ".join(name for name, on in (("gold", gold), ("chosen", chosen)) if on)
        note = " · ".join(name for name, on in (("gold", gold), ("answered", chosen)) if on)
        items.append(
            tag(
                "li",
                tag("b", letter),
                " ",
                text,
                tag("small", note) if note else None,
                class_=classes or None,
            )
        )
    return tag("ul", *items, class_="options")


def _boxes(reading: PredictionReading) -> Markup:
    lines = [
        ("gold", reading.gold_in_image, "unknown"),
        ("answered", reading.boxes_in_image, "unreadable"),
    ]
    return tag(
        "ul",
        *(
            tag("li", tag("b", name), " ", _box_list(boxes, missing), class_=name)
            for name, boxes, missing in lines
        ),
        class_="boxes",
    )


def _box_list(boxes: Sequence[Box] | None, missing: str) -> str:
    if boxes is None:
        return missing
    if not boxes:
        return "none"
    return "; ".join(
        f"{box.label or ''} [{', '.join(f'{value:.0f}' for value in box.xyxy)}]".lstrip()
        for box in boxes
    )


def _said(reading: PredictionReading) -> list[Markup]:
    """Reasoning and answer; the raw completion where its form is broken."""
    response = reading.response
    if not response.well_formed or response.reasoning is None:
        about = ", ".join(in_words(error) for error in response.errors)
        return [
            tag("p", f"raw completion{f' ({about})' if about else ''}", class_="label"),
            tag("pre", _cut(reading.prediction.completion) or "(nothing)", class_="completion"),
        ]
    return [
        tag("p", "reasoning", class_="label"),
        tag("blockquote", _cut(response.reasoning.strip())),
        tag("p", "answer", class_="label"),
        tag("pre", _cut((response.answer_text or "").strip()) or "(nothing)"),
    ]


def _cut(text: str) -> str:
    if len(text) <= _MAX_CHARACTERS:
        return text
    return f"{text[:_MAX_CHARACTERS]} … ({len(text)} characters)"
