"""Plans, tables and runs of an ablation; the runs are real, on the toy benchmark, a step each."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from commands import REPOSITORY, invoke
from tiny_runs import ON_CPU, write_config

from anomalyr1.ablation.grid import plan
from anomalyr1.ablation.launch import ablate
from anomalyr1.ablation.results import Result, measure, read_result, write_result
from anomalyr1.ablation.table import comma_separated, markdown, summarize
from anomalyr1.cli import app
from anomalyr1.errors import InputError


@pytest.fixture
def configs(tmp_path, toy_benchmark, tiny_policy) -> Path:
    """A folder with a training and an evaluation config."""
    settings = {"max_steps": 1, "per_device_train_batch_size": 4, "num_generations": 2}
    settings |= {"max_completion_length": 8, "learning_rate": 1e-3}
    write_config(
        tmp_path / "train.yaml",
        policy={"path": tiny_policy, "max_pixels": 12544, "freeze_vision": False},
        data={"benchmark": toy_benchmark, "question_types": ["Defect Grounding"]},
        preflight={"skip": True},
        grpo={**ON_CPU, **settings},
    )
    short = {"max_new_tokens": 8, "limit": 2, "allow_seen": True}
    write_config(
        tmp_path / "eval.yaml",
        policy={"path": "nowhere", "max_pixels": 12544},
        eval={"benchmark": toy_benchmark, **short},
        segmentation={"kind": "none"},
    )
    return tmp_path


def ablation(folder: Path, text: str) -> Path:
    path = folder / "terms.yaml"
    head = f"base: train.yaml\neval: eval.yaml\nrun_dir: {folder / 'runs'}\n"
    path.write_text(head + text)
    return path


def command(run, stage) -> list[str]:
    return next(list(command) for name, command in run.commands if name == stage)


def test_a_plan_is_every_variant_with_every_seed(configs):
    path = ablation(
        configs,
        "seeds: [3, 5]\n"
        "set: {grpo.beta: 0.1, reward: {weights: {iou: 2.0}}}\n"
        "list:\n  plain: {}\n  paper: {reward.preset: paper}\n"
        "grid: {policy.max_pixels: [3136, 12544]}\n",
    )
    runs = plan(path, ["grpo.max_steps=2"])
    assert [(run.variant, run.seed) for run in runs] == [
        (f"{name} policy.max_pixels={pixels}", seed)
        for name in ("plain", "paper")
        for pixels in (3136, 12544)
        for seed in (3, 5)
    ]
    assert len({run.digest for run in runs}) == len({run.folder for run in runs}) == 8
    last = runs[-1]
    assert last.folder.name == f"paper_policy.max_pixels=12544-seed5-{last.digest[:8]}"
    changes = [
        "grpo.beta=0.1", 'reward={"weights": {"iou": 2.0}}', "reward.preset=paper",
        "policy.max_pixels=12544", "grpo.max_steps=2",
    ]  # fmt: skip
    place = [f"run_dir={last.folder}", "resume=auto"]
    train, evaluation = command(last, "train"), command(last, "eval")
    assert train[1:5] == ["-m", "anomalyr1", "train", str(configs / "train.yaml")]
    assert train[5:] == [*changes, "seed=5", *place]
    assert evaluation[3:5] == ["eval", str(configs / "eval.yaml")]
    # Every run is asked the same questions: the seed is not the evaluation's.
    assert evaluation[5:] == [*changes, *place, f"policy.path={last.folder / 'policy'}"]


def test_the_hash_is_of_what_is_resolved(configs):
    """A default that is written out is the same run; a changed base is another."""
    first = plan(ablation(configs, "grid: {reward.preset: [roam]}"))[0]
    same = plan(ablation(configs, "grid: {reward.preset: [roam]}\nset: {grpo.max_steps: 1}"))[0]
    assert same.digest == first.digest and same.folder == first.folder
    for name, old, new in (
        ("train", "max_steps: 1", "max_steps: 2"),
        ("eval", "limit: 2", "limit: 3"),
    ):
        config = configs / f"{name}.yaml"
        text = config.read_text()
        config.write_text(text.replace(old, new))
        assert plan(ablation(configs, "grid: {reward.preset: [roam]}"))[0].digest != first.digest
        config.write_text(text)


def test_a_training_can_be_launched_otherwise(configs):
    text = "grid: {reward.preset: [roam]}\nlaunch: accelerate launch -m anomalyr1\n"
    run = plan(ablation(configs, text))[0]
    assert command(run, "train")[:5] == ["accelerate", "launch", "-m", "anomalyr1", "train"]
    assert command(run, "eval")[1:4] == ["-m", "anomalyr1", "eval"]


BROKEN = [
    ("seeds: [0]", "expected `list`"),
    ("grids: {a: [1]}", "unknown key grids (nearest: grid)"),
    ("grid: {reward.preset: roam}", "expected grid.reward.preset to list values, found 'roam'"),
    ("list: {a: 3}", "expected list.a to map keys, found 3"),
    ("seeds: 3\nlist: {a: {}}", "expected seeds to be a list of whole numbers, found 3"),
    ("list: {a: {reward.presets: paper}}", "unknown key reward.presets (nearest: preset)"),
    ("list: {a: {reward.preset: papper}}", "did you mean 'paper'"),
    ("list: {a: {grpo.betta: 0.1}}", "unknown key grpo.betta (nearest: beta)"),
    ("grid: {eval.limit: [1, many]}", "eval.limit: expected int, found 'many'"),
    ("list: {a: [", "expected a readable ablation"),
]


@pytest.mark.parametrize(("text", "expected"), BROKEN)
def test_a_broken_file_is_refused_before_anything_runs(configs, text, expected):
    with pytest.raises(InputError) as refused:
        ablate(ablation(configs, text))
    assert expected in str(refused.value) and "\n" not in str(refused.value)
    assert not (configs / "runs").exists()


def test_a_missing_file_or_base_is_named(configs):
    with pytest.raises(InputError, match="expected an ablation file at"):
        plan(configs / "none.yaml")
    (configs / "terms.yaml").write_text("base: train.yaml\nrun_dir: runs\nlist: {a: {}}\n")
    with pytest.raises(InputError, match="expected eval to be a path, found None"):
        plan(configs / "terms.yaml")


RESULTS = [
    Result("roam", 0, "a", measures={"reward": 1.0, "accuracy": 0.5, "strict accuracy": 60.0}),
    Result("roam", 1, "b", measures={"reward": 2.0, "accuracy": 0.7, "strict accuracy": 64.0}),
    Result("paper", 0, "c", measures={"reward": 0.5, "iou": 0.25, "box F1@0.5": 12.5}),
    Result("paper", 1, "d", stage="train", message="error: out of memory"),
]


def test_the_tables_by_hand():
    lines = summarize(RESULTS)
    shown = markdown(lines, Path("configs/terms.yaml"), RESULTS).splitlines()
    assert shown[2] == "`anomalyr1 ablate configs/terms.yaml`"
    assert shown[4:8] == [
        "| variant | seeds | reward | accuracy | iou | strict accuracy | box F1@0.5 |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        # sd with n - 1: sqrt(2 * 0.5^2), sqrt(2 * 0.1^2), sqrt(2 * 2^2)
        "| roam | 2/2 | 1.500 ± 0.707 | 0.600 ± 0.141 | - | 62.0 ± 2.8 | - |",
        "| paper | 1/2 | 0.500 | - | 0.250 | - | 12.5 |",
    ]
    assert shown[-1] == "- paper, seed 1: train: error: out of memory"
    table = list(csv.reader(comma_separated(lines).splitlines()))
    assert table[0][:5] == ["variant", "finished", "tried", "reward mean", "reward sd"]
    assert table[2][:5] == ["paper", "1", "2", "0.5", ""]
    assert float(table[1][4]) == pytest.approx(0.5**0.5)


def test_the_rewards_are_those_of_the_last_ten_steps(tmp_path):
    entries = [
        {"step": step, "reward": float(step), "rewards/iou/mean": 1.0 if step == 7 else None,
         "rewards/iou/std": 9.0, "outcome/malformed": 1.0}
        for step in range(1, 16)
    ]  # fmt: skip
    entries.append({"step": 15, "train_runtime": 3.0})
    text = "".join(json.dumps(entry) + "\n" for entry in entries)
    (tmp_path / "log_history.jsonl").write_text(text)
    metrics = {"macro": {"strict": None}, "localization": {"boxes": {"pooled": {"f1@0.5": 40.0}}}}
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    mean = sum(range(6, 16)) / 10
    assert measure(tmp_path) == {"reward": mean, "iou": 1.0, "box F1@0.5": 40.0}


def test_a_result_of_another_config_is_not_taken(tmp_path):
    assert read_result(tmp_path, "a") is None
    write_result(tmp_path, RESULTS[0])
    assert read_result(tmp_path, "a") == RESULTS[0] and read_result(tmp_path, "b") is None


def test_runs_are_recorded_skipped_and_taken_up_again(configs):
    """One variant cannot be evaluated at first: the other is not held up, and is not run twice."""
    path = ablation(
        configs,
        "list:\n  fine: {}\n  cut: {prompt.template: inspect, eval.benchmark: /nowhere}\n",
    )
    result = invoke(app, "ablate", path)
    assert result.exit_code == 1, result.output
    assert "[2/2] cut, seed 0: " in result.output and "eval failed: " in result.output
    table = (configs / "runs/table.md").read_text()
    assert "| fine | 1/1 |" in table and "| cut | 0/1 |" in table
    assert "- cut, seed 0: eval: " in table
    fine, cut = plan(path)
    measures = read_result(fine.folder, fine.digest).measures
    assert {"reward", "accuracy", "consistency", "format", "iou", "strict accuracy"} <= set(
        measures
    )
    for name in ("config.yaml", "eval.yaml", "train.log", "predictions.jsonl", "metrics.json"):
        assert (fine.folder / name).is_file(), name
    trained = (fine.folder / "train.log").stat().st_mtime_ns
    after = (cut.folder / "train.log").stat().st_mtime_ns

    folder, results = ablate(path)
    assert [r.stage for r in results] == [None, "eval"] and folder == configs / "runs"
    assert (fine.folder / "train.log").stat().st_mtime_ns == trained  # finished: skipped
    assert (cut.folder / "train.log").stat().st_mtime_ns == after  # trained: only evaluated
    rows = list(csv.DictReader((configs / "runs/table.csv").read_text().splitlines()))
    assert float(rows[0]["reward mean"]) == pytest.approx(measures["reward"])


def test_a_training_that_cannot_start_is_recorded(configs):
    path = ablation(configs, "list: {a: {}}\nlaunch: no-such-program\n")
    _, (result,) = ablate(path)
    assert result.stage == "train" and "no-such-program" in result.message


@pytest.mark.parametrize("name", ["roam_terms", "roam_terms_cpu"])
def test_the_shipped_ablations_are_valid(name):
    runs = plan(REPOSITORY / f"configs/ablations/{name}.yaml")
    presets = {"roam", "paper", "no-iou", "accuracy-only"} | (
        {"no-consistency"} if name == "roam_terms" else set()
    )
    assert {run.variant for run in runs} == {f"reward.preset={preset}" for preset in presets}
    assert len(runs) == len(presets) * (3 if name == "roam_terms" else 2)
