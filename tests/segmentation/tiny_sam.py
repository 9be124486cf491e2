"""Small SAMs with random weights, as their libraries save them, and one's keys as the other's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

CONFIG = "configs/sam2.1/sam2.1_hiera_t.yaml"
_WIDTHS = [8, 16, 32, 64]
_BLOCKS = [1, 1, 2, 1]

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


def sam2_of_the_package() -> Any:
    """Meta's code; only the image encoder is small, because that is what takes the time."""
    import torch
    from sam2.build_sam import build_sam2

    torch.manual_seed(0)
    encoder = "++model.image_encoder"
    small = [
        f"{encoder}.trunk.embed_dim={_WIDTHS[0]}",
        f"{encoder}.trunk.stages={_BLOCKS}",
        f"{encoder}.trunk.global_att_blocks=[3]",
        f"{encoder}.neck.backbone_channel_list={_WIDTHS[::-1]}",
    ]
    return build_sam2(CONFIG, None, device="cpu", hydra_overrides_extra=small)


def sam2_of_transformers(side: int = 1024) -> Any:
    """The same model in transformers' code, which may see images of another side."""
    import torch
    from transformers import Sam2Config, Sam2HieraDetConfig, Sam2Model, Sam2VisionConfig

    torch.manual_seed(0)
    backbone = Sam2HieraDetConfig(
        hidden_size=_WIDTHS[0],
        image_size=[side, side],
        blocks_per_stage=_BLOCKS,
        embed_dim_per_stage=_WIDTHS,
        global_attention_blocks=[3],
    )
    vision = Sam2VisionConfig(
        backbone_config=backbone,
        backbone_channel_list=_WIDTHS[::-1],
        backbone_feature_sizes=[[side // scale] * 2 for scale in (4, 8, 16)],
    )
    prompts = {"image_size": side}
    return Sam2Model(Sam2Config(vision_config=vision, prompt_encoder_config=prompts)).eval()


def renamed(state: dict[str, Any]) -> dict[str, Any]:
    """The weights of the sam2 package under transformers' names, as its conversion script does."""
    import torch

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


def save_sam2(model: Any, folder: Path) -> Path:
    from transformers import Sam2ImageProcessor, Sam2Processor

    side = model.config.prompt_encoder_config.image_size
    model.save_pretrained(folder)
    processor = Sam2ImageProcessor(size={"height": side, "width": side})
    Sam2Processor(processor).save_pretrained(folder)
    return folder


def save_sam3(folder: Path) -> Path:
    """A tracker of SAM 3 that sees 112 pixels a side."""
    import torch
    from transformers import (
        Sam3ImageProcessor,
        Sam3TrackerConfig,
        Sam3TrackerModel,
        Sam3TrackerProcessor,
    )

    torch.manual_seed(0)
    backbone = {
        "model_type": "sam3_vit_model",
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 112,
        "window_size": 4,
        "global_attn_indexes": [1],
        "pretrain_image_size": 56,
    }
    vision = {
        "model_type": "sam3_vision_model",
        "backbone_config": backbone,
        "fpn_hidden_size": 32,
        "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]],
    }
    decoder = {
        "hidden_size": 32,
        "mlp_dim": 64,
        "num_attention_heads": 2,
        "iou_head_hidden_dim": 32,
    }
    config = Sam3TrackerConfig(
        vision_config=vision,
        prompt_encoder_config={"hidden_size": 32, "image_size": 112},
        mask_decoder_config=decoder,
    )
    Sam3TrackerModel(config).save_pretrained(folder)
    processor = Sam3ImageProcessor(size={"height": 112, "width": 112})
    Sam3TrackerProcessor(processor).save_pretrained(folder)
    return folder
