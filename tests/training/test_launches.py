"""The launch files through the trainer itself, on two processes that are taken for GPUs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from commands import REPOSITORY, accelerate, completed
from families import FIRST, in_each_family
from tiny_runs import history, write_config

from anomalyr1.training.checkpoint_files import FILES

KINDS = {"fsdp2": "FSDP", "zero2": "DEEPSPEED", "zero3": "DEEPSPEED"}
SETTINGS = {
    "max_steps": 3,
    "save_steps": 1,
    "logging_steps": 1,
    "per_device_train_batch_size": 8,
    "num_generations": 4,
    "max_completion_length": 32,
    "learning_rate": 0.001,
    "lr_scheduler_type": "constant",
    "beta": 0.04,
    "top_k": 5,
    "report_to": "none",
    "bf16": True,
}


@pytest.fixture(scope="module")
def config(tmp_path_factory, policy_path, toy_benchmark) -> Path:
    return write_config(
        tmp_path_factory.mktemp("launches") / "train.yaml",
        policy={"path": policy_path, "max_pixels": 12544, "freeze_projector": True},
        data={"benchmark": toy_benchmark},
        preflight={"skip": True},
        # A policy that knows nothing repeats itself, some completions more than others.
        reward={"weights": {"repetition": 1.0}, "repetition": {"ngram": 1}},
        grpo=SETTINGS,
    )


def launch(config: Path, launch_file: Path, run_dir: Path, *options: str):
    command = accelerate(
        "--config_file", launch_file, "--num_processes", 2,
        "tests/launched/as_gpus.py", "train", config, f"run_dir={run_dir}", *options,
    )  # fmt: skip
    return completed(command, status=None, DS_ACCELERATOR="cpu", OMP_NUM_THREADS="1")


def train(config: Path, kind: str, run_dir: Path, *options: str) -> list[dict]:
    done = launch(config, REPOSITORY / f"configs/accelerate/{kind}.yaml", run_dir, *options)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert done.stdout.count(f"distributed type: {KINDS[kind]}\n") == 2
    return history(run_dir)


@pytest.mark.slow
@in_each_family
@pytest.mark.parametrize("lora", [False, True], ids=["whole", "lora"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_launch_equals_an_unbroken_one(kind, lora, config, tmp_path):
    options = ["policy.lora.r=4"] if lora else []
    unbroken = train(config, kind, tmp_path / "run", *options)
    assert [entry["step"] for entry in unbroken] == [1, 2, 3]
    assert max(entry["grad_norm"] for entry in unbroken) > 0 and unbroken[-1]["kl"] != 0
    saved = "adapter_model.safetensors" if lora else "model.safetensors"
    assert (tmp_path / "run/policy" / saved).is_file()
    shutil.copytree(tmp_path / "run", tmp_path / "cut")
    shutil.rmtree(tmp_path / "cut/policy")
    # Killed while the last checkpoint was being written.
    last = tmp_path / "cut/checkpoints/checkpoint-3"
    (last / "trainer_state.json").write_text('{"torn')
    (last / FILES).unlink()  # is written last
    resumed = train(config, kind, tmp_path / "cut", *options)
    assert [entry["step"] for entry in resumed] == [1, 2, 3]
    for key in ("loss", "reward", "kl", "entropy", "grad_norm", "completions/mean_length"):
        assert resumed[-1][key] == pytest.approx(unbroken[-1][key], rel=1e-5, abs=1e-7), key
    assert (tmp_path / "cut/policy" / saved).is_file()


@pytest.mark.slow
@pytest.mark.parametrize("policy_path", [FIRST], indirect=True)
def test_a_launch_file_that_disagrees_is_one_line(config, tmp_path):
    given = (REPOSITORY / "configs/accelerate/zero2.yaml").read_text()
    path = tmp_path / "zero2.yaml"
    path.write_text(given.replace("zero_stage: 2", "zero_stage: 2\n  gradient_clipping: 0.5"))
    done = launch(config, path, tmp_path / "run")
    assert done.returncode != 0 and "exitcode  : 2" in done.stderr
    assert "found gradient_clipping=0.5 vs hf max_grad_norm=1.0" in done.stderr
    assert "in train_policy" not in done.stderr  # no traceback of ours
