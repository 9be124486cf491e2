"""Masks from boxes with SAM 2 and SAM 3 as transformers has them.

SAM 3 (Carion et al., arXiv 2511.16719) is asked through its tracker, which gives one mask a box as
SAM 2 does; asked as a detector, a box is an example of a concept whose every instance is found.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from anomalyr1.errors import InputError, one_line
from anomalyr1.schema import Box
from anomalyr1.segmentation.box_prompts import prompted
from anomalyr1.segmentation.segmenter import Mask


@dataclass(frozen=True)
class _Kind:
    """What transformers calls it, how its model types begin, and the terms of its weights."""

    model: str
    processor: str
    types: str
    terms: str


_KINDS = {
    "sam2-transformers": _Kind(
        "Sam2Model", "Sam2Processor", "sam2", "the published ones are under Apache-2.0"
    ),
    "sam3-transformers": _Kind(
        "Sam3TrackerModel",
        "Sam3TrackerProcessor",
        "sam3",
        "the published ones are gated: accept the SAM License on the page of facebook/sam3 on the "
        "hub, then `hf auth login`",
    ),
}


class TransformersSam:
    """Boxes as prompts to a SAM of transformers, one mask a box.

    The image is encoded once: calls in a row with the same array share the embedding.
    """

    def __init__(self, name: str, model: Any, processor: Any, settings: str) -> None:
        self.name = name
        self.settings = settings
        self._model, self._processor = model, processor
        self._image: NDArray[np.uint8] | None = None
        self._embeddings: list[torch.Tensor] = []

    def masks(self, image: NDArray[np.uint8], boxes: Sequence[Box]) -> Iterator[Mask]:
        """The mask of each; see `Segmenter.masks`."""
        return prompted(image, boxes, self._ask)

    @torch.inference_mode()
    def _ask(self, image: NDArray[np.uint8], prompts: NDArray[np.float32]) -> Iterator[Mask]:
        device, size = self._model.device, image.shape[:2]
        if image is not self._image:
            seen = self._processor(images=image, return_tensors="pt").to(device)
            self._embeddings = self._model.get_image_embeddings(seen["pixel_values"])
            self._image = image
        asked = self._processor(
            input_boxes=[prompts.tolist()], original_sizes=[size], return_tensors="pt"
        ).to(device)
        found = self._model(
            image_embeddings=self._embeddings,
            input_boxes=asked["input_boxes"],
            multimask_output=False,
        )
        low = found.pred_masks[0]  # (boxes, 1, height, width) of the model
        return map(self._enlarged, low, [size] * len(low))

    def _enlarged(self, low: torch.Tensor, size: tuple[int, int]) -> Mask:
        """One mask as large as the image; all at once they would take much memory."""
        [mask] = self._processor.post_process_masks([low[None]], [size])
        return np.asarray(mask[0, 0].cpu().numpy(), dtype=np.bool_)


def load_transformers_sam(name: str, checkpoint: str, device: str | None = None) -> TransformersSam:
    """Load weights as transformers keeps them; no code in a checkpoint is run.

    Args:
        name: sam2-transformers or sam3-transformers.
        checkpoint: a folder with config.json, preprocessor_config.json and safetensors, or a hub
            id.
        device: torch device; None takes CUDA where there is one.

    Raises:
        InputError: nothing loadable is there, what has to be accepted first is named; or the
            checkpoint is of another model.
    """
    kind, path = _KINDS[name], Path(checkpoint)
    if not path.is_dir() and (path.is_absolute() or checkpoint.startswith(".") or path.exists()):
        found = "a file" if path.exists() else "nothing"
        raise InputError(
            f"expected a folder as transformers saves it for segmenter {name}, found {found} at "
            f"{checkpoint}; give a folder (a .pt file is for the segmenter sam2)"
        )
    try:
        found = transformers.AutoConfig.from_pretrained(checkpoint, trust_remote_code=False)
        if not found.model_type.startswith(kind.types):
            raise ValueError(f"a checkpoint of {found.model_type}")
        processor = getattr(transformers, kind.processor).from_pretrained(
            checkpoint, trust_remote_code=False
        )
        model, loading = getattr(transformers, kind.model).from_pretrained(
            checkpoint, use_safetensors=True, output_loading_info=True, trust_remote_code=False
        )
        if loading["missing_keys"] or loading["mismatched_keys"]:
            raise ValueError(f"{len(loading['missing_keys'])} of its tensors are not there")
    except Exception as error:  # whatever a library says of gates, no network and broken files
        raise InputError(
            f"expected weights of {kind.model} at {checkpoint}, found none that load "
            f"({one_line(error)[:160]}); give a folder that has them ({kind.terms})"
        ) from None
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    return TransformersSam(name, model.to(device).eval(), processor, checkpoint)
