"""The numbers that are logged: by hand, once a batch, whichever preset is used."""

from collections import defaultdict

import pytest

from anomalyr1.config.reward import RewardConfig
from anomalyr1.parsing import FAULTS
from anomalyr1.rewards.build import PRESETS, build_rewards
from anomalyr1.rewards.reading import read_batch
from anomalyr1.rewards.telemetry import batch_metrics
from anomalyr1.schema import OUTCOMES

YES_NO = {"A": "No.", "B": "Yes."}
COMPLETIONS = [
    "<think>Bent. So the answer is B.</think><answer>B</answer>",
    "<think>Bent. So the answer is B.</think><answer>A</answer>",
    "A",
    "<think>So the product is abnormal.</think><answer>[[0, 0, 100, 95], [1, 1, 5, 5]]</answer>",
    "<think>Even.</think><answer>[]</answer>",
]
COLUMNS = {
    "options": [YES_NO, YES_NO, YES_NO, None, None],
    "answer": ["B", "B", "A", None, None],
    "boxes": [None, None, None, [[0, 0, 5, 5]], None],
    "frame": [[100, 100]] * 5,
    "question_type": ["Anomaly Detection"] * 3 + ["Defect Grounding"] * 2,
    "sample_id": ["a#0", "b#0", "c#0", "d#0", "e#0"],
}


def test_by_hand():
    metrics = batch_metrics(read_batch(COMPLETIONS, COLUMNS))
    expected = {
        # four rows have gold
        "outcome/aligned_correct": 2 / 4,
        "outcome/contradictory": 1 / 4,
        "outcome/malformed": 1 / 4,
        "outcome/silent_correct": 0.0,
        "outcome/aligned_wrong": 0.0,
        "outcome/silent_wrong": 0.0,
        "fault/no_answer": 1 / 5,
        "fault/no_think": 1 / 5,
        "fault/several_answers": 0.0,
        "letter/A": 2 / 3,
        "letter/B": 1 / 3,
        "letter/none": 0.0,
        "reasoning/characters": (25 + 25 + 0 + 27 + 5) / 5,
        "reasoning/concludes": 3 / 5,
        "boxes/count": 2 / 2,
        "boxes/whole_image": 1 / 2,  # 95 % of the frame
        "boxes/empty": 1 / 2,
        "boxes/iou": 16 / 25 / 2,  # the one image with a defect, where one box of two lies
        "by_type/Anomaly Detection/accuracy": 1 / 3,
        "by_type/Anomaly Detection/malformed": 1 / 3,
        "by_type/Anomaly Detection/contradictory": 1 / 3,
        "by_type/Defect Grounding/accuracy": 1.0,  # one row with gold
    }
    assert {name: metrics[name] for name in expected} == pytest.approx(expected)
    assert {f"fault/{fault}" for fault in FAULTS} <= set(metrics)
    assert {f"outcome/{outcome}" for outcome in OUTCOMES} <= set(metrics)


def test_a_number_about_nothing_is_left_out():
    metrics = batch_metrics(read_batch(["x"], {"options": [YES_NO], "answer": ["A"]}))
    assert not any(name.startswith("boxes/") for name in metrics)
    assert not any(name.startswith("by_type/") for name in metrics)
    assert not any(name.startswith("letter/") for name in batch_metrics(read_batch(["[]"], {})))
    assert batch_metrics([]) == {}


def test_letters_are_those_that_the_batch_offers():
    """Beyond the fifth letter too, also where nobody answers it; none that no question offers."""
    many = {letter: letter for letter in "ABCDEFG"}
    columns = {"options": [many, YES_NO, None], "answer": ["F", "B", None]}
    metrics = batch_metrics(read_batch(["<answer>F</answer>", "?", "[]"], columns))
    letters = {name: value for name, value in metrics.items() if name.startswith("letter/")}
    others = dict.fromkeys((f"letter/{name}" for name in "ABCDEG"), 0.0)
    assert letters == {**others, "letter/F": 1 / 2, "letter/none": 1 / 2}


@pytest.mark.parametrize("preset", PRESETS)
def test_logged_exactly_once_a_batch(preset):
    terms, _ = build_rewards(RewardConfig(preset=preset))
    metrics, extra = defaultdict(list), defaultdict(list)

    def log_metric(name, value):
        metrics[name].append(value)

    def log_extra(name, values):
        extra[name].extend(values)

    for _ in range(2):
        for term in terms:
            term(COMPLETIONS, **COLUMNS, log_metric=log_metric, log_extra=log_extra)
    assert {len(values) for values in metrics.values()} == {2}
    assert {len(values) for values in extra.values()} == {2 * len(COMPLETIONS)}
    assert extra["outcome"][:5] == [
        "aligned_correct", "contradictory", "malformed", "aligned_correct", None,
    ]  # fmt: skip
    assert extra["sample_id"][:5] == COLUMNS["sample_id"]
    assert all(isinstance(value, float) for values in metrics.values() for value in values)


def test_outside_a_trainer_nothing_is_logged():
    terms, _ = build_rewards(RewardConfig())
    assert terms[0](COMPLETIONS, **COLUMNS)[0] == 1.0
