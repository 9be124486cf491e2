"""A tiny Qwen3-VL, the sibling of policy/tiny.py: patches of 16, DeepStack, interleaved M-RoPE."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import torch
from transformers import (
    GenerationConfig,
    PreTrainedTokenizerFast,
    Qwen2VLImageProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
)

from anomalyr1.policy.family import QWEN3_VL
from anomalyr1.policy.tiny import (
    CHAT_TEMPLATE,
    SMALLEST,
    TinyShape,
    image_token_ids,
    train_tokenizer,
)

# Half of a head's 16 dimensions are shared out to time, height and width, interleaved.
SHAPE = replace(SMALLEST, mrope_section=(4, 2, 2))


def build_qwen3_processor(
    tokenizer: PreTrainedTokenizerFast, min_pixels: int = 64 * 64, max_pixels: int = 128 * 128
) -> Qwen3VLProcessor:
    """Qwen3-VL's processor around the small tokenizer."""
    return Qwen3VLProcessor(
        image_processor=Qwen2VLImageProcessor(
            size={"shortest_edge": min_pixels, "longest_edge": max_pixels},
            patch_size=QWEN3_VL.patch_size,
            merge_size=QWEN3_VL.merge_size,
        ),
        tokenizer=tokenizer,
        video_processor=Qwen3VLVideoProcessor(),
        chat_template=CHAT_TEMPLATE,
    )


def build_qwen3_model(
    tokenizer: PreTrainedTokenizerFast, shape: TinyShape = SHAPE, seed: int = 0
) -> Qwen3VLForConditionalGeneration:
    """Random weights of the given shape, float32; every block of the tower feeds DeepStack."""
    end, pad = (tokenizer.convert_tokens_to_ids(name) for name in ("<|im_end|>", "<|endoftext|>"))
    config = Qwen3VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": shape.hidden_size,
            "intermediate_size": 3 * shape.hidden_size,
            "num_hidden_layers": shape.num_layers,
            "num_attention_heads": shape.num_heads,
            "num_key_value_heads": shape.num_kv_heads,
            "head_dim": shape.hidden_size // shape.num_heads,
            "max_position_embeddings": 8192,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "mrope_section": list(shape.mrope_section),
                "mrope_interleaved": True,
            },
            "tie_word_embeddings": True,
            "bos_token_id": pad,
            "eos_token_id": end,
            "pad_token_id": pad,
        },
        vision_config={
            "depth": shape.vision_depth,
            "hidden_size": shape.vision_hidden_size,
            "intermediate_size": 3 * shape.vision_hidden_size,
            "num_heads": shape.vision_heads,
            "out_hidden_size": shape.hidden_size,
            "patch_size": QWEN3_VL.patch_size,
            "spatial_merge_size": QWEN3_VL.merge_size,
            "temporal_patch_size": 2,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": list(range(min(shape.vision_depth, shape.num_layers))),
        },
        **image_token_ids(tokenizer),
        tie_word_embeddings=True,
    )
    state = torch.random.get_rng_state()
    torch.manual_seed(seed)
    model = Qwen3VLForConditionalGeneration(config)
    torch.random.set_rng_state(state)
    model.generation_config = GenerationConfig(eos_token_id=end, pad_token_id=pad)
    return model


def build_tiny_qwen3(
    texts: Iterable[str], out: Path, *, shape: TinyShape = SHAPE, vocab_size: int = 512
) -> Path:
    """Tokenizer, processor and random weights, saved to `out` like any checkpoint."""
    tokenizer = train_tokenizer(texts, vocab_size)
    build_qwen3_model(tokenizer, shape).save_pretrained(out)
    build_qwen3_processor(tokenizer).save_pretrained(out)
    return out
