"""The attention kernel that CUDA would choose, callable on tensors without a device."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import repeat_kv

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
    **_: Any,
) -> tuple[Tensor, None]:
    """CUDA's memory-efficient attention with the copies torch makes around it.

    `scaled_dot_product_attention` turns a boolean mask into an additive one in the dtype of the
    queries (aten/src/ATen/native/transformers/attention.cpp, `convert_boolean_attn_mask`); every
    layer makes its own and keeps it for the backward pass. Without a mask FlashAttention runs,
    which holds as much.
    """
    groups = query.size(1) // key.size(1)
    bias = None
    if attention_mask is not None:
        bias = torch.zeros(attention_mask.shape, dtype=query.dtype, device=query.device)
        bias = bias.expand(query.size(0), query.size(1), -1, -1)
    output = torch.ops.aten._scaled_dot_product_efficient_attention(
        query,
        repeat_kv(key, groups),
        repeat_kv(value, groups),
        bias,
        True,
        dropout,
        scale=scaling,
    )[0]
    return output.transpose(1, 2).contiguous(), None


AttentionInterface.register(CUDA_KERNEL, planned_attention)
