"""A tiny Qwen2.5-VL with a tokenizer of its own: the same architecture at laptop size.

Everything a real checkpoint has (M-RoPE, windowed vision tower, patch merger, chat template, image
processor), so that code which runs on it runs on Qwen2.5-VL-3B.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GenerationConfig,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
)

SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)

# Qwen2.5-VL's chat form: a role line, the content, <|im_end|>; an image is one pad token between
# vision marks, which the processor widens to the image's number of merged patches.
CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{- '<|im_start|>' + message['role'] + '\\n' -}}"
    "{%- if message['content'] is string -%}{{- message['content'] -}}"
    "{%- else -%}{%- for part in message['content'] -%}"
    "{%- if part['type'] == 'image' -%}"
    "{{- '<|vision_start|><|image_pad|><|vision_end|>' -}}"
    "{%- else -%}{{- part['text'] -}}{%- endif -%}"
    "{%- endfor -%}{%- endif -%}"
    "{{- '<|im_end|>\\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"
)


@dataclass(frozen=True)
class TinyShape:
    """Sizes of the tiny policy; the default has about 2.9 M parameters.

    `mrope_section` splits half a head's dimensions among time, height and width, so its sum must be
    hidden_size / num_heads / 2. A head of 32 is one that vLLM's CPU kernels take.
    """

    hidden_size: int = 160
    num_layers: int = 5
    num_heads: int = 5
    num_kv_heads: int = 1
    mrope_section: tuple[int, int, int] = (4, 6, 6)
    vision_depth: int = 4
    vision_hidden_size: int = 128
    vision_heads: int = 4


# As small as the pieces allow; others are this one with a value or two of their own.
SMALLEST = TinyShape(
    hidden_size=64,
    num_layers=2,
    num_heads=4,
    num_kv_heads=2,
    mrope_section=(2, 3, 3),
    vision_depth=2,
)


def train_tokenizer(
    texts: Iterable[str], vocab_size: int = 1024, phrases: Iterable[str] = ()
) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer with Qwen's special tokens; every digit is a token of its own.

    Args:
        texts: what the policy will read and write.
        vocab_size: upper bound; 256 bytes and the special tokens are always there.
        phrases: fixed text that becomes one token each, so that a prompt on a laptop is mostly
            image, question and options. They decode to themselves like any other text.
    """
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(texts, trainer)
    core.add_tokens([AddedToken(phrase, normalized=False) for phrase in phrases])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=list(SPECIAL_TOKENS[1:2] + SPECIAL_TOKENS[3:]),
        padding_side="left",
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def build_processor(
    tokenizer: PreTrainedTokenizerFast, min_pixels: int = 56 * 56, max_pixels: int = 112 * 112
) -> Qwen2_5_VLProcessor:
    """Qwen2.5-VL's processor around the small tokenizer."""
    size = {"shortest_edge": min_pixels, "longest_edge": max_pixels}
    return Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(size=size),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(),
        chat_template=CHAT_TEMPLATE,
    )


def image_token_ids(tokenizer: PreTrainedTokenizerFast) -> dict[str, int]:
    """What a config calls the tokens around and in place of an image, and their ids."""
    names = {
        "image_token_id": "<|image_pad|>",
        "video_token_id": "<|video_pad|>",
        "vision_start_token_id": "<|vision_start|>",
        "vision_end_token_id": "<|vision_end|>",
    }
    return {key: tokenizer.convert_tokens_to_ids(name) for key, name in names.items()}


def build_model(
    tokenizer: PreTrainedTokenizerFast, shape: TinyShape | None = None, seed: int = 0
) -> Qwen2_5_VLForConditionalGeneration:
    """Random weights of the given shape, float32."""
    shape = shape or TinyShape()
    token = {name: tokenizer.convert_tokens_to_ids(name) for name in SPECIAL_TOKENS}
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": shape.hidden_size,
            "intermediate_size": 3 * shape.hidden_size,
            "num_hidden_layers": shape.num_layers,
            "num_attention_heads": shape.num_heads,
            "num_key_value_heads": shape.num_kv_heads,
            "max_position_embeddings": 8192,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "mrope_section": list(shape.mrope_section),
            },
            "tie_word_embeddings": True,
            "bos_token_id": token["<|endoftext|>"],
            "eos_token_id": token["<|im_end|>"],
            "pad_token_id": token["<|endoftext|>"],
        },
        vision_config={
            "depth": shape.vision_depth,
            "hidden_size": shape.vision_hidden_size,
            "intermediate_size": 3 * shape.vision_hidden_size,
            "num_heads": shape.vision_heads,
            "out_hidden_size": shape.hidden_size,
            "patch_size": 14,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "window_size": 112,
            "fullatt_block_indexes": [shape.vision_depth - 1],
        },
        **image_token_ids(tokenizer),
        tie_word_embeddings=True,
    )
    state = torch.random.get_rng_state()
    torch.manual_seed(seed)
    model = Qwen2_5_VLForConditionalGeneration(config)
    torch.random.set_rng_state(state)
    model.generation_config = GenerationConfig(
        eos_token_id=token["<|im_end|>"], pad_token_id=token["<|endoftext|>"]
    )
    return model


def build_tiny_policy(
    texts: Iterable[str],
    out: Path | None = None,
    shape: TinyShape | None = None,
    vocab_size: int = 1024,
    max_pixels: int = 112 * 112,
    seed: int = 0,
    phrases: Iterable[str] = (),
) -> tuple[Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLProcessor]:
    """Tokenizer, processor and random weights, saved to `out` like any checkpoint when given."""
    tokenizer = train_tokenizer(texts, vocab_size, phrases)
    model, processor = (
        build_model(tokenizer, shape, seed),
        build_processor(tokenizer, max_pixels=max_pixels),
    )
    if out is not None:
        model.save_pretrained(out)
        processor.save_pretrained(out)
    return model, processor
