"""Ways to earn a reward without earning it: each test shows that the trick does not pay."""

import pytest

from anomalyr1.config.reward import RewardConfig
from anomalyr1.rewards.build import build_rewards
from anomalyr1.rewards.reading import read_batch
from anomalyr1.rewards.telemetry import batch_metrics

OPTIONS = {"A": "Top.", "B": "Left.", "C": "Rim.", "D": "Base."}
GOLD = [[10, 10, 30, 30]]
HONEST = "<think>Chipped at the left. So the answer is B.</think><answer>B</answer>"
HONEST_BOX = (
    "<think>Chipped. So the product is abnormal.</think><answer>[[10, 10, 30, 30]]</answer>"
)


def reward(text, *, answer="B", boxes=None, options=OPTIONS, preset="roam"):
    terms, weights = build_rewards(RewardConfig(preset=preset))
    columns = {
        "options": [options],
        "answer": [answer if options else None],
        "boxes": [boxes],
        "frame": [[100, 100]],
    }
    values = [term([text], **columns)[0] for term in terms]
    return sum(w * v for w, v in zip(weights, values, strict=True) if v is not None)


def grounding(answer, boxes=GOLD):
    text = f"<think>Chipped. So the product is abnormal.</think><answer>{answer}</answer>"
    return reward(text, boxes=boxes, options=None)


def test_honest_work_earns_everything():
    assert reward(HONEST) == pytest.approx(2.5)
    assert reward(HONEST_BOX, boxes=GOLD, options=None) == pytest.approx(3.5)


def test_a_box_over_the_whole_image_earns_the_share_it_deserves():
    whole = grounding("[[0, 0, 100, 100]]")
    assert whole - grounding("[[60, 60, 80, 80]]") == pytest.approx(400 / 10000)
    assert grounding("[[12, 12, 32, 32]]") > whole + 0.5
    readings = read_batch(
        ["<think>x</think><answer>[[0, 0, 100, 100]]</answer>", HONEST_BOX],
        {"boxes": [GOLD] * 2, "frame": [[100, 100]] * 2},
    )
    assert batch_metrics(readings)["boxes/whole_image"] == 0.5


def test_many_boxes_share_one_gold():
    grid = [[x, y, x + 20, y + 20] for x in range(10, 90, 20) for y in range(10, 90, 20)]
    assert len(grid) == 16  # the gold box is among them
    assert grounding(str(grid)) == pytest.approx(grounding("[[60, 60, 80, 80]]") + 1 / 16)
    assert grounding(str(GOLD * 10)) == pytest.approx(grounding("[[60, 60, 80, 80]]") + 1 / 10)


@pytest.mark.parametrize(
    "think",
    [
        "A, B, C, D.",
        "The answer is A, B, C or D.",
        "The answer is A or B.",
        "A is correct, B is correct, C is correct and so are D and A or B. The answer is A/B/C/D.",
    ],
)
def test_naming_every_letter_in_the_reasoning_is_not_a_conclusion(think):
    everything = f"<think>{think}</think><answer>B</answer>"
    silent = "<think>Hm.</think><answer>B</answer>"
    assert reward(everything) <= reward(silent) < reward(HONEST)


def test_naming_every_letter_one_after_another_leaves_only_the_last():
    think = " ".join(f"So the answer is {letter}." for letter in "ABCD")
    text = f"<think>{think}</think><answer>{{}}</answer>"
    assert reward(text.format("B")) < reward(HONEST)  # contradicts D
    # Whatever it answers, it cannot be aligned with every gold.
    assert sum(reward(text.format("D"), answer=gold) for gold in "ABCD") < 2.5 * 4 / 2


@pytest.mark.parametrize(
    "text",
    [
        "<think>Hm.</think><answer>B</answer><answer>A</answer>",
        "<think>Hm.</think><answer>B</answer><answer>B</answer>",
        "<think>Hm.</think><answer>A or B</answer>",
        "<think>Hm.</think><answer>A, B, C, D</answer>",
        "<think>Hm.</think><answer>B. Top.</answer>",  # the letter of one, the text of another
        f"{HONEST}{HONEST.replace('B', 'A')}",
    ],
)
def test_two_answers_earn_no_more_than_the_tags(text):
    assert reward(text) <= 0.0


@pytest.mark.parametrize("think", ["", " ", "\n\n", "...", "-"])
def test_an_empty_think_block_earns_nothing(think):
    assert reward(f"<think>{think}</think><answer>B</answer>") == 0.0


@pytest.mark.parametrize(
    "text",
    [
        "<think><answer>B</answer></think><answer>B</answer>",
        "<think>So the answer is B. <answer>B</answer></think><answer>B</answer>",
        "<think>So the answer is B.</think><answer>B</answer> So the answer is B.",
        "<think>So the answer is B.</think><think>B</think><answer>B</answer>",
    ],
)
def test_the_answer_repeated_elsewhere_earns_nothing(text):
    assert reward(text) == 0.0


@pytest.mark.parametrize("think", ["B", "B B B B B", "B. B. B.", "<B>", "answer B answer B"])
def test_the_bare_letter_inside_think_is_no_conclusion(think):
    assert reward(f"<think>{think}</think><answer>B</answer>") < reward(HONEST)


def test_text_after_the_answer_costs_everything_but_under_the_released_gate():
    text = f"{HONEST} And B is also the answer to all other questions."
    assert reward(text) == 0.0
    assert reward(text, preset="paper-strict") == 0.0
    assert reward(text, preset="paper") == pytest.approx(2.0)  # as the released code pays it


def test_refusing_is_never_better_than_answering():
    refusal = "<think>I cannot tell.</think><answer>X</answer>"
    wrong = "<think>I cannot tell.</think><answer>A</answer>"
    assert reward(refusal) < reward(wrong)


def test_answering_no_box_to_every_grounding_row_is_reported_and_pays_on_normals_only():
    nothing = "<think>Even. So the product is normal.</think><answer>[]</answer>"
    assert reward(nothing, boxes=[], options=None) == pytest.approx(3.5)
    assert reward(nothing, boxes=GOLD, options=None) == pytest.approx(0.1 + 0.5)
    readings = read_batch([nothing] * 3 + [HONEST_BOX], {"boxes": [GOLD] * 4})
    assert batch_metrics(readings)["boxes/empty"] == 0.75


def test_looking_pays_more_than_never_boxing_even_where_defects_are_rare():
    nothing = "<think>Even. So the product is normal.</think><answer>[]</answer>"
    golds = [[], [], [], GOLD]  # one defect in four images
    never = [reward(nothing, boxes=gold, options=None) for gold in golds]
    found = [reward(HONEST_BOX if gold else nothing, boxes=gold, options=None) for gold in golds]
    assert sum(never) == pytest.approx(3 * 3.5 + 0.6)
    assert sum(found) == pytest.approx(4 * 3.5)


def test_the_same_answer_for_every_row_shows_in_the_letters():
    readings = read_batch([HONEST] * 4, {"options": [OPTIONS] * 4, "answer": list("ABCD")})
    metrics = batch_metrics(readings)
    assert metrics["letter/B"] == 1.0
    assert metrics["outcome/aligned_correct"] == 0.25
