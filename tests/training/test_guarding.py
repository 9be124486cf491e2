"""What the guard says of a run, where it keeps it, and that it says it once."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from commands import REPOSITORY
from rich.console import Console
from test_watch import FAULTS, steps
from tiny_runs import ON_CPU, history
from transformers import TrainerControl, TrainerState

from anomalyr1.config import Config, DataConfig, GuardConfig, PolicyConfig, PreflightConfig
from anomalyr1.data.making.synthetic import synthesize
from anomalyr1.training.grpo import train
from anomalyr1.training.guarding import GuardCallback, groups_a_step

ARGUMENTS = SimpleNamespace(
    learning_rate=1e-3,
    beta=0.04,
    temperature=0.7,
    num_generations=8,
    max_completion_length=256,
    train_batch_size=16,
    world_size=2,
    gradient_accumulation_steps=3,
    num_iterations=2,
)
SHORT_WINDOW = GuardConfig(window=4, groups=1)


def run(folder: Path, rows: list[dict], *, known: int = 0, first=True, guard=SHORT_WINDOW) -> str:
    """What the guard prints of a run that starts with so many rows in its checkpoint."""
    printed = io.StringIO()
    guard = GuardCallback(folder, guard, Console(file=printed, width=40))
    state = TrainerState(log_history=rows[:known], global_step=known)
    state.is_world_process_zero = first
    guard.on_train_begin(ARGUMENTS, state, TrainerControl())
    for row in rows[known:]:
        state.global_step = row["step"]
        logs = {key: value for key, value in row.items() if key != "step"}
        guard.on_log(ARGUMENTS, state, TrainerControl(), logs=logs)
    return printed.getvalue()


def ended(folder: Path, rows: list[dict], known: int) -> None:
    guard = GuardCallback(folder, SHORT_WINDOW, Console(file=io.StringIO()))
    state = TrainerState(log_history=rows[:known], global_step=known)
    guard.on_train_begin(ARGUMENTS, state, TrainerControl())
    guard.on_train_end(ARGUMENTS, state, TrainerControl())


def kept(folder: Path) -> list[dict]:
    path = folder / "warnings.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


GENTLY = "lower grpo.learning_rate (now 0.001) or raise grpo.beta (now 0.04)"
LINES = {
    "sampler": "log-probabilities of vLLM and of the trainer are 0.14 nats a token apart; let both "
    "compute in one dtype (policy.dtype, grpo.bf16), leave quantization out of sampler.engine, or "
    "sample with transformers (grpo.use_vllm=false)",
    "kl": f"the policy is 1 nats a token away from the reference policy; {GENTLY}",
    "cut": f"50% of the completions end at grpo.max_completion_length; {GENTLY}, "
    "or raise it (now 256) where they grow for a reason",
    "outcome/malformed": f"100% of the completions cannot be read; {GENTLY}",
    "letter/none": f"90% of the answers to choice questions cannot be read; {GENTLY}",
    "letter": "B is the answer to 90% of the choice questions (60% of all answers are right); "
    f"{GENTLY}",
    "completions/mean_length": f"completions have 4 tokens, 40 at the start; {GENTLY}",
    "reasoning/characters": f"the reasoning has 15 characters, 60 at the start; {GENTLY}",
    "entropy": "the entropy is 0.001 nats a token, so that all completions are alike; "
    f"{GENTLY}, or raise grpo.temperature (now 0.7)",
    "flat": "in 100% of the groups no completion earns more than another; raise grpo.temperature "
    "(now 0.7) or grpo.num_generations (now 8), or set signal.zero_variance=resample",
    "boxes": "boxes have lost their place: set IoU 0.20, before 0.50 (60% of all answers are "
    f"right); {GENTLY}, or raise reward.weights.iou",
}


@pytest.mark.parametrize(("kind", "change", "key", "needs"), FAULTS)
def test_a_fault_is_one_line_that_says_what_to_do(kind, change, key, needs, tmp_path):
    printed = run(tmp_path, steps((8, {}), (30, change)))
    text = f"since step 9: {LINES.get(kind) or LINES[key]}"
    assert printed == f"warning: {text}\n"  # however narrow the terminal
    [line] = kept(tmp_path)
    assert line == {
        "step": 8 + needs, "since": 9, "kind": kind, "key": key, "follows": None, "text": text,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"completions/clipped_ratio": 1.0}, "raise it (now 256), or run `anomalyr1 sft` first"),
        ({"zero_variance": 1.0, "outcome/aligned_correct": 0.9}, "take harder questions"),
        ({"entropy": 0.001}, "are alike; raise grpo.temperature (now 0.7)\n"),
        ({"letter/B": 0.95}, "run `anomalyr1 sft` first, or set data.shuffle_options"),
        (
            {"outcome/malformed": 1.0, "fault/no_think": 0.2, "fault/no_answer": 0.7},
            "(most often no_answer: 70%); run `anomalyr1 sft` first, or raise grpo.max_completion",
        ),
    ],
)
def test_what_stood_at_the_first_step_has_another_remedy(change, said, tmp_path):
    printed = run(tmp_path, steps((30, change)))
    assert printed.startswith("warning: since step 1: ") and said in printed
    assert printed.count("\n") == 1


def test_a_run_that_learns_hears_nothing_and_has_no_file(tmp_path):
    assert run(tmp_path, steps((60, {}))) == "" and not kept(tmp_path)
    assert not (tmp_path / "warnings.jsonl").exists()
    broken = steps((8, {}), (30, {"kl": 9.0}))
    assert run(tmp_path, broken, guard=GuardConfig(enabled=False)) == "" and not kept(tmp_path)


def test_only_the_first_process_speaks(tmp_path):
    assert run(tmp_path, steps((8, {}), (30, {"kl": 9.0})), first=False) == ""
    assert not kept(tmp_path)


def test_consequences_are_kept_and_not_printed(tmp_path):
    printed = run(tmp_path, steps((8, {}), (30, {"kl": 9.0, "zero_variance": 1.0})))
    assert printed.count("warning") == 1 and "reference policy" in printed
    assert [(line["kind"], line["follows"]) for line in kept(tmp_path)] == [
        ("kl", None),
        ("flat", "kl"),
    ]


BROKEN = steps((8, {}), (30, {"zero_variance": 1.0}))  # noticed at step 12


@pytest.mark.parametrize("known", [2, 11, 12, 13, 30])
def test_a_resumed_run_does_not_say_it_again(known, tmp_path):
    """Killed after step 30, it goes on from a checkpoint before or behind the warning."""
    assert run(tmp_path, BROKEN[:30]).count("warning") == 1
    before = kept(tmp_path)
    assert run(tmp_path, BROKEN[: known + 1], known=known) == ""  # and killed again
    assert kept(tmp_path) == before
    assert run(tmp_path, BROKEN, known=known) == "" and kept(tmp_path) == before


def test_what_comes_a_few_steps_off_is_the_same(tmp_path):
    run(tmp_path, BROKEN)
    later = steps((10, {}), (30, {"zero_variance": 1.0}))
    assert run(tmp_path, later, known=5) == ""
    assert [(line["step"], line["since"]) for line in kept(tmp_path)] == [(14, 11)]


def test_what_went_otherwise_after_a_resumption_is_forgotten(tmp_path):
    run(tmp_path, BROKEN)
    ended(tmp_path, steps((40, {})), known=40)
    assert not (tmp_path / "warnings.jsonl").exists()


def test_a_run_that_starts_anew_says_it_anew(tmp_path):
    run(tmp_path, BROKEN)
    assert run(tmp_path, BROKEN).count("warning") == 1 and len(kept(tmp_path)) == 1


def test_groups_are_counted_over_processes_and_accumulation():
    """16 completions x 2 processes x 3 micro-batches are 12 groups of 8, for two updates."""
    assert groups_a_step(ARGUMENTS) == 6


@pytest.fixture(scope="module")
def small_run(tmp_path_factory) -> Config:
    """Five steps of two groups, from the shipped policy."""
    folder = tmp_path_factory.mktemp("guard")
    synthesize(folder / "bench", train=8, test=2, seed=0)
    settings = {"per_device_train_batch_size": 8, "num_generations": 4, "loss_type": "grpo"}
    return Config(
        run_dir=str(folder / "run"),
        data=DataConfig(benchmark=str(folder / "bench" / "train"), shuffle_options=0),
        policy=PolicyConfig(
            path=str(REPOSITORY / "data/tiny-policy"), max_pixels=12544, freeze_vision=False
        ),
        preflight=PreflightConfig(skip=True),
        guard=GuardConfig(window=3, groups=1, flat_share=None),
        grpo={
            **ON_CPU, **settings, "max_completion_length": 96, "max_steps": 5, "beta": 0.01,
            "lr_scheduler_type": "constant", "save_steps": 5,
        },
    )  # fmt: skip


@pytest.mark.parametrize(("rate", "warned"), [(1e-6, False), (3e-2, True)])
def test_a_run_is_warned_of_a_rate_that_destroys_it(small_run, tmp_path, rate, warned, capsys):
    config = replace(
        small_run, run_dir=str(tmp_path), grpo={**small_run.grpo, "learning_rate": rate}
    )
    train(config)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning:")]
    assert len(history(tmp_path)) == 5 and len(lines) == warned
    assert bool(kept(tmp_path)) == warned
    if warned:
        first = kept(tmp_path)[0]
        moved = next(row["step"] for row in history(tmp_path) if row["grad_norm"] > 0)
        assert lines == [f"warning: {first['text']}"] and first["since"] <= moved + 1
        assert "lower grpo.learning_rate (now 0.03)" in lines[0]
