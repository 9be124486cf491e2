"""The attention kernel that CUDA would choose, callable on tensors without a device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import repeat_kv

from anomalyr1.shared_prefix.packed_attention import Siblings, packed_attention

# Its name among the attention implementations of transformers.
CUDA_KERNEL = "anomalyr1_planned_cuda"


def planned_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    layout: Sequence[Siblings] | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """CUDA's memory-efficient attention with the copies torch makes around it.

    `scaled_dot_product_attention` turns a boolean mask into an additive one in the dtype of the
    queries (aten/src/ATen/native/transformers/attention.cpp, `convert_boolean_attn_mask`); every
    layer makes its own and keeps it for the backward pass. Without a mask FlashAttention runs,
    which holds as much.
    """
    if layout is not None:
        output = packed_attention(
            query, key, value, layout, dropout=dropout, scaling=scaling, attend=_efficient
        )
        return output, None
    groups = query.size(1) // key.size(1)
    key, value = repeat_kv(key, groups), repeat_kv(value, groups)
    output = _efficient(query, key, value, attention_mask, dropout_p=dropout, scale=scaling)
    return output.transpose(1, 2).contiguous(), None


def _efficient(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    *,
    is_causal: bool = False,
    dropout_p: float = 0.0,
    scale: float | None = None,
) -> Tensor:
    """The kernel, called as `scaled_dot_product_attention` is."""
    bias = None
    if attn_mask is not None:
        bias = torch.zeros(attn_mask.shape, dtype=query.dtype, device=query.device)
        bias = bias.expand(query.size(0), query.size(1), -1, -1)
    output: Tensor = torch.ops.aten._scaled_dot_product_efficient_attention(
        query, key, value, bias, True, dropout_p, is_causal, scale=scale
    )[0]
    return output


AttentionInterface.register(CUDA_KERNEL, planned_attention)
