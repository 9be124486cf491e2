"""SAM 2: what is asked of its predictor, how it is loaded, and one run on random weights."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anomalyr1.errors import InputError
from anomalyr1.schema import Box
from anomalyr1.segmentation.sam2 import Sam2Segmenter, load_sam2
from anomalyr1.segmentation.segmenter import segment

HEIGHT, WIDTH = 48, 64
CONFIG = "configs/sam2.1/sam2.1_hiera_t.yaml"
installed = pytest.mark.skipif(
    importlib.util.find_spec("sam2") is None, reason="the sam2 package is not installed"
)


class RecordingPredictor:
    """Fills each box, in the shapes of SAM2ImagePredictor: (1, H, W) for one, (N, 1, H, W) else."""

    def __init__(self) -> None:
        self.images: list[np.ndarray] = []
        self.prompts: list[np.ndarray] = []

    def set_image(self, image: np.ndarray) -> None:
        self.images.append(image)

    def predict(self, box: np.ndarray, multimask_output: bool) -> tuple[np.ndarray, None, None]:
        assert box.shape[1] == 4 and len(box) and not multimask_output
        self.prompts.append(box)
        masks = np.zeros((len(box), 1, HEIGHT, WIDTH), dtype=np.float32)
        for mask, (x1, y1, x2, y2) in zip(masks, box.astype(int), strict=True):
            mask[0, y1:y2, x1:x2] = 1
        return (masks[0] if len(box) == 1 else masks), None, None


def segmenter() -> tuple[Sam2Segmenter, RecordingPredictor]:
    predictor = RecordingPredictor()
    return Sam2Segmenter(predictor, "test"), predictor


IMAGE = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)


@pytest.mark.parametrize("count", [1, 2, 70])
def test_one_or_many_boxes_unite(count: int) -> None:
    sam2, predictor = segmenter()
    boxes = [Box(index % 60, 3, index % 60 + 2, 5) for index in range(count)]
    mask = segment(sam2, IMAGE, boxes)
    assert mask.shape == (HEIGHT, WIDTH) and mask.dtype == np.bool_
    assert mask[3:5, : min(count, 60) + 1].all() and mask.sum() == 2 * (min(count, 60) + 1)
    assert sum(len(prompt) for prompt in predictor.prompts) == count


@pytest.mark.parametrize("boxes", [[], [Box(4, 4, 4, 9)], [Box(-9, -9, -1, -1)]])
def test_no_usable_box_asks_nothing(boxes: list[Box]) -> None:
    sam2, predictor = segmenter()
    assert not segment(sam2, IMAGE, boxes).any()
    assert not predictor.images and not predictor.prompts


def test_an_image_is_encoded_once() -> None:
    sam2, predictor = segmenter()
    other = IMAGE.copy()
    for image in (IMAGE, IMAGE, other, other):
        segment(sam2, image, [Box(0, 0, 9, 9)])
    assert [id(image) for image in predictor.images] == [id(IMAGE), id(other)]


@installed
@pytest.mark.parametrize(
    ("checkpoint", "message"),
    [
        (None, "expected a checkpoint"),
        ("weights/nowhere.pt", "no such file"),
        ("facebook/sam9-hiera-tiny", "nor a hub id"),
    ],
)
def test_missing_checkpoint_is_one_clear_line(checkpoint: str | None, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        load_sam2(checkpoint)
    assert "\n" not in str(caught.value)


def test_missing_package_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"run ./scripts/setup\.sh"):
        load_sam2("facebook/sam2.1-hiera-tiny")


@installed
def test_unnamed_config_and_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "mine.pt").write_bytes(b"x")
    with pytest.raises(InputError, match="name its model config"):
        load_sam2(str(tmp_path / "mine.pt"))
    (tmp_path / "other.pt").write_bytes(b"x")
    with pytest.raises(InputError, match=r"configs/sam9\.yaml"):
        load_sam2(str(tmp_path / "mine.pt"), config="configs/sam9.yaml", device="cpu")
    with pytest.raises(InputError, match=r"one \.pt file"):
        load_sam2(str(tmp_path))


class Harmful:
    """Unpickling this would run code."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


@installed
@pytest.mark.slow
@pytest.mark.parametrize("content", ["text", "code", "tensor"])
def test_broken_checkpoint_is_refused_and_never_run(tmp_path: Path, content: str) -> None:
    import torch

    path, marker = tmp_path / "sam2.1_hiera_tiny.pt", tmp_path / "ran"
    if content == "text":
        path.write_text("not weights")
    else:
        torch.save({"model": Harmful(marker)} if content == "code" else {"model": {}}, path)
    with pytest.raises(InputError, match="expected SAM2 weights"):
        load_sam2(str(path), device="cpu")
    assert not marker.exists()


@installed
@pytest.mark.slow
def test_random_weights_from_a_local_file(tmp_path: Path) -> None:
    import torch
    from sam2.build_sam import build_sam2

    torch.manual_seed(0)
    model = build_sam2(CONFIG, ckpt_path=None, device="cpu")
    path = tmp_path / "sam2.1_hiera_tiny.pt"
    torch.save({"model": model.state_dict()}, path)
    sam2 = load_sam2(str(path), device="cpu")
    assert CONFIG in sam2.settings
    image = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    one = segment(sam2, image, [Box(5, 5, 30, 30)])
    two = segment(sam2, image, [Box(5, 5, 30, 30), Box(20, 10, 60, 40)])
    assert one.shape == two.shape == (HEIGHT, WIDTH)
    assert one.dtype == two.dtype == np.bool_
    assert (one == segment(sam2, image, [Box(5, 5, 30, 30)])).all()
