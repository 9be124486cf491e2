"""Groups of any size: ends of rows in chunks behind one copy of what they share.

A packed sequence is a trunk, what several rows share, and the rows' ends. Where the ends are more
than memory holds, the trunk is computed once and keeps its keys and values, gradients and all; the
ends are computed behind them in chunks, of which only inputs and outputs are kept, but for the last
one. In the backward pass each chunk is computed again, adds its part to the gradient of the trunk's
keys and values, and is forgotten; then the trunk's own backward pass runs once. No token sees
anything else than in one pass over all, so the numbers are the same.

Schedule-level reuse of prefixes is described in arXiv 2606.01143; here it happens within one call
of the model, so that its loss, its head and its wrappers know nothing of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import MethodType
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask
from torch.utils.checkpoint import checkpoint

from anomalyr1.shared_prefix.packed_attention import Siblings


@dataclass
class Trunk:
    """Keys and values (1, key heads, L, width) of a trunk, by the number of the layer."""

    keys: dict[int, Tensor] = field(default_factory=dict)
    values: dict[int, Tensor] = field(default_factory=dict)

    def keep(self, layer: int, key: Tensor, value: Tensor) -> None:
        """Hold those of a layer; computed again for a backward pass, they are known."""
        self.keys.setdefault(layer, key)
        self.values.setdefault(layer, value)

    def before(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Those of the trunk, then those of a chunk."""
        return (
            torch.cat([self.keys[layer], key], 2),
            torch.cat([self.values[layer], value], 2),
        )


@dataclass(frozen=True)
class Chunk:
    """Ends of rows that are computed together.

    Attributes:
        layout: where they lie in a sequence of the trunk and this chunk.
        pairs: of that sequence, asked by the chunk, where FlexAttention serves it.
    """

    layout: list[Siblings]
    pairs: BlockMask | None = None

    @property
    def tokens(self) -> int:
        """All of its tokens."""
        return self.layout[-1].end - self.layout[0].start


# What Qwen3-VL hands its first layers beside embeddings (DeepStack): where image tokens are, and
# further features of them. Images stand in what rows share, never in an end.
_SEEN = ("visual_pos_masks", "deepstack_visual_embeds")


def run_in_chunks(language_model: Any) -> None:
    """Let the language model take `chunks`, in place; without them it runs as before."""
    language_model.forward = MethodType(_forward, language_model)


def _forward(self: Any, *args: Any, chunks: Sequence[Chunk] = (), **kwargs: Any) -> Any:
    """The language model's own forward pass, over the trunk and then over each of the chunks."""
    stock = type(self).forward
    if not chunks:
        return stock(self, *args, **kwargs)
    hidden, places = kwargs.pop("inputs_embeds"), kwargs.pop("position_ids")
    of_trunk = {name: kwargs.pop(name) for name in ("layout", "pairs", *_SEEN) if name in kwargs}
    trunk, end = Trunk(), of_trunk["layout"][-1].end
    seen = of_trunk.get("visual_pos_masks")
    if seen is not None:
        of_trunk["visual_pos_masks"] = seen[:, :end]
    output = stock(
        self,
        inputs_embeds=hidden[:, :end],
        position_ids=places[..., :end],
        keeps=trunk,
        **of_trunk,
        **kwargs,
    )

    def behind(embedded: Tensor, position: Tensor, chunk: Chunk) -> Tensor:
        served = {} if chunk.pairs is None else {"pairs": chunk.pairs}
        found: Tensor = stock(
            self,
            inputs_embeds=embedded,
            position_ids=position,
            layout=chunk.layout,
            behind=trunk,
            **served,
            **kwargs,
        ).last_hidden_state
        return found

    parts = [output.last_hidden_state]
    for number, chunk in enumerate(chunks, start=1):
        given = hidden[:, end : end + chunk.tokens], places[..., end : end + chunk.tokens], chunk
        end += chunk.tokens
        # The last one is the first that the backward pass needs, before others are computed again.
        kept = number == len(chunks) or not torch.is_grad_enabled()
        parts.append(behind(*given) if kept else checkpoint(behind, *given, use_reentrant=False))
    output.last_hidden_state = torch.cat(parts, 1)
    return output
