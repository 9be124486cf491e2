"""Completions in chunks behind one copy of their prompt: the numbers of one pass over all."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from families import both_families
from peft import LoraConfig, get_peft_model
from test_logprobs import LENGTHS, questions
from torch.nn.attention import flex_attention as library
from transformers import AutoModelForImageTextToText, AutoProcessor

from anomalyr1.shared_prefix import Prompt, RowImages, plain_score, prepare, shared_logps
from anomalyr1.shared_prefix import flex_attention as flex
from anomalyr1.shared_prefix.packed_attention import packed_attention
from anomalyr1.shared_prefix.packing import Stretch, WholeRow, block_mask, lay_out
from anomalyr1.shared_prefix.trunk import Trunk


def row(number: int, *ids: int) -> WholeRow:
    tokens = torch.tensor(ids)
    return WholeRow(tokens, 0 * tokens, tokens.expand(3, -1), tokens, 100 * number + tokens)


# An image, two questions about it, three and one answers; then a prompt with one answer.
ROWS = {0: row(0, 1, 2, 3, 4, 5), 1: row(1, 1, 2, 3, 6), 2: row(2, 1, 2, 3, 7, 8)}
ROWS |= {3: row(3, 1, 2, 9, 10, 11), 4: row(4, 12, 13)}
TREES = [
    Stretch(
        0,
        0,
        2,
        (
            Stretch(0, 2, 3, (Stretch(0, 3, 5), Stretch(1, 3, 4), Stretch(2, 3, 5))),
            Stretch(3, 2, 4, (Stretch(3, 4, 5),)),
        ),
    ),
    Stretch(4, 0, 1, (Stretch(4, 1, 2),)),
]


def test_a_tree_by_hand():
    packed = lay_out(TREES, ROWS)
    # image, second prompt, two questions; answers to the second prompt, the first question, ...
    assert packed.input_ids.tolist() == [[1, 2, 12, 3, 9, 10, 13, 4, 5, 6, 7, 8, 11]]
    assert packed.source[:, 1].tolist()[:7] == [1, 2, 412, 3, 309, 310, 413]
    mask = block_mask(packed.layout)[0, 0]
    assert [[int(key) for key in packed.input_ids[0][who]] for who in mask] == [
        [1],
        [1, 2],
        [12],
        [1, 2, 3],
        [1, 2, 9],
        [1, 2, 9, 10],
        [12, 13],
        [1, 2, 3, 4],
        [1, 2, 3, 4, 5],
        [1, 2, 3, 6],
        [1, 2, 3, 7],
        [1, 2, 3, 7, 8],
        [1, 2, 9, 10, 11],
    ]


@pytest.mark.parametrize("budget", [1, 2, 3, 4, 6, 100])
def test_chunks_of_a_tree_see_what_the_tree_sees(budget, monkeypatch):
    monkeypatch.setattr(library, "_validate_device", lambda *_: None)
    whole, packed = lay_out(TREES, ROWS), lay_out(TREES, ROWS, budget)
    assert torch.equal(whole.input_ids, packed.input_ids)
    sizes = [part[-1].end - part[0].start for part in packed.chunks]
    assert (sum(sizes) == 7 and max(sizes) <= max(budget, 2)) if budget < 7 else not sizes
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(1, h, 13, 16, generator=generator) for h in (4, 2, 2))
    mask = block_mask(whole.layout)[0, 0]
    repeated = [states.repeat_interleave(2, 1) for states in (key, value)]
    wanted = torch.nn.functional.scaled_dot_product_attention(query, *repeated, attn_mask=mask)
    end, trunk = packed.layout[-1].end, Trunk()
    trunk.keep(0, key[:, :, :end], value[:, :, :end])
    parts = [packed_attention(query[:, :, :end], trunk.keys[0], trunk.values[0], packed.layout)]
    for part, size in zip(packed.chunks, sizes, strict=True):
        own = slice(end, end + size)
        states = trunk.before(0, key[:, :, own], value[:, :, own])
        parts.append(packed_attention(query[:, :, own], *states, part))
        layout = [*packed.layout, *part]
        flexed = flex.flex_packed_attention(
            query[:, :, own],
            *states,
            flex.pairs_of(layout, packed.layout[-1].end),
            kernel=library.flex_attention,
        )
        torch.testing.assert_close(flexed, parts[-1], rtol=0, atol=1e-5)
        end += size
    torch.testing.assert_close(torch.cat(parts, 1), wanted.transpose(1, 2), rtol=0, atol=1e-5)


@both_families(
    "checkpointing, lora, half",
    [(False, False, False), (True, False, False), (True, True, False), (False, True, True)],
)
def test_numbers_and_gradients_are_those_of_one_pass(checkpointing, lora, half, policy_path):
    processor = AutoProcessor.from_pretrained(policy_path)
    processor.tokenizer.padding_side = "left"
    inputs = questions(processor)
    ids = torch.randint(20, 200, (4, 6), generator=torch.Generator().manual_seed(0))
    mask = (torch.arange(6) < torch.tensor(LENGTHS)[:, None]).long()
    found = []
    dtype = torch.float32 if half else torch.float64
    inputs["pixel_values"] = inputs["pixel_values"].to(dtype)
    for budget in (None, 1, 8):
        model = AutoModelForImageTextToText.from_pretrained(policy_path, dtype=dtype)
        if lora:
            adapter = LoraConfig(target_modules=r"^(?!.*visual).*\.(q|k|v)_proj$")
            torch.manual_seed(0)
            model = get_peft_model(model, adapter)
            for name, weight in model.named_parameters():
                if "lora_B" in name:
                    torch.nn.init.normal_(weight, std=0.02)
        assert prepare(model) is None
        model.train()
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        logps, _ = shared_logps(
            model,
            Prompt.of_batch(inputs),
            RowImages.of_batch(inputs),
            ids,
            mask,
            score=plain_score(0.7),
            chunk_tokens=budget,
            autocast=lambda: torch.autocast("cpu", torch.bfloat16) if half else nullcontext(),
        )
        (logps * torch.arange(1, 5)[:, None]).sum().backward()
        gradient = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        found.append((logps.detach(), gradient))
    (whole, slope), *parts = found
    limit = 0.05 if half else 1e-7
    assert whole.abs().sum() > 1 and slope.norm() > 0
    for logps, gradient in parts:
        torch.testing.assert_close(logps, whole, rtol=0, atol=limit)
        assert gradient.shape == slope.shape and (gradient - slope).norm() <= limit * slope.norm()
