"""Completions from shared prefixes are those of stock `generate`, whatever the batch holds."""

from __future__ import annotations

import pytest
import torch
from families import both_families
from pictures import noise

from anomalyr1.config import PolicyConfig
from anomalyr1.policy.generate import generate
from anomalyr1.policy.load import Policy, load_policy
from anomalyr1.shared_prefix.attention import prepare, shares_attention
from anomalyr1.shared_prefix.cache import SharedCache
from anomalyr1.shared_prefix.prefixes import Prompt
from anomalyr1.shared_prefix.rollout import generate_shared

LONG = "Locate every defect in the image. Is there a defect in the object? What is in the image?"
SHORT = "Is there a defect?"


A, B = noise(0, 112, 112), noise(1, 140, 84)
BATCHES = {
    "questions of one image": [([A], SHORT), ([A], LONG), ([A], "Tile?")],
    "images apart": [([A], SHORT), ([B], SHORT), ([A], LONG), ([A, B], LONG), ([A, B], SHORT)],
    "without images": [([], LONG), ([], SHORT), ([], LONG)],
    "with and without": [([A], LONG), ([], SHORT), ([B, A], SHORT), ([], LONG)],
    "one alone": [([A], SHORT)],
}


def conversation(images, question):
    content = [{"type": "image"}] * len(images)
    return [{"role": "user", "content": [*content, {"type": "text", "text": question}]}]


@both_families(
    "name, attention",
    [(name, attention) for name in BATCHES for attention in ("sdpa", "eager")],
    quick=[("images apart", "sdpa"), ("with and without", "sdpa")],
)
def test_greedy_completions_are_those_of_stock(name, attention, policy_path, monkeypatch):
    used = []
    looked_at = SharedCache.look_at
    monkeypatch.setattr(
        SharedCache, "look_at", lambda self, *a: (used.append(self), looked_at(self, *a))[1]
    )
    section = PolicyConfig(path=str(policy_path), max_pixels=112 * 112, attention=attention)
    batch = BATCHES[name]
    completions = []
    for shared in (False, True):
        policy = load_policy(section)
        if shared:
            assert prepare(policy.model) is None
            assert prepare(policy.model) is None  # again: nothing changes
            assert shares_attention(policy.model) is (attention == "sdpa")
        completions.append(
            generate(
                policy,
                [conversation(*row) for row in batch],
                [images for images, _ in batch],
                max_new_tokens=16,
                share=shared,
            )
        )
    assert completions[0] == completions[1]
    assert max(len(completion) for completion in completions[0]) > 1
    assert bool(used) is (attention == "sdpa")


def test_a_config_that_names_the_kernel_does_not_prepare_a_model(tiny_policy):
    policy = load_policy(PolicyConfig(path=str(tiny_policy), max_pixels=112 * 112))
    prepare(policy.model)
    twin = type(policy.model)(policy.model.config).eval()  # the same config object
    twin.load_state_dict(policy.model.state_dict())
    assert shares_attention(policy.model) and not shares_attention(twin)
    asked = [conversation([A], SHORT), conversation([A], LONG)]

    def answer(model):
        return generate(Policy(model, policy.processor), asked, [[A], [A]], max_new_tokens=12)

    expected = answer(policy.model)
    assert answer(twin) == expected
    assert prepare(twin) is None and shares_attention(twin)
    assert answer(twin) == expected


@pytest.mark.parametrize(
    "setting",
    [{"use_cache": False}, {"num_beams": 2}, {"cache_implementation": "static"}],
)
def test_a_checkpoint_with_a_cache_or_an_order_of_its_own_is_asked_as_stock(setting, tiny_policy):
    answers = []
    for shared in (False, True):
        policy = load_policy(PolicyConfig(path=str(tiny_policy), max_pixels=112 * 112))
        prepare(policy.model)
        policy.model.generation_config.update(**setting)
        asked = [conversation([A], SHORT), conversation([A], LONG)]
        answers.append(generate(policy, asked, [[A], [A]], max_new_tokens=8, share=shared))
    assert answers[0] == answers[1]


def test_prompts_without_a_common_beginning(tiny_policy):
    """A prompt of one token has nothing in front of its last one."""
    policy = load_policy(PolicyConfig(path=str(tiny_policy), max_pixels=112 * 112))
    prepare(policy.model)
    rows = [torch.tensor([40]), torch.tensor([41, 42, 43])]
    prompts = [Prompt(row, torch.zeros_like(row)) for row in rows]
    together = generate_shared(
        policy.model, prompts, None, [[0], [1]], max_new_tokens=6, do_sample=False
    )
    for row, found in zip(rows, together, strict=True):
        alone = policy.model.generate(
            input_ids=row[None],
            attention_mask=torch.ones(1, len(row)),
            max_new_tokens=6,
            do_sample=False,
        )[0, len(row) :]
        assert found[: len(alone)].tolist() == alone.tolist()
