"""Trainings by image in two processes: the same weights, the same images a step, the same end."""

from __future__ import annotations

from pathlib import Path

import pytest
from by_images import settings
from commands import REPOSITORY, accelerate, completed, kill_when
from families import in_each_family
from safetensors.torch import load_file
from tiny_runs import history

from anomalyr1.config import dump_config
from anomalyr1.run_folder import completions_file
from anomalyr1.storage import read_jsonl
from anomalyr1.training.checkpoint_files import FILES

KINDS = ("cpu2", "fsdp2", "zero2", "zero3")


def launch(kind: str, *command: object) -> list[str]:
    file = REPOSITORY / f"configs/accelerate/{kind}.yaml"
    options = ("--config_file", file, "--num_processes", 2, "--mixed_precision", "no")
    return accelerate(*options, *command)


def assert_equal(one: Path, other: Path, limit: float = 1e-4) -> None:
    """Two runs of three steps that learned the same."""
    left, right = history(one), history(other)
    assert [entry["step"] for entry in left] == [entry["step"] for entry in right] == [1, 2, 3]
    for a, b in zip(left, right, strict=True):
        assert a["grad_norm"] > 0
        for key in a.keys() & {"loss", "grad_norm", "reward", "kl", "entropy"}:
            assert b[key] == pytest.approx(a[key], rel=1e-3, abs=1e-4), key
    stock, ours = (load_file(folder / "policy/model.safetensors") for folder in (one, other))
    assert stock.keys() ^ ours.keys() <= {"lm_head.weight"}  # tied; FSDP saves it as well
    for name in stock.keys() & ours.keys():
        assert (stock[name] - ours[name]).abs().max() < limit, name


@pytest.mark.slow
@in_each_family
@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_learn_what_stock_learns(kind, policy_path, toy_benchmark, tmp_path):
    if kind.startswith("zero"):
        pytest.importorskip("deepspeed")
    script = ("tests/launched/by_images.py", tmp_path, policy_path, toy_benchmark)
    completed(launch(kind, *script), DS_ACCELERATOR="cpu", OMP_NUM_THREADS="1")
    # One process samples other completions, and TRL's supervised loss weighs processes alike.
    for verb in ("train", "sft"):
        assert_equal(tmp_path / f"{verb}-stock", tmp_path / f"{verb}-trees")
    for step in (1, 2, 3):  # eight completions a process, of two questions of one image
        rows = read_jsonl(tmp_path / "train-trees" / completions_file(step))
        for first in (0, 8):
            asked = {row["sample_id"] for row in rows[first : first + 8]}
            assert len(asked) == 2 and len({one.split("#")[0] for one in asked}) == 1


@pytest.mark.slow
@in_each_family
def test_killed_in_the_middle_it_goes_on_exactly(policy_path, toy_benchmark, tmp_path):
    """Both processes are killed in their second step, or while they write what it leaves."""
    policy, benchmark = str(policy_path), str(toy_benchmark)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    path = tmp_path / "train.yaml"
    config = settings(whole, policy, benchmark, processes=2, shared=True)
    config.grpo["save_steps"] = 1
    path.write_text(dump_config(config))
    verb = launch("cpu2", "-m", "anomalyr1", "train", path)
    first = killed / "checkpoints/checkpoint-1" / FILES
    kill_when([*verb, f"run_dir={killed}"], first.is_file)
    assert not (killed / "policy").exists()
    for folder in (whole, killed):
        done = completed([*verb, f"run_dir={folder}"])
    assert "going on from it" in done.stdout + done.stderr
    assert_equal(whole, killed, 1e-6)
