"""What a training is refused for before it begins, and what it hands to TRL."""

from __future__ import annotations

from dataclasses import replace

import pytest
from safetensors.torch import load_file
from tiny_runs import toy_run
from transformers import TrainingArguments
from trl.trainer.utils import create_model_from_path

from anomalyr1.config import LoraSection
from anomalyr1.errors import InputError
from anomalyr1.policy.family import QWEN2_5_VL
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


@pytest.mark.parametrize(
    ("freeze", "targets", "learn"),
    [
        (True, "all-linear", {"language"}),
        (False, "all-linear", {"language", "projector", "vision"}),
        (False, LoraSection().target_modules, {"language"}),
    ],
)
def test_adapters_learn_where_their_part_does(toy, freeze, targets, learn, capsys):
    lora = LoraSection(r=4, alpha=8, dropout=0.0, target_modules=targets)
    policy = replace(toy.policy, lora=lora, freeze_vision=freeze, freeze_projector=freeze)
    saved = finetune(replace(toy, policy=policy, sft={**toy.sft, "max_steps": 2}))
    weights = load_file(saved / "adapter_model.safetensors")
    # What begins as zeros.
    moved = {QWEN2_5_VL.part_of(n) for n, w in weights.items() if "lora_B" in n and w.any()}
    assert moved == learn
    said = capsys.readouterr()
    told = "policy.freeze_vision=false: no effect" in " ".join((said.out + said.err).split())
    assert told is (not freeze and "vision" not in learn)
