"""The whole loop from the command line: sft, train, kill, resume, eval, score, report."""

from __future__ import annotations

import json
import random
import re
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from commands import accelerate, completed, run_here
from forked import kill_when, run
from safetensors.torch import load_file
from tiny_runs import grpo, history, overrides, typed


def config(folder: Path, name: str, text: str = "seed: 0\n") -> Path:
    path = folder / name
    path.write_text(text)
    return path


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("loop")


@pytest.fixture(scope="module")
def tuned(work, tiny_policy, toy_benchmark) -> Path:
    """A policy that sft has taught the form of an answer."""
    options = overrides(
        "sft",
        tiny_policy,
        toy_benchmark,
        work / "sft",
        max_steps=50,
        save_steps=50,
        learning_rate=0.005,
    )
    run("sft", config(work, "sft.yaml"), *options)
    losses = [entry["loss"] for entry in history(work / "sft")]
    assert losses[-1] < 0.5 * losses[0]
    return work / "sft" / "policy"


@pytest.fixture(scope="module")
def trained(work, tuned, toy_benchmark) -> Path:
    options = grpo(tuned, toy_benchmark, work / "whole")
    out = run("train", config(work, "train.yaml"), *options, "keep_completions_every=2")
    assert f"policy: {work / 'whole' / 'policy'}" in out.replace("\n", "")
    return work / "whole"


def test_training_leaves_what_a_reader_needs(trained):
    entries = history(trained)
    assert [entry["step"] for entry in entries] == [1, 2, 3, 4, 5, 6]
    for key in ("reward", "rewards/accuracy/mean", "rewards/iou/mean", "outcome/malformed"):
        assert key in entries[0], sorted(entries[0])
    record = json.loads((trained / "provenance.json").read_text())["runs"][0]
    assert record["verb"] == "train" and len(record["data"]["sha256"]) == 64
    names = sorted(p.name for p in (trained / "completions").iterdir())
    assert names == [f"step-{step:05d}.jsonl" for step in (1, 2, 4, 6)]
    row = json.loads((trained / "completions" / names[-1]).read_text().splitlines()[0])
    assert {"completion", "answer", "options", "boxes", "rewards", "advantage"} <= row.keys()
    assert {p.name for p in (trained / "policy").iterdir()} >= {
        "model.safetensors",
        "processor_config.json",
        "tokenizer.json",
    }


def test_kept_completions_can_be_replayed(trained):
    out = run("reward", "replay", trained / "completions" / "step-00006.jsonl")
    assert "accuracy" in out
    scored = trained.parent / "scored.jsonl"
    for file in (trained / "completions").iterdir():
        run("reward", "replay", file, "--config", trained / "config.yaml", "--out", scored)
        kept, again = (
            [json.loads(line)["rewards"] for line in path.read_text().splitlines()]
            for path in (file, scored)
        )
        assert again == kept


def assert_continued(whole: Path, cut: Path) -> None:
    """Nothing is lost, nothing is there twice, and every figure is that of the unbroken run."""
    assert [entry["step"] for entry in history(cut)] == [1, 2, 3, 4, 5, 6]
    for a, b in zip(history(whole), history(cut), strict=True):
        for key in ("loss", "reward", "grad_norm", "entropy", "learning_rate"):
            assert b[key] == pytest.approx(a[key], abs=1e-5), (a["step"], key)
    left, right = (load_file(folder / "policy" / "model.safetensors") for folder in (whole, cut))
    assert max((left[name] - right[name]).abs().max().item() for name in left) < 1e-6


def test_training_that_was_killed_continues(work, trained, tuned, toy_benchmark):
    arguments = [
        "train",
        config(work, "train.yaml"),
        *grpo(tuned, toy_benchmark, work / "cut"),
    ]
    log = work / "cut" / "log_history.jsonl"
    kill_when(["anomalyr1", *arguments], lambda: log.exists() and '"step": 3' in log.read_text())
    assert not (work / "cut" / "policy").exists()
    run(*arguments)
    assert_continued(trained, work / "cut")


@pytest.mark.slow
def test_training_that_was_killed_three_times_continues(work, trained, tuned, toy_benchmark):
    folder = work / "cut_thrice"
    arguments = ["train", config(work, "train.yaml"), *grpo(tuned, toy_benchmark, folder)]
    log = folder / "log_history.jsonl"

    def steps() -> int:
        return len(log.read_text().splitlines()) if log.exists() else 0

    random_points = random.Random(time.time_ns())
    for _ in range(3):
        begun, moment = [0.0], random_points.uniform(0, 2.5)

        def ready(begun=begun, moment=moment) -> bool:
            begun[0] = begun[0] or (time.monotonic() if steps() else 0.0)
            if (folder / "policy").exists():  # the whole run was faster than the moment
                return True
            return bool(begun[0]) and time.monotonic() - begun[0] > moment

        kill_when(["anomalyr1", *arguments], ready)
        print(f"killed {moment:.2f} s after the first log, {steps()} steps logged")
        if (folder / "policy").exists():
            break
    run(*arguments)
    assert_continued(trained, folder)


def test_a_finished_run_is_not_overwritten(work, trained, tuned, toy_benchmark):
    options = grpo(tuned, toy_benchmark, trained)
    out = run("train", config(work, "train.yaml"), *options, "resume=never", status=2)
    assert "resume: never" in out


def test_a_torn_checkpoint_is_passed_over(tmp_path, monkeypatch):
    from anomalyr1.training.checkpoints import last_whole_checkpoint, prepare_run

    for step, state in ((2, "{}"), (4, '{"torn')):
        folder = tmp_path / "checkpoints" / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        (folder / "trainer_state.json").write_text(state)
        for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth", "pytorch_model_fsdp.bin"):
            (folder / name).touch()
    (tmp_path / "checkpoints" / "checkpoint-6").mkdir()
    assert last_whole_checkpoint(tmp_path).name == "checkpoint-2"
    with monkeypatch.context() as patch:  # one process of several removes it
        other = SimpleNamespace(is_main_process=False)
        patch.setattr("anomalyr1.training.checkpoints.PartialState", lambda: other)
        assert prepare_run(tmp_path, "auto").name == "checkpoint-2"
        assert (tmp_path / "checkpoints" / "checkpoint-4").is_dir()
    assert prepare_run(tmp_path, "auto").name == "checkpoint-2"
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["checkpoint-2"]


def evaluation(policy: Path, benchmark: Path, run_dir: Path, **more) -> list[str]:
    values = {
        "run_dir": run_dir,
        "policy.path": policy,
        "policy.max_pixels": 12544,
        "eval.benchmark": benchmark,
        "eval.batch_size": 4,
        "eval.max_new_tokens": 48,
        "eval.allow_seen": True,  # the toy benchmark is trained on and asked again
        **more,
    }
    return typed(values)


@pytest.fixture(scope="module")
def evaluated(work, trained, toy_benchmark) -> Path:
    options = evaluation(trained / "policy", toy_benchmark, work / "eval")
    run("eval", config(work, "eval.yaml"), *options)
    return work / "eval"


def test_evaluation_leaves_a_file_after_every_arrow(evaluated):
    rows = [json.loads(line) for line in (evaluated / "predictions.jsonl").open()]
    assert len(rows) == 24 and len({(r["image"], r["question_index"]) for r in rows}) == 24
    metrics = json.loads((evaluated / "metrics.json").read_text())
    assert metrics["mmad"]["strict"]["Average"]["Average"] is not None
    assert metrics["exposure"]["seen"]["images"] == 8
    assert metrics["exposure"]["unseen"]["images"] == 0
    assert {p.name for p in (evaluated / "masks").iterdir()} == {"box.jsonl", "grabcut.jsonl"}
    page = (evaluated / "report.html").read_text()
    # What a page would fetch, not what its text names (a server in the config).
    assert page.startswith("<!")
    assert not re.search(r"(src|href|action)\s*=\s*[\"']?https?:|url\(\s*[\"']?http", page)


def test_evaluation_that_was_killed_continues(work, evaluated, trained, toy_benchmark):
    options = evaluation(trained / "policy", toy_benchmark, work / "eval_cut")
    arguments = ["eval", config(work, "eval.yaml"), *options]
    path = work / "eval_cut" / "predictions.jsonl"
    kill_when(
        ["anomalyr1", *arguments], lambda: path.exists() and path.read_text().count("\n") >= 4
    )
    with path.open("a") as file:
        file.write('{"image": "torn')
    run(*arguments)
    keep = ("image", "question_index", "completion", "answer")
    whole, cut = (
        sorted(
            tuple(json.loads(line)[key] for key in keep)
            for line in (folder / "predictions.jsonl").open()
        )
        for folder in (evaluated, work / "eval_cut")
    )
    assert whole == cut


def test_predictions_of_another_policy_are_not_mixed_in(work, evaluated, tuned, toy_benchmark):
    options = evaluation(tuned, toy_benchmark, evaluated)
    out = run("eval", config(work, "eval.yaml"), *options, status=2)
    assert "come from the same" in out


def test_images_seen_in_training_are_refused(work, trained, toy_benchmark):
    options = evaluation(trained / "policy", toy_benchmark, work / "seen")
    out = run("eval", config(work, "eval.yaml"), *options, "eval.allow_seen=false", status=2)
    assert "8 image(s) it has seen" in out.replace("\n", " ")
    assert not (work / "seen" / "predictions.jsonl").exists()


def test_two_processes_end_with_one_policy(work, tuned, toy_benchmark):
    options = grpo(
        tuned,
        toy_benchmark,
        work / "two",
        max_steps=2,
        per_device_train_batch_size=4,
    )
    launch = accelerate(
        "--config_file", "configs/accelerate/cpu2.yaml", "--main_process_port", 0,
        "-m", "anomalyr1", "train", config(work, "train.yaml"), *options,
    )  # fmt: skip
    completed(launch, timeout=600)
    two = work / "two"
    assert [entry["step"] for entry in history(two)] == [1, 2]
    assert (two / "policy" / "model.safetensors").is_file()
    assert [p.name for p in (two / "checkpoints").glob("checkpoint-*")] == ["checkpoint-2"]


@pytest.mark.parametrize(
    ("verb", "change", "found"),
    [
        ("train", ["grpo.betta=1"], "unknown key grpo.betta (nearest: beta)"),
        ("train", ["polcy.path=x"], "unknown key polcy"),
        ("train", ["grpo.num_generations=3"], "expected a grpo section that TRL accepts"),
        ("train", ["policy.path=/nowhere/policy"], "policy.path=/nowhere/policy"),
        ("train", ["prompt.max_prompt_tokens=5"], "expected prompts of at most 5 tokens"),
        ("train", ["prompt.references=7"], "expected 7 reference image(s)"),
        ("eval", ["eval.benchmark=null"], "set eval.benchmark=FOLDER"),
        ("eval", ["segmentation.kind=sam2", "segmentation.checkpoint=/nowhere.pt"], "/nowhere.pt"),
    ],
)
def test_mistakes_are_one_line_and_status_2(verb, change, found, work, tuned, toy_benchmark):
    options = {
        "train": grpo(tuned, toy_benchmark, work / "mistake"),
        "eval": evaluation(tuned, toy_benchmark, work / "mistake"),
    }[verb]
    out = run_here(verb, config(work, f"{verb}.yaml"), *options, *change, status=2)
    assert found in out.replace("\n", " ")
    assert not (work / "mistake" / "predictions.jsonl").exists()
    assert not (work / "mistake" / "checkpoints" / "checkpoint-2").exists()


def test_a_missing_image_is_named(work, tuned, toy_benchmark, tmp_path):
    import shutil

    bench = tmp_path / "bench"
    shutil.copytree(toy_benchmark, bench)
    (bench / "Toy/tile/test/good/000.png").unlink()
    (bench / "Toy/tile/test/spot/003.png").unlink()
    out = run(
        "eval", config(work, "eval.yaml"), *evaluation(tuned, bench, tmp_path / "r"), status=2
    )
    assert "good/000.png" in out and "spot/003.png" in out and "2 missing" in out.replace("\n", " ")
