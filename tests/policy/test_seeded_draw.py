"""Noisy logits decode to a sample, each row's from its own seed."""

from __future__ import annotations

import pytest
import torch

from anomalyr1.policy.seeded_draw import SeededDraw

LOGITS = torch.tensor([1.0, 0.0, -1.0, float("-inf")])


def drawn(seeds, temperature, logits=LOGITS):
    return SeededDraw(seeds, temperature)(None, logits.repeat(len(seeds), 1)).argmax(-1)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_the_shares_are_those_of_softmax(temperature):
    seeds = 4000
    found = drawn(range(seeds), temperature).bincount(minlength=4) / seeds
    expected = (LOGITS / temperature).softmax(-1)
    # Four standard errors of a share.
    assert ((found - expected).abs() <= 4 * (expected * (1 - expected) / seeds).sqrt()).all()


def test_a_row_does_not_depend_on_the_others():
    alone = [int(drawn([seed], 1.0)) for seed in range(20)]
    assert drawn(range(20), 1.0).tolist() == alone
    several = SeededDraw([3, 4], 1.0)
    one = SeededDraw([4], 1.0)
    for _ in range(5):  # token after token
        assert torch.equal(several(None, LOGITS.repeat(2, 1))[1], one(None, LOGITS[None])[0])
    assert len({*alone}) > 1


def test_half_precision_is_no_obstacle():
    assert drawn([1, 2], 1.0, LOGITS.bfloat16()).tolist() == drawn([1, 2], 1.0).tolist()
