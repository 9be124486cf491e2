"""The prompts of other evaluations, as Qwen2.5-VL's own chat template writes them."""

from __future__ import annotations

from pathlib import Path

import jinja2
import pytest

from anomalyr1.gold_completions import gold_completion
from anomalyr1.parsing import parse_response
from anomalyr1.prompts import asks_for_reasoning, build_messages
from anomalyr1.schema import Question, Sample

ASK = Question("Any flaw?", "Anomaly Detection", {"A": "Yes.", "B": "No."}, "B")
SAMPLE = Sample("D/tile/test/good/1.png", Path(), (ASK,))

# As it stands in the checkpoint (Qwen/Qwen2.5-VL-7B-Instruct, chat_template.json).
QWEN = (
    "{% set image_count = namespace(value=0) %}{% set video_count = namespace(value=0) %}"
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}"
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
    "<|im_start|>{{ message['role'] }}\n{% if message['content'] is string %}"
    "{{ message['content'] }}<|im_end|>\n{% else %}{% for content in message['content'] %}"
    "{% if content['type'] == 'image' or 'image' in content or 'image_url' in content %}"
    "{% set image_count.value = image_count.value + 1 %}"
    "{% if add_vision_id %}Picture {{ image_count.value }}: {% endif %}"
    "<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif 'text' in content %}{{ content['text'] }}{% endif %}{% endfor %}<|im_end|>\n"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
IMAGE = {"type": "image"}


def said(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


def rendered(messages: list[dict], **options: bool) -> str:
    template = jinja2.Environment(trim_blocks=False).from_string(QWEN)
    return template.render(messages=messages, add_generation_prompt=True, **options)


def script_of_mmad(references: int, knowledge: str | None) -> list[dict]:
    """The parts in the order in which MMAD's script for Qwen2.5-VL puts them together."""
    instruction = (
        "\nYou are an industrial inspector who checks products by images. You should judge whether "
        "there is a defect in the query image and answer the questions about it.\nAnswer with the "
        "option's letter from the given choices directly.\n"
    )
    parts = [
        said(instruction),
        said("Answer with the option's letter from the given choices directly! "),
    ]
    if knowledge:
        head = "Following is the domain knowledge which contains some type of defect and the normal"
        parts.append(said(f"{head} object characteristics: \n {knowledge}"))
    if references:
        text = f"Following is/are {references} image of normal sample, which can be used as a "
        parts.append(said(f"{text}template to compare the image being queried."))
    parts += [IMAGE] * references
    parts += [said("Following is the query image: "), IMAGE]
    parts += [
        said("Following is the question list: "),
        said("Question: Any flaw? \nA. Yes.\nB. No.\n"),
    ]
    return [{"role": "user", "content": parts}]


@pytest.mark.parametrize("knowledge", [None, "Tiles crack. \nThey chip."])
@pytest.mark.parametrize("references", [0, 1, 3])
def test_mmad_reads_as_its_own_script_writes_it(references, knowledge):
    ours = build_messages(SAMPLE, ASK, "mmad", references=references, knowledge=knowledge)
    theirs = script_of_mmad(references, knowledge)
    assert rendered(ours) == rendered(theirs, add_vision_id=True)
    assert sum(part["type"] == "image" for part in ours[1]["content"]) == references + 1


@pytest.mark.parametrize("references", [0, 2])
def test_iad_r1_asks_one_question_of_every_image(references):
    ours = build_messages(SAMPLE, ASK, "iad_r1", references=references)
    shown = [
        said(
            f"Following is {references} image of normal sample, which can be used as a template to "
            "compare the image being queried."
        ),
        *[IMAGE] * references,
        said("Following is image of test sample:"),
    ]
    theirs = [
        *(shown if references else []),
        IMAGE,
        said("Are there any defects in the test image?"),
    ]
    assert rendered(ours) == rendered([{"role": "user", "content": theirs}])
    # Its answers are words; they are read as the option of that text.
    assert parse_response("<think>Even.</think><answer>no</answer>", ASK).answer == "B"


def test_robustmad_shows_the_images_first():
    ours = build_messages(SAMPLE, ASK, "robustmad", references=1)
    text = (
        "You are an expert industrial product quality inspector. Given the image(s) and the "
        "question below, select the single correct option and return only the corresponding letter "
        "(A, B, C, D, or E). No other open-ended output is allowed.\n\n"
        "Question: Any flaw?\nOptions:\nA: Yes.\nB: No.\n"
    )
    theirs = [{"role": "user", "content": [IMAGE, IMAGE, said(text)]}]
    assert rendered(ours) == rendered(theirs)


@pytest.mark.parametrize("template", ["mmad", "robustmad"])
def test_what_asks_for_a_letter_alone_is_answered_by_one(template):
    assert not asks_for_reasoning(template) and asks_for_reasoning("iad_r1")
    gold = gold_completion(SAMPLE, ASK, template, None)
    assert gold == "B" and parse_response(gold, ASK).answer == "B"


def test_questions_of_one_image_share_everything_before_the_question():
    other = Question("Which tile?", "Object Details", {"A": "Red.", "B": "Blue."}, "A")
    first, second = (
        rendered(build_messages(SAMPLE, question, "mmad", references=1, knowledge="Tiles crack."))
        for question in (ASK, other)
    )
    shared = first[: first.index(ASK.text)]
    assert second.startswith(shared) and shared.count("<|image_pad|>") == 2
