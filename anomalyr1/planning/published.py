"""Architectures of published checkpoints as numbers: no weights, no network, no libraries."""

from __future__ import annotations

from typing import Any

_VISION = {
    "depth": 32,
    "hidden_size": 1280,
    "intermediate_size": 3420,
    "num_heads": 16,
    "patch_size": 14,
    "window_size": 112,
    "fullatt_block_indexes": [7, 15, 23, 31],
}
_ROPE = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]}
# The `config.json` of the published checkpoints (arXiv 2502.13923, table 1), as far as it differs
# from the defaults of transformers; used where the file itself is not on this machine.
KNOWN: dict[str, dict[str, Any]] = {
    "Qwen/Qwen2.5-VL-3B-Instruct": {
        "text_config": {
            "hidden_size": 2048,
            "intermediate_size": 11008,
            "num_hidden_layers": 36,
            "num_attention_heads": 16,
            "num_key_value_heads": 2,
            "vocab_size": 151936,
            "tie_word_embeddings": True,
            "rope_parameters": _ROPE,
        },
        "vision_config": {**_VISION, "out_hidden_size": 2048},
        "tie_word_embeddings": True,
        "dtype": "bfloat16",
    },
    "Qwen/Qwen2.5-VL-7B-Instruct": {
        "text_config": {
            "hidden_size": 3584,
            "intermediate_size": 18944,
            "num_hidden_layers": 28,
            "num_attention_heads": 28,
            "num_key_value_heads": 4,
            "vocab_size": 152064,
            "tie_word_embeddings": False,
            "rope_parameters": _ROPE,
        },
        "vision_config": {**_VISION, "out_hidden_size": 3584},
        "tie_word_embeddings": False,
        "dtype": "bfloat16",
    },
}
