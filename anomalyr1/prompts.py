"""Named prompt templates: what the policy is shown.

SFT, GRPO, evaluation and prediction all build their messages here. The order is fixed so that the
questions of one image share everything up to the question: system text, reference images, the image
to inspect, domain knowledge, then the question.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, cast, get_args

from anomalyr1.errors import InputError, unknown
from anomalyr1.geometry import BoxUnit, Frame
from anomalyr1.published_prompts import (
    WITHOUT_REASONING,
    Published,
    merged_text,
    published_messages,
)
from anomalyr1.schema import Box, Question, Sample

Template = Literal["choice", "grounding", "inspect", "mmad", "iad_r1", "robustmad"]
TEMPLATES: tuple[Template, ...] = get_args(Template)
OWN: tuple[Template, ...] = TEMPLATES[:3]

SYSTEM = (
    "You inspect industrial products. Look at the image, think inside <think> </think>, "
    "then give the final answer inside <answer> </answer>."
)

REFERENCE_HEADER = "Reference images of the normal product:"
QUERY_HEADER = "Image to inspect:"
KNOWLEDGE_HEADER = "What is known about the product:"

_CHOICE = (
    "Answer with the letter of one option. Close the reasoning with a sentence that names it: "
    "So the answer is ..."
)
_UNITS: dict[BoxUnit, str] = {
    "pixels": "in pixels",
    "thousandths": "from 0 to 1000 along each side of the image",
}

# What opens, closes or stands for something in a conversation with Qwen2.5-VL or Qwen3-VL: as text
# of a question it would be read as the mark itself.
SPECIAL_TOKENS = tuple(
    f"<|{name}|>"
    for name in (
        *("endoftext", "im_start", "im_end", "object_ref_start", "object_ref_end"),
        *("box_start", "box_end", "quad_start", "quad_end"),
        *("vision_start", "vision_end", "vision_pad", "image_pad", "video_pad"),
    )
)


def _instruction(template: Template, unit: BoxUnit) -> str:
    boxes = (
        f'a JSON list of boxes {_UNITS[unit]}, [{{"bbox_2d": [x1, y1, x2, y2], "label": "..."}}], '
        "or [] if there is no defect"
    )
    if template == "grounding":
        return (
            f"Answer with {boxes}. Close the reasoning with a sentence that names the verdict: "
            "So the product is normal. or So the product is abnormal."
        )
    if template == "inspect":
        return f"{_CHOICE} After the letter, on a new line, give {boxes}."
    return _CHOICE


# Text that stands in every prompt of a policy that counts in pixels as it is.
FIXED_PHRASES = (
    SYSTEM,
    f"{REFERENCE_HEADER}\n",
    f"{QUERY_HEADER}\n",
    *(f"\n{_instruction(template, 'pixels')}" for template in OWN),
)


def special_tokens_in(text: str, tokens: Iterable[str] = SPECIAL_TOKENS) -> list[str]:
    """The special tokens that a text would smuggle into a prompt.

    >>> special_tokens_in("Is <|image_pad|> dented?")
    ['<|image_pad|>']
    """
    return [token for token in tokens if token in text]


def smuggled_tokens(
    question: Question, boxes: Sequence[Box], tokens: Sequence[str] = SPECIAL_TOKENS
) -> list[str]:
    """Where a question, its options or the labels of its boxes hold special tokens, in words.

    Args:
        question: as it is asked.
        boxes: gold, whose labels gold completions write.
        tokens: special tokens of the policy.
    """
    texts = {"the question": question.text}
    texts |= {f"option {letter}": text for letter, text in question.options.items()}
    texts |= {"the label of a box": " ".join(box.label or "" for box in boxes)}
    return [
        f"{where} holds {token}"
        for where, text in texts.items()
        for token in special_tokens_in(text, tokens)
    ]


def template_for(question: Question, template: Template = "choice") -> Template:
    """The template a question is shown with: a grounding question has no letters to choose from."""
    return "grounding" if question.is_grounding else template


def asks_for_boxes(template: str) -> bool:
    """The completion is to hold boxes, alone or beside a letter."""
    return template in ("grounding", "inspect")


def asks_for_reasoning(template: str) -> bool:
    """The completion is to hold more than a letter; else its form and reasoning say nothing."""
    return template not in WITHOUT_REASONING


def build_messages(
    sample: Sample,
    question: Question,
    template: Template = "choice",
    *,
    references: int = 0,
    knowledge: str | None = None,
    unit: BoxUnit = "pixels",
) -> list[dict[str, Any]]:
    """The conversation the policy is asked to continue.

    Images are placeholders (`{"type": "image"}`), `references` reference images first and the image
    to inspect last; the caller hands the image files over in that order.

    Args:
        sample: the image; not read apart from being named in errors.
        question: what is asked; its options are shown in their stored order.
        template: `choice` asks for a letter, `grounding` for boxes, `inspect` for both at once; or
            the name of a published protocol (`published_prompts`), whose words it is asked in.
        references: number of normal reference images shown.
        knowledge: domain knowledge about the product, or None.
        unit: what the policy counts the corners of boxes in (`policy.family`).

    Raises:
        InputError: the template does not exist, or asks for a letter where there is no option.
    """
    if template not in TEMPLATES:
        raise unknown("a prompt template", template, TEMPLATES)
    if question.is_grounding != (template == "grounding"):
        raise InputError(
            f"expected template {template_for(question)!r} for a {question.type} question of "
            f"{sample.image}, found {template!r}; ask it by that one"
        )
    if template not in OWN:
        protocol = cast(Published, template)
        return published_messages(question, protocol, references=references, knowledge=knowledge)
    content: list[dict[str, str]] = []
    if references:
        content.append(_text(f"{REFERENCE_HEADER}\n"))
        content += [{"type": "image"}] * references
        content.append(_text("\n"))
    content += [_text(f"{QUERY_HEADER}\n"), {"type": "image"}, _text("\n")]
    if knowledge:
        content.append(_text(f"{KNOWLEDGE_HEADER}\n{knowledge.strip()}\n"))
    content.append(_text(question_text(question, template, unit)))
    return [
        {"role": "system", "content": [_text(SYSTEM)]},
        {"role": "user", "content": merged_text(content)},
    ]


def without_images(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A conversation in the same words that shows no image.

    >>> content = [{"type": "image"}, {"type": "text", "text": "Dented?"}]
    >>> without_images([{"role": "user", "content": content}])
    [{'role': 'user', 'content': [{'type': 'text', 'text': 'Dented?'}]}]
    """
    return [
        {**said, "content": merged_text([p for p in said["content"] if p["type"] != "image"])}
        for said in messages
    ]


def option_lines(options: Mapping[str, str]) -> list[str]:
    """Options as a question lists them, a line each."""
    return [f"{letter}. {text}" for letter, text in options.items()]


def question_text(question: Question, template: Template, unit: BoxUnit = "pixels") -> str:
    """The question, its options a line each, and what the answer must look like.

    >>> q = Question("Is there a defect?", "Anomaly Detection", {"A": "Yes.", "B": "No."}, "B")
    >>> question_text(q, "choice").splitlines()[:3]
    ['Is there a defect?', 'A. Yes.', 'B. No.']
    """
    lines = [question.text]
    lines += option_lines(question.options)
    lines.append(_instruction(template, unit))
    return "\n".join(lines)


def gold_in_model(
    gold_in_image: Sequence[Box] | None,
    question: Question,
    template: str,
    frame: Frame | None,
) -> tuple[Box, ...] | None:
    """The gold boxes that a completion is held against, in the model frame.

    Args:
        gold_in_image: gold boxes in original-image pixels; None where they are not known.
        question: what was asked.
        template: how it was asked; a grounding question asks for boxes whatever this says.
        frame: both sizes of the image; None where the completion speaks in original pixels.

    Returns:
        None where the prompt asks for no boxes, or where the gold boxes are not known.

    >>> from anomalyr1.schema import GROUNDING
    >>> question = Question("Locate.", GROUNDING)
    >>> gold_in_model([Box(0, 0, 20, 20)], question, "grounding", Frame(200, 200, 100, 50))
    (Box(x1=0.0, y1=0.0, x2=10.0, y2=5.0, label=None),)
    """
    if gold_in_image is None or not (asks_for_boxes(template) or question.is_grounding):
        return None
    if frame is None:
        return tuple(gold_in_image)
    return tuple(frame.to_model(box) for box in gold_in_image)


def _text(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}
