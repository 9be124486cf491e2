"""The vision tower over many images of one size: windows of one length are attended to together.

The tower of transformers attends to one window after the other, and works out anew at every call
which patches lie in which: over sixty images a step spends its time there. The numbers are equal.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.vision_utils import (
    get_vision_cu_seqlens,
    get_vision_position_ids,
    get_vision_window_index,
)

# transformers hands windows over whole to kernels that have "flash" in their name.
KERNEL = "anomalyr1_flash_of_equal_windows"


def features(model: Any, pixel_values: Tensor, grid: Tensor) -> Tensor:
    """The merged tokens of images of one size.

    Args:
        model: a Qwen2.5-VL.
        pixel_values: (images * patches, values of a patch).
        grid: (images, 3), all rows equal, on the CPU.

    Returns:
        (images, cells, width).
    """
    visual = model.model.visual
    before, visual.config._attn_implementation = visual.config._attn_implementation, KERNEL
    try:
        cuts = visual.spatial_merge_size, visual.window_size, visual.patch_size
        layout = _layout(cuts, len(grid), tuple(grid[0].tolist()))
        output = visual(
            pixel_values.to(visual.dtype),
            grid_thw=grid,
            **{k: v.to(pixel_values.device) for k, v in layout.items() if torch.is_tensor(v)},
            **{k: v for k, v in layout.items() if not torch.is_tensor(v)},
        )
    finally:
        visual.config._attn_implementation = before
    merged: Tensor = output.pooler_output
    return merged.view(len(grid), -1, merged.size(-1))


@lru_cache(maxsize=64)
def _layout(cuts: tuple[int, int, int], images: int, cells: tuple[int, int, int]) -> dict[str, Any]:
    """Where the patches of images of (frames, rows, columns) lie; kept, and no model with it."""
    merge, window, patch = cuts
    grid = torch.tensor([cells]).repeat(images, 1)
    window_index, windows = get_vision_window_index(
        grid, spatial_merge_size=merge, window_size=window, patch_size=patch
    )
    whole = get_vision_cu_seqlens(grid)
    return {
        "position_ids": get_vision_position_ids(grid, merge),
        "window_index": window_index,
        "cu_window_seqlens": windows,
        "cu_seqlens": whole,
        "max_seqlen": int(whole.diff().max()),
        "max_window_seqlen": int(windows.diff().max()),
    }


def attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: None,
    *,
    scaling: float,
    cu_seq_lens_q: Tensor,
    **_: Any,
) -> tuple[Tensor, None]:
    """Each window to itself. query, key, value (1, heads, patches, size of a head).

    Returns:
        (1, patches, heads, size of a head).
    """
    lengths = cu_seq_lens_q.diff().tolist()
    if len(set(lengths)) == 1:
        seen = scaled_dot_product_attention(
            _stacked(query, lengths),
            _stacked(key, lengths),
            _stacked(value, lengths),
            scale=scaling,
        )  # (windows, heads, length, size of a head)
        return seen.transpose(1, 2).reshape(1, -1, *seen.shape[1::2]), None
    queries, keys, values = (torch.split(tensor, lengths, dim=2) for tensor in (query, key, value))
    outputs: list[Tensor] = [query] * len(lengths)
    for length in set(lengths):
        chosen = [number for number, found in enumerate(lengths) if found == length]
        seen = scaled_dot_product_attention(
            torch.cat([queries[n] for n in chosen]),
            torch.cat([keys[n] for n in chosen]),
            torch.cat([values[n] for n in chosen]),
            scale=scaling,
        )
        for number, output in zip(chosen, torch.split(seen, 1), strict=True):
            outputs[number] = output
    return torch.cat(outputs, dim=2).transpose(1, 2).contiguous(), None


def _stacked(tensor: Tensor, lengths: list[int]) -> Tensor:
    """(1, heads, windows * length, d) -> (windows, heads, length, d)."""
    _, heads, _, width = tensor.shape
    return tensor.view(heads, len(lengths), lengths[0], width).transpose(0, 1)


AttentionInterface.register(KERNEL, attend)
