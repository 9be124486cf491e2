"""Which patches belong to which row of a batch, and the part of a model that knows positions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import Qwen2_5_VLModel, Qwen3VLModel

# What shares prefixes, and how messages name it.
SHARING = (Qwen2_5_VLModel, Qwen3VLModel)
SHARING_NAMES = "Qwen2.5-VL or Qwen3-VL"


@dataclass(frozen=True)
class RowImages:
    """The images of each row, cut out of a flat batch.

    Attributes:
        pixels: per row, its patches (patches, patch dimensions); empty for a row without images.
        grids: per row, (images, 3) frames, rows and columns of patches.
    """

    pixels: list[Tensor]
    grids: list[Tensor]

    @classmethod
    def split(
        cls, pixel_values: Tensor | None, grid_thw: Tensor | None, counts: Sequence[int] | None
    ) -> RowImages | None:
        """Cut flat `pixel_values` by the number of images of each row; None without images."""
        if pixel_values is None or grid_thw is None or counts is None:
            return None
        grids = list(torch.split(grid_thw, list(counts)))
        patches = [int(grid.prod(dim=-1).sum()) for grid in grids]
        return cls(list(torch.split(pixel_values, patches)), grids)

    @classmethod
    def of_batch(cls, inputs: Mapping[str, Any]) -> RowImages | None:
        """The same from a batch as TRL lays it out, with `num_images` of each row."""
        names = ("pixel_values", "image_grid_thw", "num_images")
        return cls.split(*(inputs.get(name) for name in names))

    @classmethod
    def of_fields(
        cls, fields: Mapping[str, Any], counts: Sequence[int] | None, device: torch.device
    ) -> RowImages | None:
        """The same from what a processor handed over: tensors or lists of arrays."""
        pixels, grids = fields.get("pixel_values"), fields.get("image_grid_thw")
        return cls.split(_on_device(pixels, device), _on_device(grids, device), counts)

    def same(self, row: int, other: int) -> bool:
        """Whether two rows show the same images, in the same frames."""
        return torch.equal(self.grids[row], self.grids[other]) and torch.equal(
            self.pixels[row], self.pixels[other]
        )

    def rows(self, rows: Sequence[int]) -> RowImages:
        """Those of some of the rows, in that order."""
        return RowImages([self.pixels[row] for row in rows], [self.grids[row] for row in rows])

    def batch(self, rows: Sequence[int]) -> dict[str, Tensor]:
        """Model inputs for some of the rows, in that order; empty when none has an image."""
        grids = torch.cat([self.grids[row] for row in rows])
        if not len(grids):
            return {}
        pixels = torch.cat([self.pixels[row] for row in rows])
        return {"pixel_values": pixels, "image_grid_thw": grids}


def _on_device(values: Any, device: torch.device) -> Tensor | None:
    if values is None:
        return None
    held = values if isinstance(values, Tensor) else torch.as_tensor(np.array(values))
    return held.to(device)


def tower_learns(visual: Any) -> bool:
    """Whether a weight of the vision tower learns; the projector behind it does not count."""
    return any(
        parameter.requires_grad
        for name, part in visual.named_children()
        if "merger" not in name
        for parameter in part.parameters()
    )


def spare_frozen_tower(model: Any) -> None:
    """Let no gradient into a vision tower that learns nothing, in place.

    Gradient checkpointing in transformers marks the patch embedding as wanting gradients
    (`enable_input_require_grads`), and every vision block is computed again and differentiated for
    nobody. A tower with a weight that learns is left alone; the projector behind it learns all the
    same.

    Args:
        model: with its adapters, as the trainer holds it; one that shares no prefixes is left.
    """
    try:
        visual = backbone_of(model).visual
    except TypeError:
        return
    if tower_learns(visual):
        return
    embed = visual.patch_embed
    handle = embed.register_forward_hook(lambda _, __, output: output.detach())
    # Checkpointing is switched on again after every rollout, and marks the output anew.
    visual.register_forward_pre_hook(lambda *_: embed._forward_hooks.move_to_end(handle.id))


def backbone_of(model: Any) -> Any:
    """The vision-language model below adapters and wrappers: it computes M-RoPE positions.

    Raises:
        TypeError: there is none, so prefixes cannot be shared.
    """
    found = model
    while found is not None and not hasattr(found, "get_rope_index"):
        inner = getattr(found, "base_model", None)
        found = getattr(found, "model", None) if inner is None or inner is found else inner
    # Their relatives compute positions too, but attend or see otherwise.
    if not isinstance(found, SHARING):
        raise TypeError(f"expected a {SHARING_NAMES}, found a {type(model).__name__}")
    return found
