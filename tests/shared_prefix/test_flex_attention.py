"""FlexAttention over packed groups gives what SDPA gives; where it cannot serve, it says why."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch.nn.attention import flex_attention as library

from anomalyr1.shared_prefix import flex_attention as flex
from anomalyr1.shared_prefix.flex_attention import flex_obstacle, flex_packed_attention, pairs_of
from anomalyr1.shared_prefix.packed_attention import packed_attention, segments
from anomalyr1.shared_prefix.packing import block_mask

CPU = torch.device("cpu")
GPU = torch.device("cuda")
CONFIG = SimpleNamespace(
    num_attention_heads=4, num_key_value_heads=2, hidden_size=64, attention_dropout=0.0
)


@pytest.fixture
def uncompiled(monkeypatch):
    """The kernel as plain torch operations, whose backward pass torch refuses on a CPU by rule."""
    monkeypatch.setattr(library, "_validate_device", lambda *_: None)
    monkeypatch.setattr(flex, "_compiled", lambda: library.flex_attention)


def layouts():
    yield [*segments(5, [2, 1, 3], CPU), *segments(3, [4], CPU, start=11)]
    yield [*segments(0, [2, 3], CPU)]
    yield [*segments(150, [30, 70], CPU), *segments(40, [9], CPU, start=250)]


@pytest.mark.parametrize("layout", layouts())
def test_outputs_and_gradients(layout, uncompiled):
    generator = torch.Generator().manual_seed(0)
    size = layout[-1].end
    query, key, value = tensors = [
        torch.randn(1, heads, size, 16, generator=generator, requires_grad=True)
        for heads in (4, 2, 2)
    ]
    ours = flex_packed_attention(query, key, value, pairs_of(layout), scaling=0.3)
    theirs = packed_attention(query, key, value, layout, scaling=0.3)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    weights = torch.randn(ours.shape, generator=generator)
    for one, other in zip(
        torch.autograd.grad(ours, tensors, weights),
        torch.autograd.grad(theirs, tensors, weights),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layout", layouts())
def test_pairs_are_those_of_the_block_mask(layout):
    pairs, size = pairs_of(layout), layout[-1].end
    dense = library.create_mask(pairs.mask_mod, 1, 1, size, size, device="cpu")
    assert torch.equal(dense, block_mask(layout))
    blocks = -(-size // 128)
    seen = pairs.to_dense()[0, 0].bool()
    for row in range(blocks):
        for column in range(blocks):
            rows, columns = (slice(128 * at, 128 * at + 128) for at in (row, column))
            assert seen[row, column] == dense[0, 0, rows, columns].any()


def test_queries_of_another_dtype_follow_the_values(uncompiled):
    """As autocast leaves them, rotated in float32."""
    (layout, *_) = layouts()
    states = torch.randn(1, 2, layout[-1].end, 16, generator=torch.Generator().manual_seed(0))
    found = flex_packed_attention(states, states, states.bfloat16(), pairs_of(layout))
    assert found.dtype == torch.bfloat16
    expected = packed_attention(states, states, states, layout)
    torch.testing.assert_close(found.float(), expected, rtol=0, atol=0.05)


def test_what_keeps_it_from_serving(uncompiled, monkeypatch):
    assert flex_obstacle(CONFIG, CPU, torch.float32) == "torch has no backward pass of it on a CPU"
    dropping = SimpleNamespace(**{**vars(CONFIG), "attention_dropout": 0.1})
    assert flex_obstacle(dropping, GPU, torch.float32) == "it knows no attention dropout"
    trial = flex._try
    monkeypatch.setattr(flex, "_try", lambda config, _, dtype: trial(config, CPU, dtype))
    assert flex_obstacle(CONFIG, GPU, torch.float32) is None
    assert flex_obstacle(CONFIG, GPU, torch.bfloat16) is None
    for factor in (1.2, float("nan")):
        wrong = lambda *given, **options: factor * library.flex_attention(*given, **options)  # noqa: B023, E731
        monkeypatch.setattr(flex, "_compiled", lambda: wrong)  # noqa: B023
        assert "its numbers differ from SDPA's by" in flex_obstacle(CONFIG, GPU, torch.float32)

    def broken(*_, **__):
        raise RuntimeError("no such kernel\nfor this device")

    monkeypatch.setattr(flex, "_compiled", lambda: broken)
    assert flex_obstacle(CONFIG, GPU, torch.float32) == "no such kernel"


@pytest.mark.slow
def test_one_compilation_serves_every_layout():
    """Traced once for all lengths; the code that torch 2.14 writes of it for a CPU does not build.

    (Its template names sizes by replacing text, where `ks1` is found in `ks17` too.)
    """
    torch.compiler.reset()
    compiled = torch.compile(library.flex_attention, dynamic=True, backend="aot_eager")
    states = {
        size: torch.randn(1, 2, size, 16, generator=torch.Generator().manual_seed(size))
        for size in (259, 390, 181)
    }
    with torch.no_grad():
        for number, prompt in enumerate((150, 281, 72)):
            layout = [*segments(prompt, [30, 70], CPU), *segments(0, [9], CPU, start=prompt + 100)]
            values = states[layout[-1].end]
            with torch._dynamo.config.patch(error_on_recompile=number > 0):
                found = flex_packed_attention(
                    values, values, values, pairs_of(layout), kernel=compiled
                )
            expected = packed_attention(values, values, values, layout)
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
