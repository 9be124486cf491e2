"""Frames and token counts are those of the processor that really runs."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from forked import completed
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from pictures import save
from PIL import Image
from transformers import CLIPImageProcessor, Qwen2VLImageProcessor
from transformers.models.glm4v.image_processing_glm4v import Glm4vImageProcessor
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from anomalyr1.config import PolicyConfig, PromptConfig
from anomalyr1.data.images import open_image
from anomalyr1.errors import InputError
from anomalyr1.geometry import LARGEST_ASPECT_RATIO, too_extreme
from anomalyr1.policy.family import QWEN2_5_VL, QWEN3_VL, family_of
from anomalyr1.policy.load import load_processor
from anomalyr1.policy.resizing import (
    image_tokens,
    model_frame,
    require_pixel_limits,
    resized_size,
)
from anomalyr1.refusals import refused_size
from anomalyr1.rows import build_rows
from anomalyr1.schema import Box, Question, Sample

KINDS = (Qwen2VLImageProcessor, Qwen2VLImageProcessorPil)  # torchvision's and Pillow's
FAMILIES = (QWEN2_5_VL, QWEN3_VL)
sides = st.one_of(st.integers(1, 60), st.integers(1, 900))
limits = st.tuples(st.sampled_from([1, 784, 3136, 50_000]), st.integers(1, 300_000))


def processor(kind, family, minimum, maximum):
    size = {"shortest_edge": minimum, "longest_edge": maximum}
    images = kind(size=size, patch_size=family.patch_size, merge_size=family.merge_size)
    return SimpleNamespace(image_processor=images)


def seen(policy, width, height) -> tuple[int, int, int]:
    """Width, height and tokens of a blank image that has gone through the processor."""
    blank = Image.new("RGB", (width, height))
    images = policy.image_processor
    _, rows, columns = images(images=blank, return_tensors="pt")["image_grid_thw"][0].tolist()
    tokens = rows * columns // images.merge_size**2
    return columns * images.patch_size, rows * images.patch_size, tokens


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60)
@given(sides, sides, limits)
@example(122, 13, (3136, 480_000))  # was taken for 112 x 28
@example(37, 911, (3136, 12_544))  # was given a side of 0
@example(1, 1, (3136, 480_000))
@example(1, 200, (1, 784))
@example(3, 3, (3136, 12_544))  # as many rows as colours
def test_frame_and_tokens_are_those_of_the_grid(kind, family, width, height, pixels):
    assume(pixels[0] <= pixels[1])
    policy = processor(kind, family, *pixels)
    if refused_size((width, height), policy):
        with pytest.raises(ValueError, match="aspect ratio"):
            seen(policy, width, height)
        return
    resized = resized_size(width, height, policy)
    assert (*resized, image_tokens(resized, policy)) == seen(policy, width, height)
    frame = model_frame(width, height, policy, family)
    assert (frame.width, frame.height) == (width, height)
    assert frame.model_size == (resized if family is QWEN2_5_VL else (1000, 1000))
    patches = policy.image_processor.get_number_of_image_patches(height, width)
    assert patches == 4 * image_tokens(resized, policy)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("width", "height"), [(20_000, 100), (20_000, 150), (100, 20_000)])
def test_of_huge_strips_too(kind, width, height):
    policy = processor(kind, QWEN2_5_VL, 3136, 480_000)
    resized = resized_size(width, height, policy)
    assert (*resized, image_tokens(resized, policy)) == seen(policy, width, height)


def test_the_two_sizes_that_went_wrong():
    """By hand: 122 x 13 is 4.36 x 0.46 tokens; scaled up by 1.41 to 3,136 pixels, that is 7 x 1."""
    assert resized_size(122, 13, processor(KINDS[0], QWEN2_5_VL, 3136, 480_000)) == (196, 28)
    assert min(resized_size(37, 911, processor(KINDS[0], QWEN2_5_VL, 3136, 12_544))) == 28


def test_qwen_frame_of_a_square_image():
    # FACTS: 1024 x 1024 becomes 980 x 980 at a cap of 1280 * 28 * 28, which is 70 x 70 patches.
    policy = processor(KINDS[0], QWEN2_5_VL, 3136, 1280 * 28 * 28)
    frame = model_frame(1024, 1024, policy, QWEN2_5_VL)
    assert frame.to_model(Box(0, 512, 1024, 1024)).xyxy == (0, 490, 980, 980)


@pytest.mark.parametrize("kind", KINDS)
def test_the_rule_without_a_processor_is_the_processors(kind):
    policy = processor(kind, QWEN2_5_VL, 3136, 12_544)
    for size in ((20 * LARGEST_ASPECT_RATIO, 20), (20 * LARGEST_ASPECT_RATIO + 1, 20), (7, 1401)):
        assert (refused_size(size, policy) is None) == (not too_extreme(*size))
    assert refused_size((5000, 20)) == "5000 x 20 pixels, more than 200 to 1"


def test_prompts_of_strips_are_as_long_as_counted(tiny_policy, tmp_path):
    """The count that decides what is too long is that of the tokens the model is given."""
    question = Question("Is there a defect?", "Anomaly Detection", {"A": "Yes.", "B": "No."}, "A")
    sizes = [(122, 13), (37, 911), (1, 1), (300, 2)]
    samples = []
    for number, (width, height) in enumerate(sizes):
        key = f"Toy/strip/test/good/{number}.png"
        save(tmp_path / key, np.zeros((height, width, 3), np.uint8))
        samples.append(Sample(key, tmp_path, (question,)))
    policy = load_processor(PolicyConfig(path=str(tiny_policy), max_pixels=12_544))
    for row in build_rows(samples, PromptConfig(references=0), policy, QWEN2_5_VL):
        text = policy.apply_chat_template(row.messages, tokenize=False, add_generation_prompt=True)
        inputs = policy(
            text=[text], images=[[open_image(row.sample.path)]], add_special_tokens=False
        )
        assert len(inputs["input_ids"][0]) == row.tokens
        _, rows, columns = inputs["image_grid_thw"][0]
        assert row.frame.model_size == (14 * columns, 14 * rows)


@pytest.mark.parametrize("kind", [CLIPImageProcessor, Glm4vImageProcessor])
def test_a_processor_without_pixel_limits_is_refused_by_name(kind):
    with pytest.raises(InputError, match=f"policy.path=here, found {kind.__name__}"):
        require_pixel_limits(kind(), "here")


def test_no_frame_is_made_up_for_an_unknown_family():
    policy = processor(KINDS[0], QWEN2_5_VL, 3136, 12_544)
    assert model_frame(200, 100, policy, family_of("qwen2_vl")) is None


def test_the_sizes_of_defects_by_hand(tiny_policy, toy_benchmark):
    """The toy's spots are 50 x 40 pixels in images of 112 x 112 and 160 x 90."""
    sides = ["--side", "28", "--side", "56"]
    words = ("scripts/defect_sizes.py", toy_benchmark, "--policy", tiny_policy, *sides)
    said = completed(words)
    assert "8 images, 4 defects" in said
    # At 28 x 28 a quarter of each side (12.5 x 10 pixels), and 28 of 160 by 28 of 90 (8.75 x 12.4).
    # At 56 x 56 a half, and 56 x 28 of 160 x 90 (17.5 x 12.4).
    assert "| 28 x 28 | 1 | 50.0% | 100.0% |" in said
    assert "| 56 x 56 | 3 | 100.0% | 100.0% |" in said
