"""Masks from boxes with SAM 2 (Ravi et al., arXiv 2408.00714)."""

from __future__ import annotations

import importlib.util
import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anomalyr1.errors import InputError
from anomalyr1.schema import Box
from anomalyr1.segmentation.box_prompts import prompted
from anomalyr1.segmentation.segmenter import Mask


class Sam2Segmenter:
    """Boxes as prompts to a `SAM2ImagePredictor`, one mask a box.

    The image is encoded once: calls in a row with the same array share the embedding.
    """

    name = "sam2"

    def __init__(self, predictor: Any, settings: str) -> None:
        self._predictor = predictor
        self._image: NDArray[np.uint8] | None = None
        self.settings = settings

    def masks(self, image: NDArray[np.uint8], boxes: Sequence[Box]) -> Iterator[Mask]:
        """The mask of each; see `Segmenter.masks`."""
        return prompted(image, boxes, self._ask)

    def _ask(self, image: NDArray[np.uint8], prompts: NDArray[np.float32]) -> NDArray[Any]:
        if image is not self._image:
            self._predictor.set_image(image)
            self._image = image
        masks, _, _ = self._predictor.predict(box=prompts, multimask_output=False)
        # (1, H, W) for one box, (boxes, 1, H, W) for several
        return np.asarray(masks).reshape(-1, *image.shape[:2])


def load_sam2(
    checkpoint: str | None, config: str | None = None, device: str | None = None
) -> Sam2Segmenter:
    """Load SAM 2. Checkpoints are read with `weights_only=True`: no code in them is run.

    Args:
        checkpoint: a local .pt file, a folder with one, or a hub id like
            `facebook/sam2.1-hiera-tiny`.
        config: name of a config inside the sam2 package; needed only where the name of a local
            file does not tell it.
        device: torch device; None takes CUDA where there is one.

    Raises:
        InputError: the package or the checkpoint is missing, or they do not fit each other.
    """
    if importlib.util.find_spec("sam2") is None:
        raise InputError(
            "expected the sam2 package for segmenter sam2, found none; "
            "run ./scripts/setup.sh or choose the segmenter grabcut"
        )
    from sam2.build_sam import HF_MODEL_ID_TO_FILENAMES as PUBLISHED

    names = ", ".join(sorted(PUBLISHED))
    if not checkpoint:
        raise InputError(
            "expected a checkpoint for segmenter sam2, found none; "
            f"give a .pt file or one of {names}"
        )
    path = Path(checkpoint).expanduser()
    if path.exists():
        return _load_file(_checkpoint_file(path), config, device, dict(PUBLISHED))
    if checkpoint not in PUBLISHED:
        raise InputError(
            f"expected a SAM2 checkpoint at {checkpoint}, found no such file, nor a hub id of that "
            f"name; give a .pt file or one of {names}"
        )
    return _load_from_hub(checkpoint, device)


def _load_file(
    path: Path, config: str | None, device: str | None, published: dict[str, tuple[str, str]]
) -> Sam2Segmenter:
    from sam2.build_sam import build_sam2
    from sam2.sam2_image_predictor import SAM2ImagePredictor

    config = config or {file: name for name, file in published.values()}.get(path.name)
    if config is None:
        raise InputError(
            f"expected the name of a published SAM2 checkpoint, found {path.name}; name its model "
            "config too, for instance configs/sam2.1/sam2.1_hiera_t.yaml"
        )
    try:
        model = build_sam2(config, str(path), device=_device(device))
    except (RuntimeError, KeyError, OSError, EOFError, pickle.UnpicklingError) as error:
        reason = str(error).split("\n")[0] or type(error).__name__
        raise InputError(
            f"expected SAM2 weights for {config} in {path}, found something else ({reason}); "
            "check the checkpoint and its config"
        ) from None
    return Sam2Segmenter(SAM2ImagePredictor(model), f"{path.name} {config}")


def _load_from_hub(checkpoint: str, device: str | None) -> Sam2Segmenter:
    from sam2.sam2_image_predictor import SAM2ImagePredictor

    try:
        predictor = SAM2ImagePredictor.from_pretrained(checkpoint, device=_device(device))
    except OSError as error:  # what the hub client raises without a network or a cached copy
        reason = str(error).split("\n")[0][:120] or type(error).__name__
        raise InputError(
            f"expected to fetch {checkpoint} from the hub, found {reason}; "
            "download the .pt file elsewhere and give its path"
        ) from None
    return Sam2Segmenter(predictor, checkpoint)


def _checkpoint_file(path: Path) -> Path:
    if not path.is_dir():
        return path
    found = sorted(path.glob("*.pt"))
    if len(found) != 1:
        raise InputError(
            f"expected one .pt file in {path}, found {len(found)}; give the path of the file"
        )
    return found[0]


def _device(device: str | None) -> str:
    import torch

    return device or ("cuda" if torch.cuda.is_available() else "cpu")
