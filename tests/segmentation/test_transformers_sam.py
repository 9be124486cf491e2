"""SAM 2 and SAM 3 of transformers on small random weights: frames, counts, and the sam2 package."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import pytest
from commands import REPOSITORY
from sam2_keys import renamed

from anomalyr1.config import SegmentationConfig
from anomalyr1.errors import InputError
from anomalyr1.schema import Box
from anomalyr1.segmentation.names import PUBLISHED, SEGMENTERS
from anomalyr1.segmentation.segmenter import Segmenter, load_segmenter, segment
from anomalyr1.segmentation.tiny_sam import tiny_sam2, tiny_sam2_of_the_package, tiny_sam3

HEIGHT, WIDTH = 48, 64
IMAGE = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3)).astype(np.uint8)
BOXES = [Box(5, 5, 30, 30), Box(9, 9, 9, 20), Box(20, 10, 60, 40), Box(-5, 30, 12.4, 99)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("sams")
    return {
        "sam2-transformers": saved(tiny_sam2(side=256), root / "sam2"),
        "sam3-transformers": saved(tiny_sam3(), root / "sam3"),
    }


def saved(parts, folder: Path) -> Path:
    for part in parts:
        part.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def loaded(folders) -> dict[str, Segmenter]:
    return {name: load_segmenter(name, str(folder)) for name, folder in folders.items()}


@pytest.fixture(params=["sam2-transformers", "sam3-transformers"])
def sam(request, loaded) -> Segmenter:
    return loaded[request.param]


def test_masks_are_those_of_the_boxes_in_the_pixels_of_the_image(sam) -> None:
    masks = list(sam.masks(IMAGE, BOXES))
    assert [mask.shape for mask in masks] == [(HEIGHT, WIDTH)] * 4
    assert all(mask.dtype == np.bool_ for mask in masks)
    assert not masks[1].any()  # no pixel is in the second box
    for box, mask in zip(BOXES, masks, strict=True):  # ragged counts: each as if it were alone
        [alone] = sam.masks(IMAGE, [box])
        assert (alone != mask).mean() < 0.001
    assert (segment(sam, IMAGE, BOXES) == np.any(masks, axis=0)).all()
    assert len({mask.tobytes() for mask in masks}) == 4


def test_it_is_deterministic_and_takes_every_image_for_itself(sam) -> None:
    first = segment(sam, IMAGE, BOXES)
    turned = np.ascontiguousarray(IMAGE[:, ::-1].transpose(1, 0, 2))
    assert segment(sam, turned, BOXES[:1]).shape == (WIDTH, HEIGHT)
    assert (segment(sam, IMAGE, BOXES) == first).all()


@pytest.mark.parametrize("boxes", [[], [Box(4, 4, 4, 9)], [Box(-9, -9, -1, -1), Box(70, 1, 80, 9)]])
def test_no_usable_box_asks_nothing(sam, boxes) -> None:
    fresh = type(sam)(sam.name, None, None, "")  # nothing to ask
    assert [mask.any() for mask in fresh.masks(IMAGE, boxes)] == [False] * len(boxes)


@pytest.mark.skipif(importlib.util.find_spec("sam2") is None, reason="needs the sam2 package")
def test_both_roads_to_sam2_agree_on_the_same_weights(tmp_path) -> None:
    import torch
    from sam2.sam2_image_predictor import SAM2ImagePredictor

    from anomalyr1.segmentation.sam2 import Sam2Segmenter

    package, (ours, processor) = tiny_sam2_of_the_package(), tiny_sam2()
    weights = renamed(package.state_dict())
    ours.load_state_dict({key: weights[key] for key in ours.state_dict()})
    predictor = SAM2ImagePredictor(package)
    theirs = Sam2Segmenter(predictor, "")
    sam = load_segmenter("sam2-transformers", str(saved((ours, processor), tmp_path)))
    boxes = [BOXES[0], *BOXES[2:]]
    # From the same pixel values the same logits.
    list(theirs.masks(IMAGE, boxes))
    corners = np.array([[5, 5, 30, 30], [20, 10, 60, 40], [0, 30, 12, 48]], dtype=np.float32)
    _, _, logits = predictor.predict(box=corners, multimask_output=False)
    scaled = torch.tensor(corners) * torch.tensor([1024 / WIDTH, 1024 / HEIGHT] * 2)
    with torch.inference_mode():
        found = ours(
            pixel_values=predictor._transforms(IMAGE)[None],
            input_boxes=scaled[None],
            multimask_output=False,
        )
    assert np.abs(found.pred_masks[0].numpy() - logits).max() < 1e-5 < np.abs(logits).max()
    # Each enlarges the image in its own way: transformers rounds to whole levels of grey first.
    enlarged = processor(images=IMAGE, return_tensors="pt")["pixel_values"][0]
    assert 0 < (enlarged - predictor._transforms(IMAGE)).abs().max() < 1 / 255 / 0.224
    for ours_of, theirs_of in zip(sam.masks(IMAGE, boxes), theirs.masks(IMAGE, boxes), strict=True):
        assert (ours_of != theirs_of).mean() < 0.05


def test_what_cannot_be_loaded_is_one_line_that_names_the_terms(folders, tmp_path) -> None:
    cut = tmp_path / "cut"
    shutil.copytree(folders["sam3-transformers"], cut)
    weights = cut / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    bare = tmp_path / "bare"
    shutil.copytree(folders["sam2-transformers"], bare)
    config = json.loads((bare / "config.json").read_text())
    config["vision_config"]["fpn_hidden_size"] = 128
    (bare / "config.json").write_text(json.dumps(config))
    for name, checkpoint, said in (
        ("sam3-transformers", None, r"gated: accept the SAM License .*`hf auth login`"),
        ("sam2-transformers", None, "Apache-2.0"),
        ("sam3-transformers", cut, "found none that load"),
        ("sam2-transformers", bare, "found none that load"),
        ("sam3-transformers", folders["sam2-transformers"], "a checkpoint of sam2"),
        ("sam2-transformers", REPOSITORY / "data/tiny-policy", "a checkpoint of qwen2_5_vl"),
        ("sam2-transformers", "/nowhere", "found nothing at /nowhere"),
        ("sam2-transformers", REPOSITORY / "README.md", "found a file at"),
    ):
        with pytest.raises(InputError, match=said) as caught:
            load_segmenter(name, None if checkpoint is None else str(checkpoint))
        assert "\n" not in str(caught.value)


def test_the_names_are_the_same_everywhere() -> None:
    kinds = get_args(get_type_hints(SegmentationConfig)["kind"])
    assert kinds == ("none", *SEGMENTERS) and set(PUBLISHED) < set(SEGMENTERS)
