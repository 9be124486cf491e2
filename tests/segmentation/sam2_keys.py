"""The weights of the sam2 package under the names that transformers has for them."""

from __future__ import annotations

import re
from typing import Any

import torch

# Keys of the sam2 package -> those of transformers, applied in this order.
_RENAMES = (
    (r"^sam_", ""),
    (r"^image_encoder\.trunk", "vision_encoder.backbone"),
    (r"^image_encoder\.neck\.convs\.(\d)\.conv", r"vision_encoder.neck.convs.\1"),
    (r"^no_mem_embed", "no_memory_embedding"),
    (r"patch_embed\.proj", "patch_embed.projection"),
    (r"norm(\d|_final_attn)\.", r"layer_norm\1."),
    (r"out_proj", "o_proj"),
    (r"mask_downscaling\.0", "mask_embed.conv1"),
    (r"mask_downscaling\.1", "mask_embed.layer_norm1"),
    (r"mask_downscaling\.3", "mask_embed.conv2"),
    (r"mask_downscaling\.4", "mask_embed.layer_norm2"),
    (r"mask_downscaling\.6", "mask_embed.conv3"),
    (r"output_upscaling\.0", "upscale_conv1"),
    (r"output_upscaling\.1", "upscale_layer_norm"),
    (r"output_upscaling\.3", "upscale_conv2"),
    (r"pe_layer\.positional_encoding_gaussian_matrix", "shared_embedding.positional_embedding"),
    (r"(mlp|head|mlps\.\d)\.layers\.0", r"\1.proj_in"),  # of an MLP of two or three layers
    (r"mlp\.layers\.1", "mlp.proj_out"),
    (r"(head|mlps\.\d)\.layers\.2", r"\1.proj_out"),
    (r"(head|mlps\.\d)\.layers\.1", r"\1.layers.0"),
)


def renamed(state: dict[str, Any]) -> dict[str, Any]:
    """A state dict; what transformers does not have keeps its name."""
    found, points = {}, []
    for key, value in state.items():
        if "point_embeddings" in key:
            points.append(value)
            continue
        for old, new in _RENAMES:
            key = re.sub(old, new, key)
        found[key] = value
    found["prompt_encoder.point_embed.weight"] = torch.cat(points)
    place = "positional_embedding"
    found[f"shared_image_embedding.{place}"] = found[f"prompt_encoder.shared_embedding.{place}"]
    return found
