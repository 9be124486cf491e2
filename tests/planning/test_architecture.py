"""Parameters by part: the meta model against real ones, and the published numbers."""

from __future__ import annotations

import pytest
from families import in_each_family
from peft import get_peft_model
from transformers import Qwen2VLConfig

from anomalyr1.config import LoraSection, PolicyConfig
from anomalyr1.errors import InputError
from anomalyr1.planning.architecture import (
    count_parameters,
    held_dtype,
    meta_model,
    part_of,
    read_architecture,
)
from anomalyr1.planning.published import KNOWN
from anomalyr1.policy.family import QWEN2_5_VL, QWEN3_VL
from anomalyr1.policy.load import load_policy, lora_config

FROZEN = [(True, False), (False, True), (False, False), (True, True)]


@in_each_family
@pytest.mark.parametrize(("vision", "projector"), FROZEN)
def test_counts_are_those_of_the_real_policy(policy_path, vision, projector):
    section = PolicyConfig(path=str(policy_path), freeze_vision=vision, freeze_projector=projector)
    counts = count_parameters(meta_model(read_architecture(section), section))
    assert counts == count_parameters(load_policy(section, trainable=True).model)
    assert counts["head"].total == 0  # tied
    assert bool(counts["vision"].trained) is not vision
    assert bool(counts["projector"].trained) is not projector


@pytest.mark.parametrize("targets", [LoraSection().target_modules, ["q_proj", "v_proj"]])
def test_lora_counts_are_those_of_the_real_adapter(tiny_policy, targets):
    lora = LoraSection(r=4, alpha=8, target_modules=targets)
    section = PolicyConfig(path=str(tiny_policy), lora=lora)
    counts = count_parameters(meta_model(read_architecture(section), section))
    real = get_peft_model(load_policy(section, trainable=True).model, lora_config(section))
    assert counts == count_parameters(real)
    assert counts["LoRA"].trained == counts["LoRA"].total > 0
    assert counts["language"].trained == 0


def test_a_trained_adapter_is_counted_on_its_base(tiny_policy, tmp_path):
    section = PolicyConfig(path=str(tiny_policy), lora=LoraSection(r=4, alpha=8))
    real = get_peft_model(load_policy(section, trainable=True).model, lora_config(section))
    real.save_pretrained(tmp_path)
    again = PolicyConfig(path=str(tmp_path))
    counts = count_parameters(meta_model(read_architecture(again), again))
    assert counts == count_parameters(real)


@pytest.mark.parametrize(
    ("name", "total"),
    [("2.5-VL-3B", 3_754_622_976), ("2.5-VL-7B", 8_292_166_656), ("3-VL-4B", 4_437_815_808)],
    ids=["3B", "7B", "4B"],
)
def test_published_numbers_give_the_published_size(name, total):
    section = PolicyConfig(path=f"Qwen/Qwen{name}-Instruct", freeze_vision=False)
    assert section.path in KNOWN
    architecture = read_architecture(section)
    counts = count_parameters(meta_model(architecture, section))
    assert sum(count.total for count in counts.values()) == total
    assert str(held_dtype(architecture.config, section)) == "torch.bfloat16"


@pytest.mark.parametrize("path", ["/nowhere/policy", "./nowhere"])
def test_a_folder_that_is_not_there(path):
    with pytest.raises(InputError, match=r"policy\.path=.*found none that loads"):
        read_architecture(PolicyConfig(path=path))


def test_another_family_is_not_planned_and_told_why(tmp_path):
    Qwen2VLConfig().save_pretrained(tmp_path)
    with pytest.raises(InputError) as caught:
        read_architecture(PolicyConfig(path=str(tmp_path)))
    assert str(caught.value) == (
        f"expected a Qwen2.5-VL or Qwen3-VL at policy.path={tmp_path}, whose layers are what plan "
        "knows, found a qwen2_vl; plan for one of those of about its size, or try a short run"
    )


def test_parts_by_name():
    language = "base_model.model.model.language_model"
    assert part_of(f"{language}.layers.0.q_proj.lora_A.w", QWEN2_5_VL) == "LoRA"
    assert part_of("model.visual.blocks.0.norm1.weight", QWEN2_5_VL) == "vision"
    assert part_of("model.visual.pos_embed.weight", QWEN3_VL) == "vision"
    assert part_of("model.visual.deepstack_merger_list.0.norm.weight", QWEN3_VL) == "projector"
    assert part_of("model.language_model.norm.weight", QWEN3_VL) == "language"
