from pathlib import Path

import pytest

from anomalyr1.errors import InputError
from anomalyr1.geometry import Frame
from anomalyr1.gold_completions import gold_completion
from anomalyr1.parsing import parse_response
from anomalyr1.prompts import build_messages
from anomalyr1.schema import Box, Question, Sample

BOXES = (Box(20, 10, 40, 30, "scratch"),)
ASK = Question("Is there a defect?", "Anomaly Detection", {"A": "Yes.", "B": "No."}, "A")
LOCATE = Question("Locate every defect.", "Defect Grounding", boxes=BOXES)
SAMPLE = Sample("D/tile/test/scratch/1.png", Path(), (ASK, LOCATE), boxes=BOXES)
FRAME = Frame(200, 100, 112, 56)

SYSTEM = (
    "You inspect industrial products. Look at the image, think inside <think> </think>, "
    "then give the final answer inside <answer> </answer>."
)


def text(message) -> str:
    return "".join(
        part["text"] if part["type"] == "text" else "[image]" for part in message["content"]
    )


def test_choice_prompt_is_frozen():
    system, user = build_messages(SAMPLE, ASK, "choice", references=2, knowledge="Tiles crack.")
    assert text(system) == SYSTEM
    assert text(user) == (
        "Reference images of the normal product:\n[image][image]\n"
        "Image to inspect:\n[image]\n"
        "What is known about the product:\nTiles crack.\n"
        "Is there a defect?\nA. Yes.\nB. No.\n"
        "Answer with the letter of one option. Close the reasoning with a sentence that names it: "
        "So the answer is ..."
    )


def test_grounding_prompt_is_frozen():
    _, user = build_messages(SAMPLE, LOCATE, "grounding")
    assert text(user) == (
        "Image to inspect:\n[image]\nLocate every defect.\n"
        'Answer with a JSON list of boxes in pixels, [{"bbox_2d": [x1, y1, x2, y2], "label": '
        '"..."}], or [] if there is no defect. Close the reasoning with a sentence that names the '
        "verdict: So the product is normal. or So the product is abnormal."
    )


def test_a_policy_that_counts_in_thousandths_is_asked_for_them():
    _, user = build_messages(SAMPLE, LOCATE, "grounding", unit="thousandths")
    assert text(user) == (
        "Image to inspect:\n[image]\nLocate every defect.\n"
        "Answer with a JSON list of boxes from 0 to 1000 along each side of the image, "
        '[{"bbox_2d": [x1, y1, x2, y2], "label": "..."}], or [] if there is no defect. '
        "Close the reasoning with a sentence that names the verdict: "
        "So the product is normal. or So the product is abnormal."
    )
    _, both = build_messages(SAMPLE, ASK, "inspect", unit="thousandths")
    assert "boxes from 0 to 1000 along each side" in text(both) and "pixels" not in text(both)
    choice = [build_messages(SAMPLE, ASK, unit=unit) for unit in ("pixels", "thousandths")]
    assert choice[0] == choice[1]  # letters are letters


def test_inspect_asks_for_both():
    _, user = build_messages(SAMPLE, ASK, "inspect")
    assert "letter of one option" in text(user) and "bbox_2d" in text(user)


def test_questions_of_one_image_share_everything_before_the_question():
    first = text(build_messages(SAMPLE, ASK, "choice", references=1)[1])
    second = text(build_messages(SAMPLE, LOCATE, "grounding", references=1)[1])
    shared = first[: first.index(ASK.text)]
    assert second.startswith(shared) and shared.endswith("[image]\n")


@pytest.mark.parametrize(
    ("question", "template"), [(ASK, "grounding"), (LOCATE, "choice"), (ASK, "essay")]
)
def test_a_template_that_does_not_fit_is_refused(question, template):
    with pytest.raises(InputError, match="expected"):
        build_messages(SAMPLE, question, template)


@pytest.mark.parametrize(
    ("question", "template", "answer"),
    [
        (ASK, "choice", "A"),
        (ASK, "inspect", 'A\n[{"bbox_2d": [11, 6, 22, 17], "label": "scratch"}]'),
        (LOCATE, "grounding", '[{"bbox_2d": [11, 6, 22, 17], "label": "scratch"}]'),
    ],
)
def test_gold_completion_speaks_in_the_model_frame_and_parses_back(question, template, answer):
    gold = gold_completion(SAMPLE, question, template, FRAME)
    assert gold.endswith(f"<answer>{answer}</answer>")
    response = parse_response(gold, question)
    assert response.well_formed and not response.errors
    assert response.answer == question.answer
    assert response.conclusion == ("abnormal" if template == "grounding" else "A")


def test_gold_completion_in_thousandths_and_in_no_known_frame():
    frame = Frame.spoken((200, 100), (196, 112), "thousandths")
    gold = gold_completion(SAMPLE, LOCATE, "grounding", frame)
    assert '[{"bbox_2d": [100, 100, 200, 300], "label": "scratch"}]' in gold
    assert "scratch at [100, 100, 200, 300], top left." in gold
    assert gold_completion(SAMPLE, ASK, "choice", None) == (
        "<think>This fits: Yes. So the answer is A.</think>\n<answer>A</answer>"
    )


def test_gold_completion_of_a_normal_image():
    question = Question("Locate.", "Defect Grounding", boxes=())
    sample = Sample("D/tile/test/good/1.png", Path(), (question,), boxes=())
    gold = gold_completion(sample, question, "grounding", FRAME)
    response = parse_response(gold, question)
    assert response.boxes == () and response.conclusion == "normal" and response.well_formed
