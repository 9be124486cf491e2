"""`anomalyr1 reward replay`: its input, its output, its tables."""

import json

import pytest
from commands import invoke

from anomalyr1.cli.rewards import app
from anomalyr1.config import Config, dump_config
from anomalyr1.config.reward import IouOptions, LengthOptions, RewardConfig
from anomalyr1.errors import InputError
from anomalyr1.rewards.completion_lines import read_completions
from anomalyr1.rewards.replay import changes, score_completions
from anomalyr1.storage import read_jsonl, write_jsonl

YES_NO = {"A": "No.", "B": "Yes."}
GOOD = "<think>Bent. So the answer is B.</think><answer>B</answer>"
ROWS = [
    {"completion": GOOD, "options": YES_NO, "answer": "B", "boxes": None},
    {"completion": f"{GOOD} Thanks!", "options": YES_NO, "answer": "B", "boxes": None},
    {
        "completion": "<think>So the product is abnormal.</think><answer>[[0,0,2,2]]</answer>",
        "options": None,
        "answer": None,
        "boxes": [[1, 0, 3, 2]],
        "note": "kept",
    },
    {"completion": GOOD, "options": YES_NO, "answer": None, "boxes": None},
]


@pytest.fixture
def completions(tmp_path):
    path = tmp_path / "completions.jsonl"
    write_jsonl(path, ROWS)
    return path


def test_the_output_is_the_input_with_outcome_rewards_and_total(completions, tmp_path):
    out = tmp_path / "scored.jsonl"
    result = invoke(app, "replay", completions, "--out", out)
    assert result.exit_code == 0, result.output
    scored = read_jsonl(out)
    kept = [{k: v for k, v in row.items() if k in ROWS[i]} for i, row in enumerate(scored)]
    assert kept == ROWS
    assert [row["outcome"] for row in scored] == [
        "aligned_correct", "malformed", "aligned_correct", None,
    ]  # fmt: skip
    assert scored[0]["rewards"] == {
        "accuracy": 1.0, "consistency": 1.0, "format": 1.0, "iou": None,
    }  # fmt: skip
    assert scored[2]["rewards"]["iou"] == pytest.approx(1 / 3)
    assert [row["total"] for row in scored] == pytest.approx([2.5, 0.0, 2.5 + 1 / 3, 0.5])


def test_the_tables_name_outcomes_and_terms(completions):
    result = invoke(app, "replay", completions, "--preset", "paper")
    assert "4 completions, preset paper" in result.output
    for name in ("aligned_correct", "malformed", "(no gold)", "accuracy", "consistency", "total"):
        assert name in result.output
    assert "█" in result.output


def test_a_second_preset_shows_what_changes(completions):
    result = invoke(app, "replay", completions, "--preset", "paper-strict", "--against", "paper")
    assert result.exit_code == 0, result.output
    assert "1 of 4 change from paper-strict to paper" in " ".join(result.output.split())
    assert "+2.00" in result.output


def test_changes_come_largest_first():
    strict = score_completions(ROWS, RewardConfig(preset="paper-strict"))
    roam = score_completions(ROWS, RewardConfig(preset="roam"))
    found = changes(strict, roam)
    assert [change.row for change in found] == [3, 1, 4]
    assert [change.difference for change in found] == pytest.approx([0.5 + 1 / 3, 0.5, 0.5])
    assert changes(roam, roam) == []


def test_predictions_are_taken_to_the_model_frame(tmp_path):
    """Gold boxes of predictions.jsonl are in original pixels: 200 x 200, the frame 100 x 50."""
    path = tmp_path / "predictions.jsonl"
    grounding = {
        "image": "d/c/bad/1.png", "question_index": 0, "question_type": "Defect Grounding",
        "options": {}, "answer": None, "template": "grounding",
        "size": [200, 200], "frame": [100, 50], "gold_boxes": [[0, 0, 20, 20]],
        "gold_labels": ["dent"],
        "completion": "<think>So the product is abnormal.</think><answer>[[0,0,10,5]]</answer>",
    }  # fmt: skip
    choice = {
        **grounding,
        "options": YES_NO,
        "answer": "B",
        "template": "choice",
        "completion": GOOD,
    }
    write_jsonl(path, [grounding, choice])
    scored = score_completions(read_completions(path), RewardConfig())
    assert [one.rewards["iou"] for one in scored] == [1.0, None]  # a choice prompt asks for none


BROKEN = [
    ({"options": None}, "completion"),
    ({"completion": 3}, "completion"),
    ({"completion": "x", "options": ["A"]}, "options"),
    ({"completion": "x", "options": {"A": 1}}, "options"),
    ({"completion": "x", "options": YES_NO, "answer": "C"}, "answer"),
    ({"completion": "x", "answer": "B"}, "answer"),
    ({"completion": "x", "boxes": [[1, 2, 3]]}, "boxes"),
    ({"completion": "x", "boxes": [1, 2, 3, 4]}, "boxes"),
    ({"completion": "x", "boxes": [[1, 2, 3, True]]}, "boxes"),
    ({"completion": "x", "boxes": [[1, 2, 3, 4]], "box_labels": []}, "box_labels"),
    ({"completion": "x", "gold_boxes": [[1, 2, 3, 4]], "gold_labels": []}, "gold_labels"),
    ({"completion": "x", "options": {"A": "x", "B": None}, "answer": "B"}, "answer"),
    ({"completion": "x", "frame": [1]}, "frame"),
    ({"completion": "x", "completion_ids": ["1"]}, "completion_ids"),
    ({"completion": "x", "question_type": 3}, "question_type"),
]


@pytest.mark.parametrize(("row", "field"), BROKEN)
def test_a_broken_row_is_named(tmp_path, row, field):
    path = tmp_path / "broken.jsonl"
    path.write_text(f"{json.dumps(ROWS[0])}\n{json.dumps(row)}\n")
    with pytest.raises(InputError, match=rf"row 2: expected `{field}`"):
        read_completions(path)


def test_half_a_character_is_a_text_and_a_huge_number_is_none(completions):
    """JSON holds both; a completion cut off within a character is scored, not refused."""
    completions.write_text(json.dumps({"completion": f"{GOOD}\ud83d", "question": "\ud83d"}))
    assert read_completions(completions)[0]["completion"] == f"{GOOD}\ud83d"
    completions.write_text('{"completion": "x", "boxes": [[0, 0, 1' + "0" * 400 + ", 1]]}")
    with pytest.raises(InputError, match="row 1: expected `boxes`"):
        read_completions(completions)


def test_all_faults_are_counted_and_the_first_ten_named(tmp_path):
    path = tmp_path / "broken.jsonl"
    several = {"completion": 3, "options": ["A"], "frame": [0, 5], "completion_ids": [1.5]}
    write_jsonl(path, [ROWS[0], several, *[{"completion": None}] * 8])
    with pytest.raises(InputError) as caught:
        read_completions(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: 12 faults: row 2: expected `") and "\n" not in message
    for field in several:
        assert f"row 2: expected `{field}` to be" in message
    assert "row 8: expected `completion` to be a text, found None" in message
    assert "row 9" not in message and message.endswith("; and 2 more; mend them")


def test_gold_in_original_pixels_needs_both_sizes(tmp_path):
    path = tmp_path / "predictions.jsonl"
    row = {"completion": "x", "template": "grounding", "gold_boxes": [[0, 0, 2, 2]]}
    write_jsonl(path, [row])  # no frame at all: the completion speaks in original pixels
    assert score_completions(read_completions(path), RewardConfig())[0].outcome == "malformed"
    write_jsonl(path, [{**row, "frame": [112, 56]}])
    with pytest.raises(InputError, match="row 1: expected `size`"):
        read_completions(path)


RUN = RewardConfig(
    preset="roam",
    weights={"iou": 2.0, "length": 1.0},
    table={"aligned_correct": 0.75},
    gate="released",
    iou=IouOptions(threshold=0.3),
    length=LengthOptions(max_tokens=4, soft_tokens=2),
)


@pytest.fixture
def run_config(tmp_path):
    path = tmp_path / "run" / "config.yaml"
    path.parent.mkdir()
    path.write_text(dump_config(Config(reward=RUN)))
    return path


def test_a_runs_own_reward_scores_with_its_weights_table_gate_and_options(tmp_path, run_config):
    rows = [{**row, "completion_ids": [7, 7, 7]} for row in ROWS]
    write_jsonl(tmp_path / "kept.jsonl", rows)
    out = tmp_path / "scored.jsonl"
    arguments = ["replay", str(tmp_path / "kept.jsonl"), "--config", str(run_config)]
    result = invoke(app, *arguments, "--out", out)
    assert result.exit_code == 0, result.output
    assert f"4 completions, the reward of {run_config}" in result.output
    scored = read_jsonl(out)
    # The released gate passes "Thanks!"; three tokens of four cost a half.
    assert [row["outcome"] for row in scored] == ["aligned_correct"] * 3 + [None]
    assert scored[1]["rewards"] == {
        "accuracy": 1.0, "consistency": 0.75, "format": 1.0, "iou": None, "length": -0.5,
    }  # fmt: skip
    assert scored[2]["rewards"]["iou"] == 1.0  # 1/3 reaches the threshold
    assert [row["total"] for row in scored] == [1.75, 1.75, 3.75, 0.0]


def test_a_config_is_compared_with_a_preset(tmp_path, completions, run_config):
    arguments = ["replay", str(completions), "--config", str(run_config), "--against", "paper"]
    result = invoke(app, *arguments)
    assert result.exit_code == 0, result.output
    assert "4 of 4 change from config to paper" in " ".join(result.output.split())


def test_a_config_and_a_preset_exclude_each_other(completions, run_config):
    arguments = ["replay", str(completions), "--config", str(run_config), "--preset", "paper"]
    with pytest.raises(InputError, match="--against paper"):
        invoke(app, *arguments)


def test_a_config_that_is_not_there_or_cannot_be_read_is_named(tmp_path, completions):
    for path, message in ((tmp_path / "none.yaml", "a config file at"), (tmp_path, "found none")):
        with pytest.raises(InputError, match=message):
            invoke(app, "replay", completions, "--config", path)
    (tmp_path / "odd.yaml").write_text("reward:\n  wieghts: {iou: 1.0}\n")
    arguments = ["replay", str(completions), "--config", str(tmp_path / "odd.yaml")]
    with pytest.raises(InputError, match="nearest: weights"):
        invoke(app, *arguments)


def test_an_empty_or_missing_file_is_named(tmp_path):
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(InputError, match="found none"):
        read_completions(tmp_path / "empty.jsonl")
    with pytest.raises(InputError, match="no such file"):
        read_completions(tmp_path / "missing.jsonl")


@pytest.mark.parametrize("option", ["--preset", "--against"])
def test_a_misspelt_preset_is_refused_before_the_file_is_read(option):
    with pytest.raises(InputError, match="did you mean 'paper'"):
        invoke(app, "replay", "missing.jsonl", option, "papper")
