"""What the record of a family says is what transformers' own model of that family is."""

from __future__ import annotations

import re

import pytest
import torch
from peft import get_peft_model
from transformers import AutoConfig, AutoModelForImageTextToText

from anomalyr1.config import LoraSection, PolicyConfig
from anomalyr1.errors import InputError
from anomalyr1.policy.family import FAMILIES, QWEN2_5_VL, QWEN3_VL, family_of
from anomalyr1.policy.load import (
    freeze,
    load_policy,
    lora_config,
    read_family,
)
from anomalyr1.policy.tiny import build_processor
from anomalyr1.shared_prefix.attention import prepare


@pytest.fixture(params=FAMILIES, ids=lambda family: family.name)
def family(request):
    return request.param


@pytest.fixture
def path(family, tiny_policy, tiny_qwen3):
    return {QWEN2_5_VL: tiny_policy, QWEN3_VL: tiny_qwen3}[family]


def test_the_record_is_true(family, path):
    policy = load_policy(PolicyConfig(path=str(path)))
    assert policy.family is family is read_family(PolicyConfig(path=str(path)))
    assert type(policy.model).__name__ == family.model_class
    vision = policy.model.config.vision_config
    assert vision.patch_size * vision.spatial_merge_size == family.factor
    images = policy.processor.image_processor
    assert (images.patch_size, images.merge_size) == (family.patch_size, family.merge_size)
    modules = {name for name, _ in policy.model.named_modules()}
    for part in (family.tower, *family.projectors):
        assert f"model.{part}" in modules


def test_every_weight_of_the_tower_is_one_part_or_the_other(family, path):
    """All that hands features to the language model is projector: it ends in that model's width."""
    model = AutoModelForImageTextToText.from_pretrained(path)
    parts = {name: family.part_of(name) for name, _ in model.named_parameters()}
    for name, part in parts.items():
        assert (part == "language") == (".visual." not in name)
    mergers = [m for m in model.modules() if type(m).__name__.endswith("Merger")]
    handing = {id(weight) for merger in mergers for weight in merger.parameters()}
    of = {name for name, weight in model.named_parameters() if id(weight) in handing}
    assert of and of == {name for name, part in parts.items() if part == "projector"}


@pytest.mark.parametrize(("vision", "projector"), [(True, False), (False, True), (True, True)])
def test_parts_are_frozen_by_their_names(family, path, vision, projector):
    section = PolicyConfig(path=str(path), freeze_vision=vision, freeze_projector=projector)
    model = load_policy(section, trainable=True).model
    learns = {"vision": not vision, "projector": not projector, "language": True}
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad == learns[family.part_of(name)], name


def test_lora_goes_to_the_language_model_alone(family, path):
    section = PolicyConfig(path=str(path), lora=LoraSection(r=2))
    model = get_peft_model(load_policy(section, trainable=True).model, lora_config(section))
    adapted = [name for name, _ in model.named_parameters() if "lora_" in name]
    layers = model.config.text_config.num_hidden_layers
    assert len(adapted) == layers * 7 * 2
    assert all(family.part_of(name) == "language" for name in adapted)
    assert family_of(model.config.model_type) is family  # through the adapter


def test_it_shares_prefixes(path):
    assert prepare(load_policy(PolicyConfig(path=str(path))).model) is None


def test_an_adapter_is_of_the_family_of_its_base(tiny_qwen3, tmp_path):
    section = PolicyConfig(path=str(tiny_qwen3), lora=LoraSection(r=2))
    policy = load_policy(section, trainable=True)
    adapted = get_peft_model(policy.model, lora_config(section))
    adapted.save_pretrained(tmp_path)
    policy.processor.save_pretrained(tmp_path)
    again = PolicyConfig(path=str(tmp_path))
    assert read_family(again) is QWEN3_VL
    assert load_policy(again).family is QWEN3_VL


def test_a_processor_of_the_other_family_is_refused(tiny_qwen3, tiny_policy, tmp_path):
    """Patches of 14 would be cut for a tower of 16: a frame of its own for every image."""
    policy = load_policy(PolicyConfig(path=str(tiny_qwen3)))
    policy.model.save_pretrained(tmp_path)
    build_processor(policy.processor.tokenizer).save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"processor of a Qwen3-VL .* found patches of 14"):
        load_policy(PolicyConfig(path=str(tmp_path)))


def test_what_cannot_be_frozen_is_not_passed_over():
    class Other(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.config = AutoConfig.for_model("llava")
            self.vision_tower = torch.nn.Linear(1, 1)

    with pytest.raises(InputError, match=re.escape("policy.freeze_vision=false")):
        freeze(Other(), vision=True, projector=False)
    freeze(Other(), vision=False, projector=False)
