"""Small SAMs with random weights: the architectures of published ones at a size for tests.

What is small is the image encoder, which takes the time; prompt encoder and mask decoder of SAM 2
are as large as they are.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import (
    Sam2Config,
    Sam2HieraDetConfig,
    Sam2ImageProcessor,
    Sam2Model,
    Sam2Processor,
    Sam2VisionConfig,
    Sam3ImageProcessor,
    Sam3TrackerConfig,
    Sam3TrackerModel,
    Sam3TrackerProcessor,
)

SAM2_CONFIG = "configs/sam2.1/sam2.1_hiera_t.yaml"
SAM2_SIDE = 1024  # pixels that SAM 2 sees of a side; the sam2 package can do no other
_WIDTHS = [8, 16, 32, 64]
_BLOCKS = [1, 1, 2, 1]


def tiny_sam2_of_the_package(seed: int = 0) -> Any:
    """SAM 2 in Meta's code (`SAM2Base`)."""
    from sam2.build_sam import build_sam2

    torch.manual_seed(seed)
    encoder = "++model.image_encoder"
    small = [
        f"{encoder}.trunk.embed_dim={_WIDTHS[0]}",
        f"{encoder}.trunk.stages={_BLOCKS}",
        f"{encoder}.trunk.global_att_blocks=[3]",
        f"{encoder}.neck.backbone_channel_list={_WIDTHS[::-1]}",
    ]
    return build_sam2(SAM2_CONFIG, None, device="cpu", hydra_overrides_extra=small)


def tiny_sam2(side: int = SAM2_SIDE, seed: int = 0) -> tuple[Sam2Model, Sam2Processor]:
    """The same in transformers' code, which may see another number of pixels."""
    torch.manual_seed(seed)
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
    config = Sam2Config(vision_config=vision, prompt_encoder_config={"image_size": side})
    processor = Sam2ImageProcessor(size={"height": side, "width": side})
    return Sam2Model(config).eval(), Sam2Processor(processor)


def tiny_sam3(seed: int = 0) -> tuple[Sam3TrackerModel, Sam3TrackerProcessor]:
    """The tracker of SAM 3; it sees 112 pixels a side."""
    torch.manual_seed(seed)
    side, width = 112, 32
    backbone = {
        "model_type": "sam3_vit_model",
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": side,
        "window_size": 4,
        "global_attn_indexes": [1],
        "pretrain_image_size": 56,
    }
    vision = {
        "model_type": "sam3_vision_model",
        "backbone_config": backbone,
        "fpn_hidden_size": width,
        "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]],
    }
    decoder = {
        "hidden_size": width,
        "mlp_dim": 64,
        "num_attention_heads": 2,
        "iou_head_hidden_dim": width,
    }
    config = Sam3TrackerConfig(
        vision_config=vision,
        prompt_encoder_config={"hidden_size": width, "image_size": side},
        mask_decoder_config=decoder,
    )
    processor = Sam3ImageProcessor(size={"height": side, "width": side})
    return Sam3TrackerModel(config).eval(), Sam3TrackerProcessor(processor)
