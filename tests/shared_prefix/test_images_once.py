"""Images that recur in a batch are prepared and seen once; nothing else changes."""

from __future__ import annotations

import pytest
import torch
from families import in_each_family
from pictures import noise

from anomalyr1.config import PolicyConfig
from anomalyr1.policy.load import load_policy
from anomalyr1.shared_prefix.images_once import prepared_once, see_once


@pytest.fixture
def policy(policy_path):
    return load_policy(PolicyConfig(path=str(policy_path), max_pixels=12544), trainable=True)


# Two copies of one picture, another of the same size, one of another size, the first again.
BATCH = [noise(0), noise(0), noise(1), noise(2, 140, 84), noise(0)]


@in_each_family
def test_preparation_gives_the_same_patches(policy):
    processor = policy.processor.image_processor
    stock = processor(images=BATCH, return_tensors="pt")
    seen = []
    inner = type(processor)._preprocess

    def counted(self, images, *args, **kwargs):
        seen.append(len(images))
        return inner(self, images, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(processor), "_preprocess", counted)
        with prepared_once(processor):
            ours = processor(images=BATCH, return_tensors="pt")
            nested = processor(images=[BATCH[:2], BATCH[2:]], return_tensors="pt")
    assert seen == [3, 3]
    for name in ("pixel_values", "image_grid_thw"):
        assert torch.equal(stock[name], ours[name]) and torch.equal(stock[name], nested[name])
    assert "preprocess" not in vars(processor)


@in_each_family
def test_the_vision_tower_sees_each_image_once(policy):
    inputs = policy.processor.image_processor(images=BATCH, return_tensors="pt")
    visual = policy.model.model.visual
    visual.requires_grad_(True)
    patches = []
    visual.patch_embed.register_forward_pre_hook(lambda _, args: patches.append(len(args[0])))

    def run():
        visual.zero_grad()
        output = visual(inputs["pixel_values"], grid_thw=inputs["image_grid_thw"])
        # Qwen3-VL hands features of its other blocks to the language model too.
        handed = [output.pooler_output, *getattr(output, "deepstack_features", ())]
        weight = torch.arange(handed[0].numel()).view_as(handed[0])
        sum(n * (f * weight.sin()).sum() for n, f in enumerate(handed, start=1)).backward()
        gradient = [parameter.grad.clone() for parameter in visual.parameters()]
        return torch.stack(handed).detach(), output.last_hidden_state.detach(), gradient

    stock = run()
    see_once(visual)
    ours = run()
    each = inputs["image_grid_thw"].prod(1)
    assert patches == [int(each.sum()), int(each[[0, 2, 3]].sum())]
    torch.testing.assert_close(stock[0], ours[0], rtol=1e-5, atol=1e-5)
    assert stock[1].shape == ours[1].shape
    for a, b in zip(stock[2], ours[2], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


@in_each_family
def test_distinct_images_pass_untouched(policy):
    batch = [noise(0), noise(1)]
    processor = policy.processor.image_processor
    with prepared_once(processor):
        inputs = processor(images=batch, return_tensors="pt")
    assert torch.equal(
        inputs["pixel_values"], processor(images=batch, return_tensors="pt")["pixel_values"]
    )
    visual = policy.model.model.visual
    stock = visual(inputs["pixel_values"], grid_thw=inputs["image_grid_thw"]).pooler_output
    see_once(visual)
    ours = visual(inputs["pixel_values"], grid_thw=inputs["image_grid_thw"]).pooler_output
    assert torch.equal(stock, ours)
