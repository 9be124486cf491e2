"""Narrow weights compute as their float32 copies would, and are as before afterwards."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

from anomalyr1.policy.merge import _prompt
from anomalyr1.policy.precision import computed_in_float32


@pytest.fixture(scope="module")
def inputs(tiny_policy):
    return _prompt(AutoProcessor.from_pretrained(str(tiny_policy)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_activations_are_float32_whatever_the_weights(tiny_policy, inputs, dtype):
    model = AutoModelForImageTextToText.from_pretrained(str(tiny_policy), dtype=dtype).eval()
    tensors = {name: weight.data for name, weight in model.named_parameters()}
    copy = deepcopy(model).float()
    # What the vision tower is given is rounded to its weights' dtype before any layer sees it.
    pixels = inputs["pixel_values"].to(dtype).float()
    with torch.inference_mode():
        with computed_in_float32(model):
            found = model(**inputs).logits
        expected = copy(**{**inputs, "pixel_values": pixels}).logits
        assert model(**inputs).logits.dtype == dtype
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * expected.abs().max())
    assert all(
        weight.data_ptr() == tensors[name].data_ptr() for name, weight in model.named_parameters()
    )
    assert {weight.dtype for weight in model.parameters()} == {dtype}


def test_a_layer_that_fails_has_its_own_weights_back():
    layer = torch.nn.Linear(3, 2, dtype=torch.bfloat16)
    before = layer.weight.data.clone()
    with pytest.raises(RuntimeError), computed_in_float32(layer):
        layer(torch.zeros(1, 4))
    assert layer.weight.dtype == torch.bfloat16 and torch.equal(layer.weight, before)
    assert layer(torch.zeros(1, 3, dtype=torch.bfloat16)).dtype == torch.bfloat16
