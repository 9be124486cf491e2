"""A run that was cut off goes on as if it had not been."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from families import both_families
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from tiny_runs import history, toy_run
from tiny_trainer import SMALL, dataset, make_trainer
from transformers import TrainerCallback

from anomalyr1.config import Config, DataConfig, LearningRates, LoraSection
from anomalyr1.config.reward import TermConfig
from anomalyr1.errors import InputError
from anomalyr1.policy.load import load_policy
from anomalyr1.training.checkpoint_files import FILES
from anomalyr1.training.checkpoints import is_finished, prepare_run
from anomalyr1.training.grpo import train
from anomalyr1.training.resuming import (
    EpochSampler,
    RolloutBoundary,
    backward_passes,
    load_weights,
)
from anomalyr1.training.sft import finetune


@pytest.fixture
def config(tmp_path, tiny_policy, toy_benchmark) -> Config:
    return toy_run(tmp_path / "whole", tiny_policy, toy_benchmark)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, policy_path, toy_benchmark) -> Config:
    """A GRPO that was not cut off."""
    config = toy_run(tmp_path_factory.mktemp("resuming") / "whole", policy_path, toy_benchmark)
    train(config)
    return config


def cut(config: Config, tmp_path, step: int) -> Config:
    """A copy of a finished run as if it had been killed after the checkpoint of `step`."""
    folder = tmp_path / f"cut{step}"
    shutil.copytree(config.run_dir, folder)
    shutil.rmtree(folder / "policy")
    for checkpoint in (folder / "checkpoints").glob("checkpoint-*"):
        if int(checkpoint.name.split("-")[1]) > step:
            shutil.rmtree(checkpoint)
    return replace(config, run_dir=str(folder))


def assert_same(config: Config, resumed: Config, tmp_path, weights="model.safetensors") -> None:
    a, b = (tmp_path / folder for folder in (config.run_dir, resumed.run_dir))
    whole, again = history(a), history(b)
    assert [entry["step"] for entry in again] == [entry["step"] for entry in whole]
    for x, y in zip(whole, again, strict=True):
        for key in x.keys() & {"loss", "reward", "grad_norm", "kl", "entropy", "learning_rate"}:
            assert y[key] == pytest.approx(x[key], abs=1e-5), (x["step"], key)
    left, right = (load_file(folder / "policy" / weights) for folder in (a, b))
    assert left.keys() == right.keys()
    for name in left:
        torch.testing.assert_close(left[name], right[name], rtol=0, atol=1e-6)


@both_families("step", [1, 3, 5])  # within an epoch, at its end, in the second
def test_grpo_goes_on_exactly(whole, policy_path, tmp_path, step):
    resumed = cut(whole, tmp_path, step)
    train(resumed)
    assert_same(whole, resumed, tmp_path)
    assert len({round(entry["grad_norm"], 6) for entry in history(Path(whole.run_dir))}) > 3


def test_a_rollout_that_serves_two_steps_is_not_cut_in_half(config, tmp_path):
    config = replace(config, grpo={**config.grpo, "num_iterations": 2})
    train(config)
    saved = {p.name for p in (tmp_path / "whole" / "checkpoints").glob("checkpoint-*")}
    assert saved == {f"checkpoint-{n}" for n in (2, 4, 6, 7)}
    resumed = cut(config, tmp_path, 4)
    train(resumed)
    assert_same(config, resumed, tmp_path)


def test_a_run_remembers_how_its_rows_were_fed(config, tmp_path, toy_benchmark):
    """And that of its benchmark: as begun it goes on, otherwise not."""
    benchmark = shutil.copytree(toy_benchmark, tmp_path / "bench")
    config = replace(
        config,
        data=DataConfig(benchmark=str(benchmark), limit=1),
        grpo={**config.grpo, "max_steps": 1},
    )
    train(config)
    runs = json.loads((tmp_path / "whole/provenance.json").read_text())["runs"]
    assert runs[0]["feeding"]["processes"] == 1
    assert runs[0]["feeding"]["generation_batch_size"] == 4
    runs[0]["feeding"]["processes"] = 2  # as if it had been launched on two
    (tmp_path / "whole/provenance.json").write_text(json.dumps({"runs": runs}))
    config = replace(config, grpo={**config.grpo, "max_steps": 2})
    with pytest.raises(InputError, match=r"found changed: processes \(was 2, is 1\)"):
        train(config)
    records = json.loads((benchmark / "mmad.json").read_text())
    records.pop(next(reversed(records)))
    (benchmark / "mmad.json").write_text(json.dumps(records))
    with pytest.raises(InputError, match=r"expected the data .*bench/mmad.json"):
        train(replace(config, resume="force"))
    shutil.copy(toy_benchmark / "mmad.json", benchmark)
    train(replace(config, resume="force"))
    assert [entry["step"] for entry in history(tmp_path / "whole")] == [1, 2]


def test_adapters_go_on_exactly(config, tmp_path):
    policy = replace(config.policy, lora=LoraSection(r=4, alpha=8, dropout=0.0))
    config = replace(config, policy=policy)
    train(config)
    resumed = cut(config, tmp_path, 2)
    train(resumed)
    assert_same(config, resumed, tmp_path, "adapter_model.safetensors")


def test_sft_goes_on_exactly(config, tmp_path):
    finetune(config)
    resumed = cut(config, tmp_path, 4)
    finetune(resumed)
    assert_same(config, resumed, tmp_path)


def test_a_checkpoint_that_lost_a_file_is_refused_by_name(config, tmp_path):
    config = replace(config, sft={**config.sft, "max_steps": 2})
    finetune(config)
    checkpoints = tmp_path / "whole/checkpoints"
    last = checkpoints / "checkpoint-2"
    assert prepare_run(tmp_path / "whole", "auto") == last
    offered = r"take the folder away to go on from checkpoint-1$"
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json"):
        (last / name).rename(tmp_path / name)
        with pytest.raises(InputError, match=rf"checkpoint-2, found {name} missing; .*{offered}"):
            finetune(config)
        (tmp_path / name).rename(last / name)
    content = (last / "model.safetensors").read_bytes()
    for _ in range(2):  # a checkpoint of an earlier version has no list
        (last / "model.safetensors").write_bytes(content[:-9])
        with pytest.raises(InputError, match=rf"found model.safetensors cut.*{offered}"):
            prepare_run(tmp_path / "whole", "auto")
        (last / "model.safetensors").write_bytes(content)
        (last / FILES).unlink(missing_ok=True)
    assert prepare_run(tmp_path / "whole", "auto") == last
    (last / "scheduler.pt").unlink()
    with pytest.raises(InputError, match=rf"found no scheduler; .*{offered}"):
        prepare_run(tmp_path / "whole", "auto")
    (checkpoints / "checkpoint-1/optimizer.pt").unlink()
    with pytest.raises(InputError, match=r"to begin anew, for no other one is whole"):
        prepare_run(tmp_path / "whole", "auto")
    shutil.rmtree(last)
    with pytest.raises(InputError, match=r"checkpoint-1, found optimizer\.pt missing"):
        prepare_run(tmp_path / "whole", "auto")


def test_every_weight_comes_back(config, tmp_path):
    trained = load_policy(config.policy).model
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.add_(1.0)
    trained.save_pretrained(tmp_path / "saved")
    fresh = load_policy(config.policy).model
    load_weights(fresh, str(tmp_path / "saved"))
    for (name, a), b in zip(trained.named_parameters(), fresh.parameters(), strict=True):
        assert torch.equal(a, b), name


def test_the_order_of_an_epoch_is_its_own():
    epoch = [0]
    sampler = EpochSampler(range(50), mini_repeat_count=2, seed=3, epoch=lambda: epoch[0])
    first = list(sampler)
    assert list(sampler) == first and first[::2] == first[1::2]
    epoch[0] = 1
    assert list(sampler) != first and sorted(sampler) == sorted(first)


class Asked:
    """A step, its settings, and what is asked for at its end, as `RolloutBoundary` sees them."""

    def __init__(self, step: int, last: int, save: bool = False, evaluate: bool = False):
        self.global_step, self.max_steps = step, last
        self.should_save, self.should_evaluate = save, evaluate


def test_a_save_and_an_evaluation_wait_for_the_end_of_their_rollout():
    boundary, saved, scored = RolloutBoundary(3, lambda steps: steps), [], []
    for step in range(1, 11):
        asked = Asked(step, 10, step in (1, 4, 5, 8, 9, 10), step in (2, 9, 10))
        boundary.on_step_end(asked, asked, asked)
        saved += [step] * asked.should_save
        scored += [step] * asked.should_evaluate
    assert saved == [3, 6, 9, 10]  # the last step is whatever it is
    assert scored == [3, 9, 10]


def walked(served: int, rollouts: int, accumulated: int, epochs: int):
    """Steps of a training as transformers and TRL take them: passes behind each, rollout whole."""
    passes = since = 0
    for _ in range(epochs):
        for micro in range(1, rollouts * served + 1):
            since = 1 if since == served else since + 1  # TRL samples where the last is used up
            passes += 1
            if micro % accumulated == 0 or micro == rollouts * served:
                yield passes, since == served


@given(
    steps_per_generation=st.integers(1, 8),
    iterations=st.integers(1, 3),
    rollouts=st.integers(1, 7),
    accumulated=st.integers(1, 9),
    epochs=st.integers(1, 4),
)
def test_boundaries_are_those_of_a_walk_through_the_epochs(
    steps_per_generation, iterations, rollouts, accumulated, epochs
):
    served = steps_per_generation * iterations
    walk = list(walked(served, rollouts, accumulated, epochs))

    def passes(steps: int) -> int:
        return backward_passes(steps, rollouts * served, accumulated)

    assert [passes(step) for step in range(len(walk) + 1)] == [0, *(found for found, _ in walk)]
    boundary = RolloutBoundary(served, passes)
    for step, (_, whole) in enumerate(walk, 1):
        asked = Asked(step, len(walk) + 1, save=True)
        boundary.on_step_end(asked, asked, asked)
        assert asked.should_save == whole, step


def test_a_trainer_counts_the_passes_that_it_makes(tiny_policy, tmp_path):
    """Three rollouts of two passes an epoch, four passes a step: each epoch ends in half a step."""
    data = dataset([[SMALL]] * 3)
    options = {"per_device_train_batch_size": 3, "gradient_accumulation_steps": 4}
    options |= {"steps_per_generation": 1, "num_iterations": 2, "max_steps": 5}
    trainer = make_trainer(tiny_policy, tmp_path, data, **options)
    counted = []

    class Counts(TrainerCallback):
        def on_step_end(self, args, state, control, **_):
            counted.append((trainer._step, trainer.passes_behind(state.global_step)))

    trainer.add_callback(Counts())
    trainer.train()
    assert counted == [(n, n) for n in (4, 6, 10, 12, 16)]


def test_parts_learn_at_their_own_rate(config, tmp_path):
    policy = replace(config.policy, learning_rates=LearningRates(vision=0.0))
    config = replace(config, policy=policy, sft={**config.sft, "max_steps": 1})
    finetune(config)
    before = load_policy(replace(config.policy)).model.state_dict()
    after = load_policy(replace(config.policy, path=f"{config.run_dir}/policy")).model.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert not any(".visual." in n and ".merger." not in n for n in moved)
    assert any(".merger." in n for n in moved) and any("language_model" in n for n in moved)


def test_a_rate_of_a_frozen_part_is_refused(config):
    policy = replace(config.policy, freeze_vision=True, learning_rates=LearningRates(vision=1e-6))
    with pytest.raises(InputError, match=r"freeze_vision=false"):
        finetune(replace(config, policy=policy))


def test_a_finished_run_takes_no_further_step(config, tmp_path):
    config = replace(config, grpo={**config.grpo, "max_steps": 2})
    train(config)
    before = load_file(tmp_path / "whole" / "policy" / "model.safetensors")
    shutil.rmtree(tmp_path / "whole" / "policy")
    train(config)
    policy = tmp_path / "whole" / "policy"
    assert [entry["step"] for entry in history(tmp_path / "whole")] == [1, 2]
    after = load_file(policy / "model.safetensors")
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert {p.name for p in policy.iterdir()} >= {"processor_config.json", "training_data.json"}
    beat = json.loads((tmp_path / "whole" / "heartbeat" / "rank-00000.json").read_text())
    assert beat["doing"] == "updating" and beat["step"] == 1 and len(beat["rows"]) == 1
    assert beat["rows"][0].split("#")[1] in "012" and beat["since"].endswith("+00:00")
    card = (policy / "README.md").read_text()
    assert "2 steps" in card and "preset `roam`" in card and "1 images, 3 questions" in card
    first = tmp_path / "whole" / "checkpoints" / "checkpoint-1"
    assert "1 steps" in (first / "README.md").read_text()
    assert (first / "processor_config.json").is_file()
    assert not list(policy.glob("*.pt*")) and not list(policy.glob("trainer_state*"))
    train(replace(config, grpo={**config.grpo, "max_steps": 3}))
    assert [entry["step"] for entry in history(tmp_path / "whole")] == [1, 2, 3]


@pytest.mark.parametrize(
    ("state", "max_steps", "epochs", "finished"),
    [
        # global step, max_steps, num_train_epochs and epoch as they were saved
        ((20, 20, 1, 0.05), -1, 1.0, False),  # a trial of 20 steps out of 400
        ((20, 20, 1, 0.05), 20, 1.0, True),
        ((120, 120, 2, 1.2), -1, 2.0, False),  # 1.2 epochs, then 2
        ((120, 120, 2, 1.2), -1, 1.2, True),
        ((400, 400, 1, 1.0), -1, 1.0, True),
        ((399, 400, 1, 0.9975), -1, 1.0, False),  # killed before its last step
        ((3, 4, 1, 0.9), -1, 0.85, False),  # the same; its steps are not equally long
        ((400, 800, 2, 1.0), -1, 1.0, True),  # half of what was asked for is enough now
        ((400, 400, 1, 1.0), 500, 1.0, False),
    ],
)
def test_a_run_is_finished_by_what_is_asked_for_now(tmp_path, state, max_steps, epochs, finished):
    names = ("global_step", "max_steps", "num_train_epochs", "epoch")
    saved = json.dumps(dict(zip(names, state, strict=True)))
    (tmp_path / "trainer_state.json").write_text(saved)
    assert is_finished(tmp_path, max_steps, epochs) is finished


def test_a_trial_is_not_the_whole_run(config, tmp_path):
    # Three questions, one a step.
    whole = {**config.sft, "per_device_train_batch_size": 1, "num_train_epochs": 1}
    finetune(replace(config, sft={**whole, "max_steps": 1}))
    del whole["max_steps"]
    finetune(replace(config, sft=whole))
    assert [entry["step"] for entry in history(tmp_path / "whole")] == [1, 2, 3]
    finetune(replace(config, sft=whole))
    assert [entry["step"] for entry in history(tmp_path / "whole")] == [1, 2, 3]


@pytest.mark.parametrize(
    ("lora", "beta", "refused"),
    [(None, 0.0, False), (None, 0.01, True), (LoraSection(r=4, alpha=8, dropout=0.0), 0.0, True)],
    ids=["weights", "reference", "adapters"],
)
def test_the_policy_to_start_from_has_not_changed_where_it_is_needed(
    config, tmp_path, lora, beta, refused
):
    start = tmp_path / "start"
    shutil.copytree(config.policy.path, start)
    policy = replace(config.policy, path=str(start), lora=lora)
    config = replace(config, policy=policy, grpo={**config.grpo, "beta": beta, "max_steps": 1})
    train(config)
    weights = {name: w + 1e-3 for name, w in load_file(start / "model.safetensors").items()}
    save_file(weights, start / "model.safetensors", {"format": "pt"})
    train(config)  # nothing is left to train: what it found on disk was not trained with
    config = replace(config, grpo={**config.grpo, "max_steps": 2})
    if refused:
        with pytest.raises(InputError, match=r"found other weights; put them back"):
            train(config)
        config = replace(config, resume="force")
    train(config)
    assert [entry["step"] for entry in history(tmp_path / "whole")] == [1, 2]


def test_a_reward_of_the_users_own_has_not_been_rewritten(config, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    source = tmp_path / "rewritten_reward.py"
    source.write_text("def constant(completions, **columns): return [1.0] * len(completions)\n")
    reward = replace(config.reward, terms={"rewritten_reward.constant": TermConfig()})
    config = replace(config, reward=reward, grpo={**config.grpo, "max_steps": 1})
    train(config)
    config = replace(config, grpo={**config.grpo, "max_steps": 2})
    source.write_text(source.read_text().replace("1.0", "2.0"))
    train(replace(config, grpo={**config.grpo, "max_steps": 1}))  # nothing is left to train
    with pytest.raises(InputError, match=r"source of rewritten_reward\.constant changed"):
        train(config)
    train(replace(config, resume="force"))
    assert [entry["step"] for entry in history(tmp_path / "whole")] == [1, 2]


def test_a_start_that_trains_nothing_leaves_the_config_of_what_was_trained(config, tmp_path):
    config = replace(config, grpo={**config.grpo, "max_steps": 1})
    train(config)
    kept = (tmp_path / "whole" / "config.yaml").read_text()
    train(replace(config, resume="force", grpo={**config.grpo, "temperature": 0.5}))
    assert (tmp_path / "whole" / "config.yaml").read_text() == kept
    runs = json.loads((tmp_path / "whole" / "provenance.json").read_text())["runs"]
    assert [run["trained"] for run in runs] == [True, False]


def test_a_reference_that_followed_the_policy_is_in_no_checkpoint(config, tmp_path):
    more = {"sync_ref_model": True, "ref_model_sync_steps": 1, "max_steps": 1}
    config = replace(config, grpo={**config.grpo, **more})
    train(config)
    train(config)  # nothing is left to train
    config = replace(config, grpo={**config.grpo, "max_steps": 2})
    with pytest.raises(InputError, match=r"grpo\.sync_ref_model.*in no checkpoint"):
        train(config)
    train(replace(config, resume="force"))
    assert [entry["step"] for entry in history(tmp_path / "whole")] == [1, 2]
