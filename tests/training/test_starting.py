"""What a training is refused for before it begins, and what it hands to TRL."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tiny_runs import toy_run
from transformers import TrainingArguments
from trl.trainer.utils import create_model_from_path

from anomalyr1.config import LoraSection
from anomalyr1.errors import InputError
from anomalyr1.policy.load import lora_config
from anomalyr1.training.grpo import train
from anomalyr1.training.sft import finetune


@pytest.fixture
def toy(tmp_path, tiny_policy, toy_benchmark):
    return toy_run(tmp_path / "run", tiny_policy, toy_benchmark)


@pytest.mark.parametrize("start", [train, finetune], ids=["train", "sft"])
def test_one_process_that_sees_several_gpus_is_refused(toy, monkeypatch, start):
    monkeypatch.setattr(TrainingArguments, "n_gpu", 2)
    with pytest.raises(InputError, match=r"accelerate launch.*CUDA_VISIBLE_DEVICES=0"):
        start(toy)


def test_fewer_questions_than_a_rollout_has_prompts_are_refused(toy):
    # Three questions; 8 rows x 1 process x 2 passes / 4 completions are four prompts.
    more = {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 2}
    found = r"8 x 1 x 2 / 4\), found 3; lower grpo\.per_device_train_batch_size"
    with pytest.raises(InputError, match=found):
        train(replace(toy, grpo={**toy.grpo, **more}))


def test_the_reference_is_of_the_revision_of_the_policy(toy, monkeypatch):
    asked = []

    def noted(*args, **options):
        asked.append(options["revision"])
        return create_model_from_path(*args, **options)

    monkeypatch.setattr("trl.trainer.grpo_trainer.create_model_from_path", noted)
    policy = replace(toy.policy, revision="abc123")  # a folder has none, and is not asked for it
    train(replace(toy, policy=policy, grpo={**toy.grpo, "max_steps": 1}))
    assert asked == ["abc123"]
    adapter = lora_config(replace(policy, lora=LoraSection()))
    assert adapter.revision == "abc123"
