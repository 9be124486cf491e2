"""What a perfect completion says: the target of supervised fine-tuning."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from anomalyr1.geometry import Frame, grid_cell
from anomalyr1.prompts import Template, asks_for_reasoning, build_messages, template_for
from anomalyr1.schema import ANOMALY_DETECTION, GROUNDING, Box, Question, Sample
from anomalyr1.values import in_words


def fitting(text: str) -> str:
    """What gold reasoning says of the option that it chooses, by its text."""
    return f"This fits: {text.rstrip('.')}."


def concluding(letter: str) -> str:
    """What closes gold reasoning about options."""
    return f"So the answer is {letter}."


def format_boxes(boxes: Sequence[Box]) -> str:
    """The form of Qwen2.5-VL and Qwen3-VL, corners rounded to whole numbers.

    A box without a label is written as a "defect".

    >>> format_boxes([Box(1, 2, 3, 4, "scratch")])
    '[{"bbox_2d": [1, 2, 3, 4], "label": "scratch"}]'
    """
    return json.dumps(
        [
            {"bbox_2d": [round(value) for value in box.xyxy], "label": box.label or "defect"}
            for box in boxes
        ],
        ensure_ascii=False,
    )


def format_answer(question: Question, template: Template, boxes: Sequence[Box]) -> str:
    """The text between the answer tags of a correct completion; `boxes` in the model frame."""
    if template == "grounding":
        return format_boxes(boxes)
    if template == "inspect":
        return f"{question.answer}\n{format_boxes(boxes)}"
    return str(question.answer)


def gold_completion(
    sample: Sample,
    question: Question,
    template: Template,
    frame: Frame | None,
    *,
    conclusion: str | None = None,
) -> str:
    """A completion that earns the full reward.

    The reasoning states what the annotation knows (defect, place, boxes in the model frame), then
    names its conclusion. Where the boxes are not on record, or the policy's frame is not known
    (`frame` is None), it speaks of none. With a `conclusion` it names that option in place of the
    answer's.
    """
    if not asks_for_reasoning(template):
        return format_answer(question, template, ())
    gold = sample.gold_boxes(question)
    boxes = [] if gold is None or frame is None else [frame.to_model(box) for box in gold]
    if template == "grounding":
        verdict = f"So the product is {'abnormal' if boxes else 'normal'}."
    else:
        verdict = concluding(conclusion or question.answer or "")
    reasoning = " ".join([_observation(sample, question, boxes, frame), verdict])
    return (
        f"<think>{reasoning}</think>\n<answer>{format_answer(question, template, boxes)}</answer>"
    )


def texts_about(samples: Iterable[Sample], frame: Frame) -> list[str]:
    """All that a policy reads and writes of samples, each question with its own template.

    It is what the tokenizer of a tiny policy is made of.
    """
    texts = []
    for sample in samples:
        for question in sample.questions:
            template = template_for(question)
            for message in build_messages(sample, question, template, references=1):
                texts += [part["text"] for part in message["content"] if part["type"] == "text"]
            texts.append(gold_completion(sample, question, template, frame))
    return texts


def _observation(
    sample: Sample, question: Question, boxes: Sequence[Box], frame: Frame | None
) -> str:
    if question.subtask not in (ANOMALY_DETECTION, GROUNDING) and not question.presupposes_defect:
        return _chosen(question)
    if not boxes or frame is None:
        return (
            _chosen(question)
            if not sample.is_normal
            else "The surface is even, no defect is visible."
        )
    seen = "; ".join(_seen(sample, box, frame) for box in boxes)
    if question.presupposes_defect:
        return f"{seen}. {_chosen(question)}"
    return f"{seen}."


def _seen(sample: Sample, box: Box, frame: Frame) -> str:
    corners = ", ".join(str(round(value)) for value in box.xyxy)
    name = in_words(box.label or sample.defect)
    return f"{name} at [{corners}], {grid_cell(box, frame.model_width, frame.model_height)}"


def _chosen(question: Question) -> str:
    return fitting(question.options.get(question.answer or "", ""))
