"""A vision tower that learns nothing is not differentiated, and what learns learns the same."""

from __future__ import annotations

import pytest
import torch
from families import second_slow
from tiny_trainer import SMALL, WIDE, dataset, make_trainer

from anomalyr1.config import LoraSection, PolicyConfig
from anomalyr1.policy.family import QWEN2_5_VL
from anomalyr1.policy.load import read_family
from anomalyr1.shared_prefix.vision import backbone_of
from anomalyr1.training import run_trainer

LORA = LoraSection(r=4, alpha=8, dropout=0.0)


def train(policy, tmp_path, checkpointing=True, **policy_options):
    """Trained weights, and whether gradients flowed into the blocks of the vision tower."""
    run = make_trainer(
        policy,
        tmp_path,
        dataset([[SMALL], [WIDE]]),
        policy_options=policy_options,
        gradient_checkpointing=checkpointing,
    )
    flowed = []

    def look(_, args):
        if torch.is_grad_enabled():
            flowed.append(args[0].requires_grad)

    backbone_of(run.model).visual.blocks[0].register_forward_pre_hook(look)
    run.train()
    learned = {n: p.detach().clone() for n, p in run.model.named_parameters() if p.requires_grad}
    return learned, any(flowed)


@second_slow
@pytest.mark.parametrize("lora", [LORA, None])
@pytest.mark.parametrize("freeze_projector", [True, False])
def test_what_learns_learns_the_same(freeze_projector, lora, policy_path, tmp_path, monkeypatch):
    options = {"lora": lora, "freeze_vision": True, "freeze_projector": freeze_projector}
    ours, flowed = train(policy_path, tmp_path, **options)
    assert not flowed
    monkeypatch.setattr(run_trainer, "spare_frozen_tower", lambda model: None)
    stock, flowed = train(policy_path, tmp_path, **options)
    # Transformers asks for gradients that nobody needs, of the older tower alone.
    assert flowed is (read_family(PolicyConfig(path=str(policy_path))) is QWEN2_5_VL)
    assert ours.keys() == stock.keys() and len(ours) > 0
    for name, weight in stock.items():
        torch.testing.assert_close(ours[name], weight, rtol=0, atol=1e-6)


@second_slow
def test_a_tower_that_learns_is_left_alone(policy_path, tmp_path):
    learned, flowed = train(policy_path, tmp_path, freeze_vision=False)
    assert flowed and any(".visual.blocks.0." in name for name in learned)
