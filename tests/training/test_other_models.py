"""A model that is no Qwen2.5-VL trains as stock TRL does, and says so in one line."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_trainer import SMALL, WIDE, dataset, make_trainer
from transformers import AutoProcessor, Qwen2VLConfig, Qwen2VLForConditionalGeneration

from anomalyr1.config import PolicyConfig
from anomalyr1.policy.generate import generate
from anomalyr1.policy.load import load_policy
from anomalyr1.policy.tiny import image_token_ids
from anomalyr1.shared_prefix.attention import prepare, sharing_obstacle

REASON = "Qwen2VLForConditionalGeneration is not a Qwen2.5-VL"


@pytest.fixture(scope="module")
def older(tiny_policy, tmp_path_factory):
    """A tiny Qwen2-VL, whose vision tower and positions are close relatives."""
    processor = AutoProcessor.from_pretrained(tiny_policy)
    token = processor.tokenizer.convert_tokens_to_ids
    config = Qwen2VLConfig(
        text_config={
            "vocab_size": len(processor.tokenizer),
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "mrope_section": [2, 3, 3],
            },
            "pad_token_id": token("<|endoftext|>"),
        },
        vision_config={
            "depth": 2,
            "embed_dim": 64,
            "hidden_size": 64,
            "num_heads": 4,
            "mlp_ratio": 2,
        },
        **image_token_ids(processor.tokenizer),
    )
    torch.manual_seed(0)
    model = Qwen2VLForConditionalGeneration(config)
    model.generation_config.eos_token_id = token("<|im_end|>")
    model.generation_config.pad_token_id = token("<|endoftext|>")
    out = tmp_path_factory.mktemp("qwen2vl")
    model.save_pretrained(out)
    processor.save_pretrained(out)
    return out


def test_it_trains_without_sharing(older, tmp_path, capsys):
    run = make_trainer(older, tmp_path, dataset([[SMALL], [WIDE]]))
    lines = [line for line in capsys.readouterr().out.splitlines() if "shared prefix" in line]
    assert lines == [f"shared prefix: off, {REASON}; prompts are computed once a completion"]
    before = {name: weight.detach().clone() for name, weight in run.model.named_parameters()}
    run.train()
    assert any((before[n] != weight).any() for n, weight in run.model.named_parameters())


def test_it_answers_without_sharing(older):
    policy = load_policy(PolicyConfig(path=str(older), max_pixels=112 * 112))
    assert prepare(policy.model) == sharing_obstacle(policy.model) == REASON
    picture = Image.fromarray(np.zeros((112, 112, 3), np.uint8))
    content = [{"type": "image"}, {"type": "text", "text": "Is there a defect?"}]
    asked = [[{"role": "user", "content": content}]]
    assert len(generate(policy, asked, [[picture]], max_new_tokens=4)) == 1
