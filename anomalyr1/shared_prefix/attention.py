"""What a policy needs to compute a prefix once: an attention and a vision tower that share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from anomalyr1.shared_prefix.cache import SharedCache
from anomalyr1.shared_prefix.flex_attention import flex_packed_attention
from anomalyr1.shared_prefix.images_once import see_once
from anomalyr1.shared_prefix.packed_attention import Siblings, packed_attention
from anomalyr1.shared_prefix.trunk import Trunk, run_in_chunks
from anomalyr1.shared_prefix.vision import SHARING_NAMES, backbone_of

# The name of our kernel among the attention implementations of transformers.
NAME = "anomalyr1_shared"
# Kernels that take a mask of any shape; of these, eager keeps its own way to attend.
MASKED_KERNELS = ("sdpa", "eager", NAME)


def sharing_obstacle(model: Any) -> str | None:
    """Why this model cannot share prefixes, or None when it can."""
    try:
        backbone = backbone_of(model)
    except TypeError:
        return _recurrence(model) or f"{type(model).__name__} is no {SHARING_NAMES}"
    kernel = backbone.config._attn_implementation
    if kernel not in MASKED_KERNELS:
        return f"the {kernel} kernel takes no block mask (policy.attention=sdpa does)"
    if "sliding_attention" in _layer_types(backbone.language_model.config):
        return "its sliding windows would cut prefixes"
    return None


def prepare(model: Any) -> str | None:
    """Let a policy share prefixes, in place; where nothing is shared it computes as before.

    Each distinct image of a batch is seen once. The language model attends by groups over packed
    sequences, and over a `SharedCache` to a prefix and a row's own tokens; it stays with the eager
    kernel where it was loaded with it.

    Returns:
        None, or why it cannot share: then it is left as it is.
    """
    obstacle = sharing_obstacle(model)
    if obstacle is not None:
        return obstacle
    backbone = backbone_of(model)
    see_once(backbone.visual)
    language_model = backbone.language_model
    if language_model.config._attn_implementation == "sdpa":
        language_model.config._attn_implementation = NAME
    if language_model.config._attn_implementation == NAME and not _is_handed_caches(language_model):
        language_model.register_forward_pre_hook(_hand_over_cache, with_kwargs=True)
        run_in_chunks(language_model)
    return None


def shares_attention(model: Any) -> bool:
    """Whether the language model of this policy attends with our kernel.

    Models may share a config, which names the kernel; each has its own hooks.
    """
    language_model = backbone_of(model).language_model
    ours = language_model.config._attn_implementation == NAME
    return bool(ours) and _is_handed_caches(language_model)


def shared_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    layout: Sequence[Siblings] | None = None,
    pairs: BlockMask | None = None,
    shared: SharedCache | None = None,
    keeps: Trunk | None = None,
    behind: Trunk | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention as transformers calls it: of packed groups, over a shared cache, or plain SDPA.

    Args:
        module: the attention layer.
        query: (B, heads, L, width).
        key: (B, key heads, L, width).
        value: as `key`.
        attention_mask: of plain SDPA.
        dropout: share of attention weights dropped.
        scaling: of the scores.
        layout: of a packed sequence.
        pairs: of the same layout, where FlexAttention is to serve it.
        shared: the cache that `key` and `value` come from.
        keeps: what is to hold `key` and `value` for chunks behind them.
        behind: what was held, before `key` and `value`.
        kwargs: of plain SDPA.

    Returns:
        (B, L, heads, width) and None.
    """
    if keeps is not None:
        keeps.keep(module.layer_idx, key, value)
    if behind is not None:
        key, value = behind.before(module.layer_idx, key, value)
    if pairs is not None:
        return flex_packed_attention(query, key, value, pairs, scaling=scaling), None
    if layout is not None:
        return packed_attention(query, key, value, layout, dropout=dropout, scaling=scaling), None
    if shared is not None:
        return shared.attend(module.layer_idx, query, key, value, scaling), None
    plain: tuple[Tensor, None] = sdpa_attention_forward(
        module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
    )
    return plain


def unmasked(device: torch.device) -> Tensor:
    """A mask for transformers to hand on as it is, and for our kernel to leave unread.

    Without any, a mask of all queries by all keys would be made in each pass.
    """
    return torch.ones(1, 1, 1, 1, dtype=torch.bool, device=device)


def _recurrence(model: Any) -> str | None:
    """Layers that hand a state from token to token: a mask keeps no two rows apart in it."""
    config = getattr(model, "config", None)
    if config is None or "linear_attention" not in _layer_types(config.get_text_config()):
        return None
    return (
        f"{type(model).__name__} has linear_attention layers, whose state runs through all tokens "
        "and would mix the rows behind a prefix"
    )


def _layer_types(config: Any) -> Sequence[str]:
    """Kinds of attention by layer; a config that names none has full attention in all."""
    return getattr(config, "layer_types", None) or ()


def _is_handed_caches(language_model: Any) -> bool:
    return _hand_over_cache in language_model._forward_pre_hooks.values()


def _hand_over_cache(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Before the language model runs: its attention needs the shared cache, and no mask."""
    cache = kwargs.get("cache", kwargs.get("past_key_values"))  # its name before transformers 5.24
    if not isinstance(cache, SharedCache):
        return None
    cache.look_at(kwargs["attention_mask"], kwargs["inputs_embeds"].shape[1])
    mask = unmasked(kwargs["inputs_embeds"].device)
    return args, {**kwargs, "attention_mask": mask, "shared": cache}


AttentionInterface.register(NAME, shared_attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
