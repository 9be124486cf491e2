"""How published evaluations ask their questions, word for word.

A figure can be held against a published one where the prompt is the same. None of them has a system
text of its own: Qwen's chat template then puts its own in front. Texts of one message follow each
other without a space or a line between them, as that template writes them.
"""

from __future__ import annotations

from typing import Any, Literal

from anomalyr1.schema import Question

Published = Literal["mmad", "iad_r1", "robustmad"]

# What Qwen2.5-VL's chat template says where a conversation brings no system text.
SYSTEM = "You are a helpful assistant."

# These ask for a letter and for nothing before it.
WITHOUT_REASONING: tuple[Published, ...] = ("mmad", "robustmad")

_MMAD_INSTRUCTION = (
    "\nYou are an industrial inspector who checks products by images. You should judge whether "
    "there is a defect in the query image and answer the questions about it.\n"
    "Answer with the option's letter from the given choices directly.\n"
)
_MMAD_DIRECTLY = "Answer with the option's letter from the given choices directly! "
_MMAD_KNOWLEDGE = (
    "Following is the domain knowledge which contains some type of defect and the normal object "
    "characteristics: \n "
)
_TEMPLATE_TO_COMPARE = (
    "image of normal sample, which can be used as a template to compare the image being queried."
)
_ROBUSTMAD_INSTRUCTION = (
    "You are an expert industrial product quality inspector. Given the image(s) and the question "
    "below, select the single correct option and return only the corresponding letter "
    "(A, B, C, D, or E). No other open-ended output is allowed."
)

Part = dict[str, str]
_IMAGE: Part = {"type": "image"}


def published_messages(
    question: Question, protocol: Published, *, references: int = 0, knowledge: str | None = None
) -> list[dict[str, Any]]:
    """The conversation of a published evaluation.

    Args:
        question: options in the order shown. IAD-R1 shows neither them nor the question's text: it
            asks whether there is a defect, and wants yes or no.
        protocol: `mmad` is jam-cc/MMAD's script for Qwen2.5-VL (its published helper writes a
            number before each question and the script switches that off; the form without one is
            that of its other scripts). `iad_r1` is Yanhui-Lee/IAD-R1's for its own policies.
            `robustmad` is en-research/RobustMAD's choice script for Qwen2.5-VL.
        references: normal images, shown before the one that is asked about.
        knowledge: about the product; IAD-R1 and RobustMAD have no place for it, it stands first.
    """
    parts = {"mmad": _mmad, "iad_r1": _iad_r1, "robustmad": _robustmad}[protocol]
    content = parts(question, references, knowledge)
    if knowledge and protocol != "mmad":
        content = [_text(f"{_MMAD_KNOWLEDGE}{knowledge}\n"), *content]
    return [
        {"role": "system", "content": [_text(SYSTEM)]},
        {"role": "user", "content": merged_text(content)},
    ]


def _mmad(question: Question, references: int, knowledge: str | None) -> list[Part]:
    """Its chat template is told to number the images: "Picture 1: " stands before the first."""
    content = [_text(_MMAD_INSTRUCTION + _MMAD_DIRECTLY)]
    if knowledge:
        content.append(_text(f"{_MMAD_KNOWLEDGE}{knowledge}"))
    if references:
        content.append(_text(f"Following is/are {references} {_TEMPLATE_TO_COMPARE}"))
    for number in range(references):
        content += [_text(f"Picture {number + 1}: "), _IMAGE]
    content += [
        _text(f"Following is the query image: Picture {references + 1}: "),
        _IMAGE,
        _text(f"Following is the question list: Question: {question.text} \n"),
    ]
    return [*content, *(_text(f"{letter}. {text}\n") for letter, text in question.options.items())]


def _iad_r1(question: Question, references: int, knowledge: str | None) -> list[Part]:
    content: list[Part] = []
    if references:
        content.append(_text(f"Following is {references} {_TEMPLATE_TO_COMPARE}"))
        content += [_IMAGE] * references
        content.append(_text("Following is image of test sample:"))
    return [*content, _IMAGE, _text("Are there any defects in the test image?")]


def _robustmad(question: Question, references: int, knowledge: str | None) -> list[Part]:
    options = "\n".join(f"{letter}: {text}" for letter, text in question.options.items())
    asked = f"Question: {question.text}\nOptions:\n{options}\n"
    return [*[_IMAGE] * (references + 1), _text(f"{_ROBUSTMAD_INSTRUCTION}\n\n{asked}")]


def merged_text(content: list[Part]) -> list[Part]:
    """Join neighbouring text parts, so that the same prompt is always the same list."""
    merged: list[Part] = []
    for part in content:
        if part["type"] == "text" and merged and merged[-1]["type"] == "text":
            merged[-1] = _text(merged[-1]["text"] + part["text"])
        else:
            merged.append(part)
    return merged


def _text(text: str) -> Part:
    return {"type": "text", "text": text}
