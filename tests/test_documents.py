"""Every config and every README command does what it says."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from commands import REPOSITORY, assert_torch_free

from anomalyr1.config import load_config

CONFIGS = sorted((REPOSITORY / "configs").rglob("*.yaml"))
RUNS = [path for path in CONFIGS if path.parent.name in ("grpo", "sft", "eval")]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_a_config_opens_with_its_command(path):
    first = path.read_text().splitlines()[0]
    assert first.startswith("# ") and str(path.relative_to(REPOSITORY)) in first
    assert isinstance(yaml.safe_load(path.read_text()), dict)


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.stem)
def test_a_run_config_is_accepted_by_us_and_by_trl(path):
    from trl import GRPOConfig, SFTConfig

    from anomalyr1.rewards.build import build_rewards
    from anomalyr1.training.arguments import trl_keys

    keys = {"grpo": trl_keys(GRPOConfig), "sft": trl_keys(SFTConfig)}
    config = load_config(path, verbatim=keys)
    terms, weights = build_rewards(config.reward)
    assert len(terms) == len(weights) > 0
    for section, kind in (("grpo", GRPOConfig), ("sft", SFTConfig)):
        values = dict(getattr(config, section))
        if values:  # a machine without a GPU refuses bf16
            kind(output_dir="unused", **{**values, "bf16": False, "use_cpu": True})


LAUNCHES = [path for path in CONFIGS if path.parent.name == "accelerate"]


@pytest.mark.parametrize("path", LAUNCHES, ids=lambda path: path.stem)
def test_a_launch_config_is_known_to_accelerate(path):
    from accelerate.commands.config.config_args import load_config_from_file
    from accelerate.utils import DeepSpeedPlugin, FullyShardedDataParallelPlugin

    config = load_config_from_file(str(path))  # refuses keys it does not know
    assert config.num_processes >= 1
    sections = yaml.safe_load(path.read_text())
    if "fsdp_config" in sections:
        import dataclasses

        known = {field.name for field in dataclasses.fields(FullyShardedDataParallelPlugin)}
        given = {key.removeprefix("fsdp_") for key in sections["fsdp_config"]}
        renamed = {"version", "offload_params", "transformer_layer_cls_to_wrap"}
        given = {"fsdp_version" if key == "version" else key for key in given}
        assert given - renamed <= known | {"transformer_cls_names_to_wrap", "cpu_offload"}
    if "deepspeed_config" in sections:
        assert DeepSpeedPlugin(zero_stage=sections["deepspeed_config"]["zero_stage"]) is not None


@pytest.mark.parametrize("path", sorted((REPOSITORY / "configs/deepspeed").glob("*.json")), ids=str)
def test_a_deepspeed_config_is_accepted_by_deepspeed(path):
    config = pytest.importorskip("deepspeed.runtime.config")
    values = json.loads(path.read_text())
    numbers = {"train_batch_size": 8, "train_micro_batch_size_per_gpu": 8}
    values.update(gradient_accumulation_steps=1, gradient_clipping=0.5, bf16={"enabled": True})
    values.update(numbers)
    zero = values["zero_optimization"]
    for key in [key for key, value in zero.items() if value == "auto"]:
        zero[key] = 1000
    read = config.DeepSpeedConfig(values)
    assert read.zero_config.stage == zero["stage"]


def test_the_multinode_script_says_what_it_would_run():
    script = str(REPOSITORY / "scripts" / "train_multinode.sh")
    arguments = ["configs/grpo/paper.yaml", "run_dir=runs/a b"]
    done = subprocess.run(
        [script, *arguments], capture_output=True, text=True, env={"PATH": os.environ["PATH"]}
    )
    assert done.returncode == 0 and "--num_processes 8" in done.stdout
    assert r"train configs/grpo/paper.yaml run_dir=runs/a\ b" in done.stdout
    done = subprocess.run([script, "nowhere.yaml"], capture_output=True, text=True)
    assert done.returncode == 2 and "expected a config" in done.stderr


def readme_commands() -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", (REPOSITORY / "README.md").read_text(), re.S)
    lines = [line.split("  #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith("anomalyr1 ")]


def test_readme_commands_run_in_their_order(tmp_path):
    for name in ("configs", "data"):
        shutil.copytree(REPOSITORY / name, tmp_path / name)
    commands = readme_commands()
    assert len(commands) >= 9
    for command in commands:
        done = subprocess.run(
            [sys.executable, "-m", *command.split()],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    run = tmp_path / "runs" / "demo"
    for name in ("policy", "predictions.jsonl", "metrics.json", "report.html", "completions"):
        assert (run / name).exists(), name


def test_readme_names_only_files_that_exist():
    text = (REPOSITORY / "README.md").read_text()
    named = set(re.findall(r"(?:configs|scripts|tests|anomalyr1)/[\w/]+\.(?:py|yaml|sh)", text))
    assert named and not [name for name in named if not (REPOSITORY / name).exists()]


def test_the_scripts_of_the_readme_are_executable():
    for name in ("quickstart.sh", "test.sh", "setup.sh", "train_multinode.sh"):
        path = Path(REPOSITORY / "scripts" / name)
        assert path.stat().st_mode & 0o111
        subprocess.run(["bash", "-n", str(path)], check=True)


def test_help_is_quick_because_torch_is_not_imported():
    code = "import anomalyr1, anomalyr1.cli"
    assert_torch_free(code)


def bench(*arguments) -> dict:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    record: dict = json.loads(done.stdout.splitlines()[-1])
    assert record["ratio"] > 0
    return record


def test_the_benchmarks_of_the_readme_run(tmp_path):
    plot = tmp_path / "bench.png"
    small, once = ["--images", "1", "--side", "56", "--completion", "6"], ["--repeats", "1"]
    record = bench("scripts/bench_grpo.py", *small, "--generations", "2", *once, "--plot", plot)
    assert plot.stat().st_size > 1000 and record["cases"][0]["token_limit"] > 1
    record = bench("scripts/bench_evaluation.py", *small, *once, "--questions", "2")
    assert record["questions_per_second"] > 0
    record = bench("scripts/bench_published.py", *small, "--layers", "1", "--generations", "2")
    assert record["distinct_tokens"] > 1 and record["parameters"] > 5e7
