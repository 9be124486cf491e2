"""The trial before the first step: what it measures, when it refuses, that it leaves no trace."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
import tiny_runs
import torch
from commands import REPOSITORY, completed, invoke, torchrun
from rich.console import Console
from tiny_trainer import SMALL, dataset, make_trainer
from trl import GRPOConfig
from typer.testing import CliRunner

import anomalyr1.training.grpo as grpo
import anomalyr1.training.preflight as module
from anomalyr1.cli.rewards import app
from anomalyr1.config import load_config
from anomalyr1.errors import InputError
from anomalyr1.policy.generate import Completion
from anomalyr1.policy.load import load_policy
from anomalyr1.rewards.build import build_rewards
from anomalyr1.training.arguments import trl_arguments
from anomalyr1.training.feed import training_rows
from anomalyr1.training.preflight import (
    dry_run,
    preflight,
    sample_groups,
    sampling,
    spread,
)
from anomalyr1.training.preflight_report import print_report
from anomalyr1.training.trial import judge

RIGHT = "<think>So the answer is {0}.</think><answer>{0}</answer>"
SILENT = "<think>Hm.</think><answer>{0}</answer>"


@pytest.fixture
def overrides(tmp_path, toy_benchmark, tiny_policy) -> list[str]:
    settings = {"num_generations": 4, "max_completion_length": 12, "max_steps": 1, "save_steps": 1}
    run = tiny_runs.overrides("grpo", tiny_policy, toy_benchmark, tmp_path / "run", **settings)
    return [*run, "preflight.prompts=3"]


@pytest.fixture
def empty_config(tmp_path):
    path = tmp_path / "train.yaml"
    path.write_text("seed: 0\n")
    return path


@pytest.fixture
def config(empty_config, overrides):
    return load_config(empty_config, overrides)


@pytest.fixture
def policy(config):
    return load_policy(config.policy)


@pytest.fixture
def rows(config, policy):
    return training_rows(config, policy.processor, policy.family)[1]


def by_type(rows, question_type):
    return next(row for row in rows if row.question.type == question_type)


def test_prompts_are_spread_over_the_question_types(rows):
    chosen = spread(rows, 7, seed=0)
    types = [row.question.type for row in chosen]
    assert [types.count(t) for t in sorted(set(types))] == [3, 2, 2]
    assert [row.sample_id for row in spread(rows, 7, seed=0)] == [r.sample_id for r in chosen]
    assert [row.sample_id for row in spread(rows, 7, seed=1)] != [r.sample_id for r in chosen]
    assert len(spread(rows, 1000, seed=0)) == len(rows)


def test_terms_by_hand(rows):
    """Two choice groups of two: right and wrong; twice right, once without a conclusion."""
    row = by_type(rows, "Object Classification")  # C of A-D
    groups = [
        [RIGHT.format("C"), RIGHT.format("A")],  # 1+1+.5, 0+.1+.5
        [RIGHT.format("C"), SILENT.format("C")],  # 1+1+.5, 1+.8+.5
    ]
    terms, weights = build_rewards(load_config(REPOSITORY / "configs/grpo/tiny_cpu.yaml").reward)
    sampled = [[Completion(text, (1, 2)) for text in group] for group in groups]
    trial = judge([row, row], sampled, terms, weights)
    found = {term.name: term for term in trial.terms}
    assert {n: t.mean for n, t in found.items()} == {
        "accuracy": pytest.approx(0.75),
        "consistency": pytest.approx((1 + 0.1 + 1 + 0.8) / 4),
        "format": 1.0,
        "iou": None,
        "total": pytest.approx((2.5 + 0.6 + 2.5 + 2.3) / 4),
    }
    assert found["accuracy"].sd == pytest.approx(0.75**0.5 / 2)
    assert {n: (t.flat, t.groups) for n, t in found.items()} == {
        "accuracy": (1, 2),
        "consistency": (0, 2),
        "format": (2, 2),
        "iou": (0, 0),
        "total": (0, 2),
    }
    assert [n for n, t in found.items() if t.is_dead] == ["format", "iou"]
    assert trial.format_rate == 1.0
    assert trial.outcomes == {
        "aligned_correct": 0.5, "aligned_wrong": 0.25, "silent_correct": 0.25,
    }  # fmt: skip
    question, completion, rewards = trial.example
    assert question == "What is in the image?" and completion == groups[0][0]
    assert rewards == {"accuracy": 1.0, "consistency": 1.0, "format": 1.0, "iou": None}


def scripted(monkeypatch, texts):
    """The policy says these, over and over."""

    def complete(policy, conversations, images, **_):
        said = (texts[index % len(texts)] for index in range(len(conversations)))
        return [Completion(text, (7,)) for text in said]

    monkeypatch.setattr(module, "complete", complete)


def trial_of(config, rows, policy, console=None):
    arguments = trl_arguments(GRPOConfig, "grpo", config.grpo, config)
    terms, weights = build_rewards(config.reward)
    console = console or Console(quiet=True)
    return preflight(config, arguments, policy, rows, terms, weights, console=console)


def test_completions_that_differ_may_start(monkeypatch, config, rows, policy):
    scripted(monkeypatch, [RIGHT.format("A"), SILENT.format("B"), "nonsense", RIGHT.format("C")])
    trial = trial_of(config, rows, policy)
    assert (trial.groups, trial.generations) == (3, 4)
    assert not trial.total.is_dead


def test_unreadable_completions_are_refused(monkeypatch, config, rows, policy):
    scripted(monkeypatch, ["The part is fine.", "<answer>A"])
    expected = (
        r"found a format rate of 0 in 3 groups of 4 completions \(most often: no_think, 100%\); "
        r"run `anomalyr1 sft` first, or raise grpo.max_completion_length \(now 12\)"
    )
    with pytest.raises(InputError, match=expected):
        trial_of(config, rows, policy)


def test_zero_variance_everywhere_is_refused_and_the_dead_terms_named(
    monkeypatch, config, rows, policy
):
    choices = [row for row in rows if row.question.options]
    scripted(monkeypatch, [SILENT.format("A")])
    with pytest.raises(InputError) as refused:
        trial_of(config, choices, policy)
    message = str(refused.value)
    assert "\n" not in message
    assert "zero reward variance in all of 3 groups of 4 completions" in message
    assert "format (always 1.00), iou (applies to no question)" in message
    assert "accuracy (the same within every group)" in message
    assert "raise grpo.temperature (now 1.0)" in message and "preflight.skip=true" in message


def test_the_table_shows_terms_outcomes_and_an_example(monkeypatch, config, rows, policy):
    scripted(monkeypatch, [RIGHT.format("A"), "[bold]nonsense", SILENT.format("B"), "x"])
    trial = trial_of(config, rows, policy)
    console = Console(record=True, width=100, file=io.StringIO())
    print_report(trial, console)
    shown = console.export_text()
    for text in ("3 questions, 4 completions each", "accuracy", "total", "zero variance"):
        assert text in shown
    assert "outcomes: " in shown and "faults: no_" in shown
    assert trial.example[1] in shown


def test_sampling_is_seeded_and_leaves_no_trace(config, rows, policy):
    arguments = trl_arguments(GRPOConfig, "grpo", config.grpo, config)
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    policy.model.train()
    first = sample_groups(config, arguments, policy, rows[:3])
    assert policy.model.training
    assert torch.equal(torch.rand(3), expected)
    assert sample_groups(config, arguments, policy, rows[:3]) == first
    assert [len(group) for group in first] == [4, 4, 4]
    assert all(completion.ids for group in first for completion in group)
    assert (
        len({completion.text for group in first for completion in group}) > 6
    )  # drawn, not greedy


DRAWN = {
    "temperature": 0.8,
    "top_p": 0.9,
    "top_k": 7,
    "min_p": 0.05,
    "repetition_penalty": 1.2,
    "generation_kwargs": {"typical_p": 0.9, "top_k": 3, "max_new_tokens": 5, "nothing": 1},
}


@pytest.mark.parametrize("drawn", [DRAWN, {}], ids=["as told", "by default"])
def test_sampling_is_set_as_the_trainer_sets_it(tiny_policy, tmp_path, drawn):
    trainer = make_trainer(tiny_policy, tmp_path, dataset([[SMALL]]), **drawn)
    ours = sampling(trainer.args, trainer.model)
    whole = trainer.generation_config.to_dict()
    known = {key for key in trainer.generation_kwargs if key in whole}
    said = {"do_sample", "pad_token_id", "bos_token_id", "eos_token_id"}
    said |= set() if drawn else {"max_new_tokens"}
    assert ours == {key: trainer.generation_kwargs[key] for key in known - said - {"nothing"}}


def test_completions_are_drawn_as_training_draws_them(config, rows, policy):
    def groups(**settings):
        arguments = trl_arguments(GRPOConfig, "grpo", {**config.grpo, **settings}, config)
        sampled = sample_groups(config, arguments, policy, rows[:3])
        return [[completion.ids for completion in group] for group in sampled]

    assert all(len(set(group)) > 1 for group in groups())
    assert all(len(set(group)) == 1 for group in groups(top_k=1))
    short = groups(generation_kwargs={"max_new_tokens": 3})
    assert {len(ids) for group in short for ids in group} <= {1, 2, 3}
    assert groups(top_k=1, repetition_penalty=100.0) != groups(top_k=1)
    # Beams go on from no shared cache, here as in training.
    beams = groups(generation_kwargs={"num_beams": 2, "do_sample": False})
    assert all(len(set(group)) == 1 for group in beams)


def test_it_says_what_vllm_would_have_read(monkeypatch, config, rows, policy):
    scripted(monkeypatch, [RIGHT.format("A"), SILENT.format("B"), "nonsense", RIGHT.format("C")])
    console = Console(record=True, width=100, file=io.StringIO())
    grpo = {**config.grpo, "use_vllm": True, "generation_kwargs": {"frequency_penalty": 0.1}}
    trial_of(replace(config, grpo=grpo), rows, policy, console)
    assert "without grpo.generation_kwargs, which are vLLM's" in console.export_text()
    trial_of(config, rows, policy, console)
    assert "vLLM" not in console.export_text()
    arguments = trl_arguments(GRPOConfig, "grpo", grpo, config)
    assert "frequency_penalty" not in sampling(arguments, policy.model)


def test_a_random_policy_is_refused_by_train_and_by_dry_run(config):
    for start in (dry_run, grpo.train):
        with pytest.raises(InputError, match="format rate of 0"):
            start(config)


def test_the_command_prints_the_table_and_refuses(empty_config, overrides):
    result = CliRunner().invoke(app, ["dry-run", str(empty_config), *overrides])
    assert isinstance(result.exception, InputError)
    assert "Pre-flight: 3 questions, 4 completions each" in result.output
    with pytest.raises(InputError, match=r"unknown key preflight\.promts \(nearest: prompts\)"):
        invoke(app, "dry-run", empty_config, "preflight.promts=3")


def test_train_tries_once_and_not_again_when_it_goes_on(monkeypatch, empty_config, overrides):
    calls = []
    monkeypatch.setattr(grpo, "preflight", lambda *_, **__: calls.append(1))
    grpo.train(load_config(empty_config, [*overrides, "preflight.skip=true"]))
    assert calls == []
    grpo.train(load_config(empty_config, [*overrides, "grpo.max_steps=2"]))  # goes on from step 1
    assert calls == []
    fresh = [*overrides, f"run_dir={empty_config.parent / 'fresh'}"]
    grpo.train(load_config(empty_config, fresh))
    assert calls == [1]


BROKEN = [("preflight.prompts=0", "at least 1"), ("preflight.generations=1", "at least 2")]


@pytest.mark.parametrize(("override", "expected"), BROKEN)
def test_a_trial_that_shows_nothing_is_refused(empty_config, override, expected):
    with pytest.raises(InputError, match=expected):
        load_config(empty_config, [override])


@pytest.mark.slow
def test_two_processes_refuse_together(empty_config, overrides):
    launch = torchrun("-m", "anomalyr1", "train", empty_config, *overrides)
    done = completed(launch, status=None)
    assert done.returncode != 0
    assert done.stdout.count("Pre-flight: 3 questions") == 1
    assert done.stderr.count("format rate of 0") == 2  # each process says why it stops
