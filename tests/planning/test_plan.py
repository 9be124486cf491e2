"""The whole plan: what it says of a run, what it advises, and the command."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import pytest
from commands import REPOSITORY, completed, invoke

from anomalyr1.cli import app
from anomalyr1.config import Config, DataConfig, PolicyConfig, load_config
from anomalyr1.errors import InputError
from anomalyr1.planning.architecture import read_architecture
from anomalyr1.planning.plan import make_plan
from anomalyr1.planning.tokens import prompt_tokens
from anomalyr1.policy.family import QWEN2_5_VL
from anomalyr1.policy.load import load_processor
from anomalyr1.rows import build_rows, open_benchmark

GRPO = REPOSITORY / "configs" / "grpo"
LAUNCHES = REPOSITORY / "configs" / "accelerate"


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="module")
def full():
    """Full fine-tuning of the 3B policy on four GPUs."""
    config = load_config(GRPO / "qwen2_5_vl_3b_roam.yaml")
    return make_plan(config, LAUNCHES / "zero3.yaml")


def test_prompts_are_measured_as_training_meets_them(tiny_policy, toy_benchmark):
    policy = PolicyConfig(path=str(tiny_policy), max_pixels=112 * 112)
    config = Config(policy=policy, data=DataConfig(benchmark=str(toy_benchmark)))
    found = prompt_tokens(config, read_architecture(policy))
    _, samples = open_benchmark(str(toy_benchmark), "data.benchmark", config.prompt)
    rows = build_rows(samples, config.prompt, load_processor(policy), QWEN2_5_VL)
    assert (found.rows, found.over) == (len(rows), 0)
    assert found.longest == max(row.tokens for row in rows)
    assert found.mean == pytest.approx(sum(row.tokens for row in rows) / len(rows))
    assert (found.images, found.patches) == (2, 2 * 64)  # two images of 112 x 112
    short = replace(config, prompt=replace(config.prompt, max_prompt_tokens=found.longest - 1))
    over = prompt_tokens(short, read_architecture(policy)).over
    assert over == sum(row.tokens == found.longest for row in rows) > 0


def test_prompts_are_estimated_without_data(tiny_policy):
    policy = PolicyConfig(path=str(tiny_policy), max_pixels=56 * 56)
    config = Config(policy=policy, data=DataConfig(benchmark="nowhere"))
    found = prompt_tokens(config, read_architecture(policy))
    assert found.rows == 0 and "benchmark is not here" in found.source
    assert (found.images, found.patches) == (2, 2 * 16)
    assert found.longest > 2 * 4


def test_missing_images_do_not_stop_the_plan(tiny_policy, toy_benchmark, tmp_path):
    (tmp_path / "mmad.json").write_text((toy_benchmark / "mmad.json").read_text())
    policy = PolicyConfig(path=str(tiny_policy))
    config = Config(policy=policy, data=DataConfig(benchmark=str(tmp_path)))
    found = prompt_tokens(config, read_architecture(policy))
    assert found.rows == 0 and "cannot be read" in found.source


def test_a_large_run_is_planned_in_all_forms(full):
    assert full.estimate.parameters["language"].trained == 3_085_938_688
    forms = {(p.shared, p.checkpointing): p.worst.total for p in full.estimate.passes}
    assert len(forms) == 4
    assert forms[True, True] < forms[False, True] < forms[False, False]
    assert forms[True, False] < forms[False, False]
    phases = full.estimate.phases
    assert set(phases) == {"rollout", "scoring", "training pass", "optimiser step"}
    # a quarter of 3.75 G weights in 16 bits
    assert phases["rollout"]["weights"] == 3_754_622_976 * 2 // 4
    assert full.estimate.peak == max(sum(parts.values()) for parts in phases.values())


def test_an_adapter_saves_where_the_states_are_what_is_large(full):
    assert any(saving.what == "policy.lora.r=64" for saving in full.advice.single)


def test_advice_lowers_the_estimate():
    """What the advice says a change brings is what planning with that change gives."""
    overrides = ["grpo.gradient_checkpointing=false", "grpo.beta=0"]
    path = GRPO / "qwen2_5_vl_3b_roam.yaml"
    launch = LAUNCHES / "zero2.yaml"
    plan = make_plan(load_config(path, overrides), launch)
    savings = plan.advice.single
    assert [s.saved for s in savings] == sorted((s.saved for s in savings), reverse=True)
    assert {s.what.split("=")[0] for s in savings} >= {
        "grpo.gradient_checkpointing",
        "policy.max_pixels",
        "grpo.max_completion_length",
        "grpo.per_device_train_batch_size",
    }
    for saving in savings:
        assert saving.saved == plan.estimate.peak - saving.peak > 0
        again = make_plan(load_config(path, [*overrides, *saving.what.split()]), launch)
        assert again.estimate.peak == saving.peak, saving.what
    # Without checkpointing an adapter keeps more activations than it saves in optimiser state.
    assert not any(saving.what.startswith("policy.lora") for saving in savings)
    peaks = [plan.estimate.peak, *(step.peak for step in plan.advice.together)]
    assert peaks == sorted(peaks, reverse=True) and len(peaks) > 1


@pytest.mark.parametrize(
    ("name", "launch"),
    [
        ("tiny_cpu", None),
        ("qwen2_5_vl_3b_roam", "zero3"),
        ("qwen2_5_vl_3b_lora", "ddp"),
        ("qwen2_5_vl_3b_roam", "fsdp2"),
        ("qwen2_5_vl_3b_roam", "zero3_offload"),
    ],
)
def test_the_command_on_configs_of_the_project(name, launch, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    arguments = ["plan", str(GRPO / f"{name}.yaml"), "data.benchmark=nowhere"]
    if launch is not None:
        arguments += ["--accelerate", str(LAUNCHES / f"{launch}.yaml")]
    done = invoke(app, *arguments)
    assert done.exit_code == 0
    assert done.stdout.startswith("anomalyr1 train, ")
    for words in ("Parameters", "G(P+C) / (P+GC)", "training pass", "Peak: "):
        assert words in done.stdout
    assert ("published numbers" in done.stdout) is (launch is not None)
    if launch == "zero3":
        assert " fits ┃" in done.stdout and "24 GB │" in done.stdout  # nothing is cropped
    assert max(len(line) for line in done.stdout.splitlines()) <= 100


def test_json_says_the_same(tiny_policy):
    arguments = ["plan", str(GRPO / "tiny_cpu.yaml"), "data.benchmark=nowhere", "--json"]
    done = invoke(app, *arguments, f"policy.path={tiny_policy}")
    found = json.loads(done.stdout)
    assert found["peak"]["bytes"] == sum(found["phases"][found["peak"]["phase"]].values())
    assert found["sharing"]["limit_ratio_longest"] > 1
    assert found["parameters"]["LoRA"] == {"total": 0, "trained": 0}
    assert set(found["fits"]) == {"24", "40", "80"}


def test_a_mistake_is_one_line():
    with pytest.raises(InputError) as caught:
        invoke(app, "plan", GRPO / "tiny_cpu.yaml", "--gpus", "0")
    assert str(caught.value) == "expected at least 1 GPU, found 0; give another --gpus"


def test_what_train_refuses_is_not_planned():
    for name in ("sft/tiny_cpu", "eval/tiny_cpu"):
        with pytest.raises(InputError, match=rf"`anomalyr1 train`.* one of {name[:3]}"):
            invoke(app, "plan", REPOSITORY / f"configs/{name}.yaml")
    with pytest.raises(InputError, match=r"grpo\.epsilon_high=0\.3 \(needs grpo\.loss_type"):
        invoke(app, "plan", GRPO / "tiny_cpu.yaml", "grpo.epsilon_high=0.3", "grpo.loss_type=sapo")
    with pytest.raises(
        InputError, match=r"expected FSDP in a launch file.* found grpo\.fsdp=True;"
    ):
        invoke(app, "plan", GRPO / "tiny_cpu.yaml", "grpo.fsdp=true")


@pytest.mark.slow
def test_the_plan_is_what_a_real_pass_takes():
    """Each measured case is within 30 % of its estimate."""
    done = completed([sys.executable, "scripts/check_plan.py", "--policy", "tiny"], timeout=1200)
    ratios = json.loads(done.stdout.splitlines()[-1])["ratios"]
    assert len(ratios) >= 10
    assert all(0.7 < ratio < 1.3 for ratio in ratios), ratios
