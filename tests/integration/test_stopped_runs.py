"""Runs that are asked to stop: what they leave goes on, and their README says how."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest
from commands import REPOSITORY, accelerate, command, completed, run_here
from safetensors.torch import load_file
from tiny_runs import grpo, history, overrides, typed, write_config

from anomalyr1.evaluation import predict
from anomalyr1.run_lock import run_lock
from anomalyr1.training.callbacks import HistoryCallback

# Two steps a rollout, which is not cut in half.
TWICE = {"num_iterations": 2, "save_steps": 100, "max_completion_length": 12}


def send_at(monkeypatch, step: int, number: signal.Signals) -> None:
    """The signal comes behind this step, so that it is heard in the next."""
    stock = HistoryCallback.on_log

    def on_log(self, args, state, control, logs=None, **more):
        stock(self, args, state, control, logs, **more)
        if state.global_step == step and "loss" in (logs or {}):
            os.kill(os.getpid(), number)

    monkeypatch.setattr(HistoryCallback, "on_log", on_log)


def checkpoints(run_dir: Path) -> set[str]:
    return {path.name for path in (run_dir / "checkpoints").glob("checkpoint-*")}


def said_command(said: str) -> list[str]:
    """The words of the command that a stopped verb names, after `anomalyr1`."""
    said = said.split("stopped: what is written is whole; go on with\nanomalyr1 ")[1]
    return shlex.split(said.splitlines()[0])


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("stopped")
    write_config(folder / "run.yaml", seed=0)
    return folder


@pytest.fixture(scope="module")
def stopped(work, tiny_policy, toy_benchmark) -> tuple[Path, str]:
    """A training whose rollouts serve two steps, stopped in the third; and what it said."""
    options = [*grpo(tiny_policy, toy_benchmark, work / "cut", **TWICE), "resume=never"]
    with pytest.MonkeyPatch.context() as patch:
        send_at(patch, 2, signal.SIGINT)
        said = run_here("train", work / "run.yaml", *options, status=130)
    return work / "cut", said


@pytest.fixture(scope="module")
def resumed(stopped, toy_benchmark) -> Path:
    """The same, gone on with by the command that it named, and evaluated."""
    folder, said = stopped
    run_here(*said_command(said))
    more = {"eval.allow_seen": True, "eval.limit": 4, "eval.max_new_tokens": 16}
    config, policy = folder / "config.yaml", f"policy.path={folder / 'policy'}"
    run_here("eval", config, policy, f"eval.benchmark={toy_benchmark}", *typed(more))
    return folder


def test_a_training_stops_behind_a_checkpoint_between_two_rollouts(stopped):
    folder, said = stopped
    assert checkpoints(folder) == {"checkpoint-4"}
    assert not (folder / "policy").exists() and not (folder / "run.lock").exists()
    words = said_command(said)
    assert words[0] == "train" and words[-1] == "resume=auto"  # it was begun with resume=never


def test_it_goes_on_as_if_it_had_not_been_stopped(work, resumed, tiny_policy, toy_benchmark):
    options = grpo(tiny_policy, toy_benchmark, work / "whole", **TWICE)
    run_here("train", work / "run.yaml", *options)
    assert [entry["step"] for entry in history(resumed)] == [1, 2, 3, 4, 5, 6]
    for a, b in zip(history(work / "whole"), history(resumed), strict=True):
        assert b["loss"] == pytest.approx(a["loss"], abs=1e-6), a["step"]
    left, right = (load_file(f / "policy/model.safetensors") for f in (work / "whole", resumed))
    assert max((left[name] - right[name]).abs().max().item() for name in left) < 1e-6


def test_the_readme_of_a_run_names_its_files(resumed):
    text = (resumed / "README.md").read_text()
    named = set(re.findall(r"^\| `([^`]+)` \|", text, re.M))
    there = {f"{path.name}/" if path.is_dir() else path.name for path in resumed.iterdir()}
    passing = {"run.lock", "warnings.jsonl"}  # while it runs; where it does not learn
    assert there - {"README.md"} - passing == named - passing >= {"policy/", "report.html"}
    assert "resume=never" in text.splitlines()[2]  # the command it was begun with


def test_the_commands_of_the_readme_run(resumed, toy_benchmark, tmp_path):
    block = (resumed / "README.md").read_text().split("```text\n")[1].split("```")[0]
    lines = [line for line in block.splitlines() if not line.startswith("#")]
    verbs = [shlex.split(line)[1:3] for line in lines]
    assert [words[0] for words in verbs] == ["train", "eval", "reward", "score", "report"]
    for line in lines:
        run_here(*shlex.split(line)[1:])
    assert len(block.splitlines()) == 2 * len(lines)  # each says what it is for


def test_before_an_evaluation_the_readme_names_one(stopped, resumed, toy_benchmark):
    """As it stood when training had begun: the commands for what is not there yet."""
    from anomalyr1.config import load_config
    from anomalyr1.provenance import read_provenance
    from anomalyr1.run_readme import write_readme

    folder = stopped[0]
    runs = read_provenance(folder / "provenance.json")["runs"]
    runs = [run for run in runs if run["verb"] == "train"]
    out = folder.parent / "begun"
    write_readme(out, runs, load_config(folder / "config.yaml", ["policy.lora.r=8"]))
    block = (out / "README.md").read_text().split("```text\n")[1]
    policy = f"policy.path={out}/policy"
    assert f"anomalyr1 eval {out}/config.yaml {policy} eval.benchmark=BENCH\n" in block
    assert f"anomalyr1 merge {out} --out {out}/merged" in block
    assert f"anomalyr1 train {out}/config.yaml\n" in block


@pytest.mark.parametrize("verb", ["train", "sft", "eval", "ablate"])
def test_a_verb_is_refused_where_a_run_is_at_work(work, tiny_policy, toy_benchmark, verb):
    folder, evaluation = work / "taken", {"eval": {"benchmark": toy_benchmark}}
    write_config(work / "asked.yaml", **evaluation, policy={"path": tiny_policy})
    files = {"run_dir": folder, "base": "run.yaml", "eval": "asked.yaml", "list": {"one": {}}}
    config = write_config(work / "taken.yaml", **files) if verb == "ablate" else work / "run.yaml"
    words = [] if verb == "ablate" else [f"run_dir={folder}"]
    with run_lock(folder):
        said = run_here(verb, config, *words, status=2)
        assert f"error: expected no other run at work in {folder}, found process" in said
        assert [path.name for path in folder.iterdir()] == ["run.lock"]


def test_fine_tuning_hears_sigterm(work, tiny_policy, toy_benchmark, monkeypatch):
    options = overrides("sft", tiny_policy, toy_benchmark, work / "sft", max_steps=3, save_steps=50)
    with monkeypatch.context() as patch:
        send_at(patch, 1, signal.SIGTERM)
        said = run_here("sft", work / "run.yaml", *options, status=143)
    assert checkpoints(work / "sft") == {"checkpoint-2"}
    run_here(*said_command(said))
    assert (work / "sft" / "policy" / "model.safetensors").is_file()


def test_an_evaluation_keeps_what_was_answered(work, tiny_policy, toy_benchmark, monkeypatch):
    folder = work / "eval"
    more = {"policy.max_pixels": 12544, "eval.max_new_tokens": 8, "eval.batch_size": 3}
    options = typed({"run_dir": folder, "policy.path": tiny_policy, **more, "eval.limit": 3})
    append = predict.append_jsonl

    def interrupted(path, rows):
        append(path, rows)
        os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(predict, "append_jsonl", interrupted)
        words = ["eval", work / "run.yaml", *options, f"eval.benchmark={toy_benchmark}"]
        said = run_here(*words, status=130)
    assert len((folder / "predictions.jsonl").read_text().splitlines()) == 3
    said = run_here(*said_command(said))
    assert "3 of 9 questions were already answered" in said
    lines = map(json.loads, (folder / "predictions.jsonl").read_text().splitlines())
    asked = [(line["image"], line["question_index"]) for line in lines]
    assert len(asked) == len(set(asked)) == 9


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_two_processes_stop_at_one_step(work, tiny_policy, toy_benchmark, number):
    """The signal reaches both and their launcher, as from a terminal, or the launcher alone."""
    folder = work / f"two{number}"
    more = {"max_steps": 40, "per_device_train_batch_size": 4, "save_steps": 100}
    options = grpo(tiny_policy, toy_benchmark, folder, **more)
    launch = accelerate(
        "--config_file", "configs/accelerate/cpu2.yaml",
        "-m", "anomalyr1", "train", work / "run.yaml", *options,
    )  # fmt: skip
    process = subprocess.Popen(launch, cwd=REPOSITORY, start_new_session=True)
    log = folder / "log_history.jsonl"
    deadline = time.monotonic() + 300
    while not (log.exists() and '"step": 2' in log.read_text()):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
    assert process.wait(timeout=120) != 0
    [last] = checkpoints(folder)
    steps = int(last.rpartition("-")[2])
    assert 2 <= steps < 40 and not (folder / "run.lock").exists()
    more["max_steps"] = steps + 1
    again = [*launch[: -len(options)], *grpo(tiny_policy, toy_benchmark, folder, **more)]
    completed([*again, "resume=force"], timeout=300)
    assert [entry["step"] for entry in history(folder)] == list(range(1, steps + 2))


@pytest.mark.slow
def test_an_ablation_stops_behind_a_checkpoint(work, tiny_policy, toy_benchmark):
    options = grpo(tiny_policy, toy_benchmark, "x", max_steps=30, save_steps=100)[1:]
    evaluated = {"benchmark": toy_benchmark, "limit": 1, "allow_seen": True, "max_new_tokens": 8}
    write_config(work / "eval.yaml", eval=evaluated, segmentation={"kind": "none"})
    file = write_config(
        work / "ablation.yaml",
        run_dir=work / "ablation",
        base="run.yaml",
        eval="eval.yaml",
        list={"one": {}, "two": {"reward.preset": "paper"}},
    )
    words = command("ablate", file, *options)
    process = subprocess.Popen(
        words, cwd=REPOSITORY, start_new_session=True, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 300
    while not [
        p for p in work.glob("ablation/*/log_history.jsonl") if '"step": 2' in p.read_text()
    ]:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    said = process.communicate(timeout=120)[1]
    assert process.returncode == 130 and said_command(said)[0] == "ablate"
    [folder] = work.glob("ablation/*-seed0-*")
    assert len(checkpoints(folder)) == 1 and not (folder / "result.json").exists()
    assert not (work / "ablation" / "run.lock").exists()
    assert "anomalyr1 ablate" in (work / "ablation" / "README.md").read_text()
