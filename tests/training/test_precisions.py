"""Weights, adapters, autocast, kernel and checkpointing in every pairing: it samples and trains.

Stock TRL on the same rows is the measure: as exact as it in half precision, equal in single. Eight
cases have every pair of two settings; `pytest -m slow` runs all thirty-two.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from itertools import combinations, product

import pytest
import torch
from families import in_each_family, second_slow
from safetensors.torch import load_file
from tiny_runs import toy_run
from tiny_trainer import SMALL, WIDE, batch, dataset, greedy, make_trainer

from anomalyr1.config import LoraSection
from anomalyr1.training.sft import finetune

# A token that stock prefers to ours by less than this, in nats, is a tie at 8 bits.
TIE = 0.1

GRID = list(
    product(("float32", "bfloat16"), (False, True), (False, True), ("sdpa", "eager"), (False, True))
)


def has_every_pair(case) -> bool:
    """One of an orthogonal array: of any two settings all four pairs occur, equally often."""
    dtype, lora, half, attention, checkpointing = case
    single = dtype == "float32"
    return (attention == "eager") is (single ^ lora) and checkpointing is (single ^ half)


def name(case) -> str:
    dtype, lora, half, attention, checkpointing = case
    words = [dtype, "lora" if lora else "whole", "autocast" if half else "plain", attention]
    return " ".join([*words, "checkpointing"] if checkpointing else words)


def trainer(case, policy, tmp_path, shared):
    dtype, lora, half, attention, checkpointing = case
    return make_trainer(
        policy,
        tmp_path,
        dataset([[SMALL, WIDE], [WIDE]]),
        shared=shared,
        policy_options={
            "dtype": dtype,
            "attention": attention,
            "lora": LoraSection(r=4, alpha=8, dropout=0.0) if lora else None,
        },
        bf16=half,
        gradient_checkpointing=checkpointing,
    )


def logps(run, rows) -> torch.Tensor:
    """Log-probabilities (B, C) of given completions, in training mode."""
    run.model.train()
    tokens, attention, width, vision = batch(run, run.train_dataset, [len(row) for row in rows])
    for number, row in enumerate(rows):
        tokens[number, -width:][: len(row)] = torch.tensor(row)
    found, _, _ = run._get_per_token_logps_and_entropies(
        run.model, tokens, attention, width, **vision
    )
    return found * attention[:, -width:]


def first_difference(one, other) -> int | None:
    pairs = zip(one, other, strict=False)
    at = next((place for place, (a, b) in enumerate(pairs) if a != b), None)
    return at if at is not None or len(one) == len(other) else min(len(one), len(other))


def test_the_cases_that_are_always_run_have_every_pair():
    cases = [case for case in GRID if has_every_pair(case)]
    assert len(cases) == 8
    for one, other in combinations(range(5), 2):
        assert len({(case[one], case[other]) for case in cases}) == 4


@second_slow
@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=name(case), marks=() if has_every_pair(case) else pytest.mark.slow)
        for case in GRID
    ],
)
def test_it_samples_and_trains_as_stock_does(case, policy_path, tmp_path):
    exact = trainer(("float32", case[1], False, "sdpa", False), policy_path, tmp_path, False)
    stock, ours = (trainer(case, policy_path, tmp_path, shared) for shared in (False, True))
    assert ours.sharing.logps and ours.sharing.rollout

    expected, sampled = greedy(stock), greedy(ours)
    single = case[0] == "float32" and not case[2]
    if single:
        assert sampled == expected
    for row, (one, other) in enumerate(zip(expected, sampled, strict=True)):
        at = first_difference(one, other)
        if at is None or at >= min(len(one), len(other)):
            continue
        # Up to there both wrote the same; there the two tokens are as likely.
        rows = [[*one[:at], token] for token in (one[at], other[at])]
        both = [logps(exact, [r] * len(expected))[row, at] for r in rows]
        assert (both[0] - both[1]).abs() < TIE

    rows = [row[:length] for row, length in zip(expected, (9, 4, 1, 7, 9, 2), strict=True)]
    reference, theirs, found = (logps(run, rows) for run in (exact, stock, ours))
    error, own = (theirs - reference).abs().max(), (found - reference).abs().max()
    assert own <= 2 * error + 1e-4
    found.sum().backward()
    theirs.sum().backward()
    a, b = (
        torch.cat([p.grad.float().flatten() for p in run.model.parameters() if p.grad is not None])
        for run in (stock, ours)
    )
    assert (a - b).norm() <= (1e-3 if single else 0.05) * a.norm()

    ours.generation_config.do_sample = True
    ours.train()
    entry = ours.state.log_history[0]
    assert entry["grad_norm"] > 0 and entry["completions/mean_length"] > 0


def every_parameter(run) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in run.model.named_parameters()}


@in_each_family
@pytest.mark.parametrize("half", [True, False], ids=["autocast", "plain"])
@pytest.mark.parametrize("projector", [True, False], ids=["projector-frozen", "projector-learns"])
def test_small_steps_move_weights_that_are_kept_in_16_bits(half, projector, policy_path, tmp_path):
    run = make_trainer(
        policy_path,
        tmp_path,
        dataset([[SMALL, WIDE], [WIDE]]),
        policy_options={
            "dtype": "bfloat16",
            "freeze_vision": True,
            "freeze_projector": projector,
        },
        bf16=half,
        beta=0.01,
        learning_rate=1e-6,
    )
    before = every_parameter(run)
    run.train()
    after = every_parameter(run)
    learn = {name for name, p in run.model.named_parameters() if p.requires_grad}
    # A word that no row shows has no gradient.
    layers = [name for name in learn if ".layers." in name and "proj.weight" in name]
    moved = torch.cat([(after[n] - before[n]).flatten() for n in layers])
    assert (moved != 0).float().mean() > 0.9
    assert moved.abs().max() < 2e-6
    frozen = before.keys() - learn
    assert frozen and all(after[name].equal(before[name]) for name in frozen)
    assert {after[name].dtype for name in frozen} == {torch.bfloat16 if half else torch.float32}
    assert run.state.log_history[0]["kl"] < 1e-3


def test_sft_in_16_bits_goes_on_exactly_and_saves_what_it_loaded(
    tmp_path, tiny_policy, toy_benchmark
):
    config = toy_run(tmp_path / "whole", tiny_policy, toy_benchmark)
    config = replace(
        config,
        policy=replace(config.policy, dtype="bfloat16", freeze_vision=True),
        sft={**config.sft, "bf16": True, "learning_rate": 1e-4, "max_steps": 4, "save_steps": 2},
    )
    whole = load_file(finetune(config) / "model.safetensors")
    assert {weight.dtype for weight in whole.values()} == {torch.bfloat16}

    part = replace(config, run_dir=str(tmp_path / "part"))
    shutil.copytree(config.run_dir, part.run_dir)
    shutil.rmtree(tmp_path / "part" / "policy")
    again = load_file(finetune(part) / "model.safetensors")  # the policy alone is left to save
    assert all(again[name].equal(weight) for name, weight in whole.items())

    shutil.rmtree(tmp_path / "part" / "checkpoints" / "checkpoint-4")
    shutil.rmtree(tmp_path / "part" / "policy")
    again = load_file(finetune(part) / "model.safetensors")
    assert all(again[name].equal(weight) for name, weight in whole.items())
    one, two = (
        load_file(tmp_path / run / "checkpoints" / "checkpoint-4" / "model.safetensors")
        for run in ("whole", "part")
    )
    assert all(two[name].equal(weight) for name, weight in one.items())
