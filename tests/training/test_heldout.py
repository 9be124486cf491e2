"""Held-out questions decide which checkpoint is kept and when training ends."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from tiny_runs import history, toy_run

from anomalyr1.config import Config, DataConfig
from anomalyr1.config.reward import TermConfig
from anomalyr1.data.limited import evenly
from anomalyr1.data.mmad import load_benchmark, write_benchmark
from anomalyr1.doctor.policy_and_data import input_lines
from anomalyr1.errors import InputError
from anomalyr1.policy.load import load_policy
from anomalyr1.training.feed import training_samples
from anomalyr1.training.grpo import train
from anomalyr1.training.heldout import heldout_rows, with_heldout
from anomalyr1.training.sft import finetune


@pytest.fixture
def config(tmp_path, tiny_policy, toy_benchmark) -> Config:
    return toy_run(tmp_path / "whole", tiny_policy, toy_benchmark)


@pytest.fixture
def heldout(config, toy_benchmark, tmp_path) -> Path:
    """A benchmark of the toy images that `config` does not train on."""
    ((whole, used),) = training_samples(config)
    rest = [sample for sample in whole.samples if sample.image != used[0].image]
    manifest = {"root": str(toy_benchmark)}
    return write_benchmark(tmp_path / "heldout", rest, manifest=manifest).parent


def test_the_checkpoint_with_the_best_held_out_reward_is_the_policy(config, heldout, tmp_path):
    data = replace(config.data, heldout=str(heldout), heldout_limit=4)
    train(replace(config, data=data, grpo={**config.grpo, "max_steps": 3, "beta": 0.0}))
    run = tmp_path / "whole"
    scored = history(run, "eval_reward")
    assert [entry["step"] for entry in scored] == [1, 2, 3]
    best = max(scored, key=lambda entry: (entry["eval_reward"], -entry["step"]))
    state = json.loads((run / "checkpoints" / "checkpoint-3" / "trainer_state.json").read_text())
    assert state["best_metric"] == pytest.approx(best["eval_reward"])
    kept = load_file(run / "policy" / "model.safetensors")
    saved = load_file(
        run / "checkpoints" / f"checkpoint-{state['best_global_step']}" / "model.safetensors"
    )
    assert all(torch.equal(kept[name], saved[name]) for name in saved)


def sinking(completions, trainer_state, **_):
    """A reward of the user's own that is the best where it is asked for first."""
    return [-float(trainer_state.global_step)] * len(completions)


@pytest.mark.parametrize(
    ("settings", "patience", "scored", "saved"),
    [
        # Asked for at 3, in the middle of a rollout, and at the end.
        ({"num_iterations": 2, "save_steps": 3}, None, [4, 6, 7], [4, 6, 7]),
        # Scored more often than saved: the best is saved where it is found.
        ({"eval_steps": 1, "save_steps": 3, "max_steps": 4}, None, [1, 2, 3, 4], [1, 3, 4]),
        # A stop saves too, not before the rollout is used up.
        ({"num_iterations": 3, "eval_steps": 1, "save_steps": 9, "max_steps": 18}, 1,
         [3, 6], [3, 6]),
    ],
)  # fmt: skip
def test_the_policy_is_the_best_wherever_it_was_to_be_scored(
    config, heldout, tmp_path, settings, patience, scored, saved
):
    reward = replace(config.reward, terms={f"{__name__}.sinking": TermConfig(weight=100.0)})
    config = replace(
        config,
        data=replace(config.data, heldout=str(heldout), heldout_limit=4),
        reward=reward,
        grpo={**config.grpo, "beta": 0.0, **settings},
        early_stop_patience=patience,
    )
    train(config)
    run = tmp_path / "whole"
    assert [entry["step"] for entry in history(run, "eval_reward")] == scored
    checkpoints = run / "checkpoints"
    assert {p.name for p in checkpoints.glob("checkpoint-*")} == {f"checkpoint-{n}" for n in saved}
    kept = load_file(run / "policy" / "model.safetensors")
    folders = (checkpoints / f"checkpoint-{step}" for step in (scored[0], saved[-1]))
    best, last = (load_file(folder / "model.safetensors") for folder in folders)
    assert all(torch.equal(kept[name], best[name]) for name in best)
    assert not all(torch.equal(kept[name], last[name]) for name in last)


def test_who_asks_for_a_checkpoint_gets_it_where_only_the_best_are_saved(config, heldout, tmp_path):
    data = replace(config.data, heldout=str(heldout), heldout_limit=4)
    section = {**config.sft, "max_steps": 30, "learning_rate": 1.0, "lr_scheduler_type": "constant"}
    section |= {"save_strategy": "best", "eval_steps": 1}
    section.pop("save_steps")
    finetune(replace(config, data=data, sft=section, early_stop_patience=2))
    scored = history(tmp_path / "whole", "eval_loss")
    best = min(scored, key=lambda entry: entry["eval_loss"])["step"]
    ended = scored[-1]["step"]
    assert ended == best + 2 < 30
    saved = {p.name for p in (tmp_path / "whole/checkpoints").glob("checkpoint-*")}
    assert {f"checkpoint-{best}", f"checkpoint-{ended}"} <= saved
    assert f"checkpoint-{ended - 1}" not in saved


@given(st.integers(0, 300), st.integers(1, 100))
def test_what_is_taken_evenly_leaves_no_end_out(count, most):
    taken = evenly(range(count), most)
    assert len(taken) == min(most, count) and taken == sorted(set(taken))
    shares = [after - before for before, after in pairwise([*taken, count])]
    assert not shares or (taken[0] == 0 and max(shares) - min(shares) <= 1)


def test_held_out_rows_are_of_all_of_the_benchmark(config, heldout):
    policy, used = load_policy(config.policy), training_samples(config)

    def scored(limit: int) -> list[str]:
        data = replace(config.data, heldout=str(heldout), heldout_limit=limit)
        rows = heldout_rows(replace(config, data=data), policy.processor, policy.family, used)
        return [row.sample_id for row in rows]

    rows = scored(99)  # seven images with three questions each
    assert len(rows) == 21
    assert scored(13) == [rows[n] for n in (0, 1, 3, 4, 6, 8, 9, 11, 12, 14, 16, 17, 19)]


def test_a_run_that_stopped_early_stays_stopped(config, heldout, tmp_path, capsys):
    data = replace(config.data, heldout=str(heldout), heldout_limit=4)
    # Steps this long only make it worse. Between two checkpoints it stops behind one of its own.
    section = {**config.sft, "max_steps": 30, "learning_rate": 1.0, "lr_scheduler_type": "constant"}
    section |= {"save_steps": 30, "eval_steps": 1, "load_best_model_at_end": False}
    finetune(replace(config, data=data, sft={**section, "max_steps": 1}))
    config = replace(config, data=data, sft=section, early_stop_patience=2)  # a later idea
    finetune(config)
    ended = max(entry["step"] for entry in history(tmp_path / "whole", "step"))
    assert ended < 30
    assert f"step {ended}: stopped early, 2 evaluation(s) in a row" in capsys.readouterr().out
    policy = tmp_path / "whole/policy/model.safetensors"
    before = policy.read_bytes()
    policy.unlink()
    finetune(config)
    said = capsys.readouterr().out
    assert f"checkpoint-{ended}: stopped early" in said and "early_stop_patience goes on" in said
    assert policy.read_bytes() == before
    assert max(entry["step"] for entry in history(tmp_path / "whole", "step")) == ended
    finetune(replace(config, early_stop_patience=3))  # counts on: the third is one more
    assert "stopped early, 3 evaluation(s)" in capsys.readouterr().out
    assert max(entry["step"] for entry in history(tmp_path / "whole", "step")) == ended + 1


def test_a_finished_run_keeps_its_last_checkpoint_beside_the_best(config, heldout, tmp_path):
    data = replace(config.data, heldout=str(heldout), heldout_limit=4)
    # Steps this long only make it worse: the first checkpoint is the best.
    section = {**config.sft, "max_steps": 4, "learning_rate": 1.0, "lr_scheduler_type": "constant"}
    config = replace(config, data=data, sft={**section, "save_total_limit": 1})
    finetune(config)
    left = sorted(path.name for path in (tmp_path / "whole/checkpoints").glob("checkpoint-*"))
    assert left == ["checkpoint-1", "checkpoint-4"]
    finetune(config)
    steps = [entry["step"] for entry in history(tmp_path / "whole", "eval_loss")]
    assert steps == [1, 2, 3, 4]


def test_held_out_images_are_not_trained_on(config, heldout, toy_benchmark, tmp_path):
    data = replace(config.data, heldout=config.data.benchmark)
    with pytest.raises(InputError, match=r"found 1 of its 8 in the training set: .*\.png; name"):
        finetune(replace(config, data=data))
    # The same bytes under another name, among images that are not trained on.
    ((_, (used,)),) = training_samples(config)
    copy = tmp_path / "copied"
    shutil.copytree(toy_benchmark, copy)
    (bench, (one, *_)) = (load_benchmark(copy), load_benchmark(heldout).samples)
    shutil.copy(used.path, copy / one.image)
    kept = [sample for sample in bench.samples if sample.image != used.image]
    write_benchmark(copy, kept)
    data = replace(config.data, heldout=str(copy))
    with pytest.raises(InputError, match=rf"found 1 of its 7 .*{one.image} is .*{used.image}"):
        finetune(replace(config, data=data))
    doctor = {line.name: line for line in input_lines(replace(config, data=data))[0][2:]}
    assert "found 1 of its 7" in doctor["data.heldout"].found
    assert not (tmp_path / "whole/checkpoints").exists()


def test_held_out_questions_are_scored():
    config = Config(data=DataConfig(heldout="b"))
    with pytest.raises(InputError, match=r"grpo\.eval_strategy=no beside data\.heldout"):
        with_heldout("grpo", {"eval_strategy": "no"}, config, metric="x")
