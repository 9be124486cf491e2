"""What one layer holds between its forward and its backward pass, asked of the layer itself.

A copy of the policy with one language layer and two vision blocks is built from fake tensors, which
have shapes and storages but no memory. One layer is run forward and backward, and the bytes alive
are counted: what autograd saves follows from the installed transformers, peft and torch, under the
run's own dtype, autocast, adapter and attention kernel, instead of from a list of our own.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from anomalyr1.config import PolicyConfig
from anomalyr1.planning.architecture import Architecture, meta_model
from anomalyr1.planning.kernels import CUDA_KERNEL
from anomalyr1.planning.live import nbytes
from anomalyr1.planning.parts import Parts
from anomalyr1.planning.tracing import Tape, trace
from anomalyr1.shared_prefix.attention import NAME
from anomalyr1.shared_prefix.trunk import Trunk
from anomalyr1.shared_prefix.vision import tower_learns


class Layers:
    """One layer of each kind, to be traced at any shape."""

    def __init__(
        self,
        architecture: Architecture,
        policy: PolicyConfig,
        *,
        dtype: torch.dtype,
        autocast: torch.dtype | None,
        upcast_trained: bool,
        cuda: bool,
        gradients_held: bool,
    ) -> None:
        """Build the copy.

        Args:
            architecture: of the whole policy.
            policy: what is frozen, the adapter, the attention kernel.
            dtype: of the weights as they are loaded.
            autocast: dtype of autocast, or None.
            upcast_trained: what learns is in float32.
            cuda: plan for CUDA's kernels instead of the CPU's.
            gradients_held: earlier passes left gradients to add to.
        """
        config = copy.deepcopy(architecture.config)
        config.text_config.num_hidden_layers = 1
        config.text_config.layer_types = config.text_config.layer_types[:1]
        config.vision_config.depth = 2
        config.vision_config.fullatt_block_indexes = [1]
        self.text: Any
        self.vision: Any
        self.text, self.vision = config.text_config, config.vision_config
        self.text_depth = architecture.config.text_config.num_hidden_layers
        self.vision_depth = architecture.config.vision_config.depth
        self.full_attention = frozenset(architecture.config.vision_config.fullatt_block_indexes)
        self.patch_values = (
            self.vision.in_channels * self.vision.temporal_patch_size * self.vision.patch_size**2
        )
        self.autocast, self.held = autocast, gradients_held
        self.eager = policy.kernel == "eager"
        self.masked = policy.kernel in ("eager", "sdpa")
        kernel = "eager" if self.eager else CUDA_KERNEL if cuda or not self.masked else NAME
        self._mode = FakeTensorMode(allow_non_fake_inputs=True)
        model: Any = meta_model(
            replace(architecture, config=config),
            policy,
            dtype=dtype,
            attention=kernel,
            upcast_trained=upcast_trained,
            autocast=autocast is not None,
        )
        # Fake tensors of the CPU instead of the meta device: autocast works on them.
        for module in model.modules():
            for name, weight in list(module.named_parameters(recurse=False)):
                with self._mode:
                    fake = torch.empty(weight.shape, dtype=weight.dtype)
                setattr(module, name, torch.nn.Parameter(fake, weight.requires_grad))
        self.adapted = hasattr(model, "peft_config")
        self._inner: Any = (model.get_base_model() if self.adapted else model).model
        # Hidden states begin in the dtype of the embedding, and of the patches' embedding.
        self.dtype: torch.dtype = self._inner.language_model.embed_tokens.weight.dtype
        self.vision_dtype: torch.dtype = self._inner.visual.patch_embed.proj.weight.dtype
        self._tapes: dict[tuple[Any, ...], Tape] = {}

    def vision_flows(self) -> bool:
        """Whether gradients flow through the vision tower: a weight in it learns."""
        return tower_learns(self._inner.visual)

    def language_input(self, sequences: int, length: int) -> int:
        """Bytes of the hidden states between two language layers."""
        return int(sequences * length * self.text.hidden_size * self.dtype.itemsize)

    def pixels(self, patches: int) -> int:
        """Bytes of the processor's patches, in float32."""
        return int(patches * self.patch_values * 4)

    def vision_input(self, patches: int) -> int:
        """Bytes of the hidden states between two vision blocks."""
        return int(patches * self.vision.hidden_size * self.vision_dtype.itemsize)

    def embedding_gradient(self) -> int:
        """Bytes of the gradient of the embedding table, which is as large as the table."""
        weight = self._inner.language_model.embed_tokens.weight
        return nbytes(weight) if weight.requires_grad else 0

    @property
    def _key_width(self) -> int:
        width: int = self.text.hidden_size // self.text.num_attention_heads
        return width * int(self.text.num_key_value_heads)

    def mask_pairs(self, sequences: int, length: int, parts: Parts | None) -> int:
        """Entries of the mask of a pass; packed, there is one of a segment by what it sees."""
        if not self.masked:
            return 0
        if parts is None or self.eager:
            return sequences * length**2
        repeats: int = self.text.num_attention_heads // self.text.num_key_value_heads
        return sequences * repeats * parts.pairs

    def mask_copy(self, sequences: int, length: int, parts: Parts | None = None) -> int:
        """Bytes of the additive mask a language layer makes; part of its tape."""
        if self.eager:
            return 0
        kind = self.autocast or self.dtype
        return self.mask_pairs(sequences, length, parts) * kind.itemsize

    def trunk_bytes(self, tokens: int) -> int:
        """Bytes of the keys and values of a layer that are held for so many tokens."""
        kind = self.autocast or self.dtype
        return 2 * tokens * self._key_width * kind.itemsize

    def language_layer(
        self,
        sequences: int,
        length: int,
        parts: Parts | None = None,
        *,
        backward: bool = True,
        keeps: bool = False,
    ) -> Tape:
        """A decoder layer on (sequences, length) tokens.

        Args:
            sequences: rows of the batch.
            length: tokens of each.
            parts: of groups packed into one sequence; None where a mask of any shape decides.
            backward: gradients flow through it.
            keeps: its keys and values are held for chunks of completions behind it.
        """
        if self.eager or not self.masked:
            parts = None
        layer = self._inner.language_model.layers[0]
        size = self.text.hidden_size // self.text.num_attention_heads
        # Which rows are whose follows from the values of the indices, so they are real tensors.
        layout = None if parts is None else parts.layout(sequences)
        if parts is not None:
            sequences, length = 1, sequences * length
        with self._mode:
            turn = torch.zeros(sequences, length, size, dtype=self.dtype)
            mask = None
            if self.masked and parts is None:
                kind = torch.float32 if self.eager else torch.bool
                mask = torch.zeros(sequences, 1, length, length, dtype=kind)

        held = {"keeps": Trunk()} if keeps else {}

        def call(hidden: Tensor) -> Tensor:
            output: Tensor = layer(
                hidden, attention_mask=mask, position_embeddings=(turn, turn), layout=layout, **held
            )
            return output

        shape = (sequences, length, self.text.hidden_size)
        return self._tape(f"language {parts} {keeps}", layer, call, shape, backward)

    def chunk_layer(self, parts: Parts, trees: int, ends: int, *, backward: bool = True) -> Tape:
        """A decoder layer on a chunk of completions behind what was held of so many trees.

        Args:
            parts: of a tree.
            trees: in the sequence.
            ends: completions of the chunk.
            backward: gradients flow through it; those of the keys and values of the trees too.
        """
        layer = self._inner.language_model.layers[0]
        layout, length = parts.ends(ends, trees), ends * parts.size
        size = self.text.hidden_size // self.text.num_attention_heads
        with self._mode:
            turn = torch.zeros(1, length, size, dtype=self.dtype)
            kept = (1, self.text.num_key_value_heads, trees * parts.trunk, size)
            kind = self.autocast or self.dtype
            key, value = (torch.zeros(kept, dtype=kind, requires_grad=backward) for _ in range(2))

        def call(hidden: Tensor) -> Tensor:
            output: Tensor = layer(
                hidden,
                attention_mask=None,
                position_embeddings=(turn, turn),
                layout=layout,
                behind=Trunk({0: key}, {0: value}),
            )
            return output

        name = f"chunk {parts} {trees} {ends}"
        return self._tape(name, layer, call, (1, length, self.text.hidden_size), backward)

    def final_norm(self, sequences: int, length: int) -> Tape:
        """The norm before the head."""
        norm = self._inner.language_model.norm
        return self._tape("norm", norm, norm, (sequences, length, self.text.hidden_size))

    def patch_embedding(self, patches: int) -> Tape:
        """The first layer of the vision tower; its input, the pixels, is left out."""
        embed = self._inner.visual.patch_embed
        with self._mode:
            pixels = torch.zeros(patches, self.patch_values)
        return self._tape(f"patches {patches}", embed, lambda _: embed(pixels), (1,), flows=False)

    def vision_block(
        self, images: int, patches: int, *, full: bool = True, backward: bool = True
    ) -> Tape:
        """A block of the vision tower.

        Args:
            images: computed together.
            patches: of each.
            full: attention over the whole image instead of windows. Only the eager kernel, which
                makes the scores, needs less memory for windows; the others are not asked.
            backward: gradients flow through it.
        """
        block = self._inner.visual.blocks[1 if full else 0]
        total, windowed = images * patches, self.eager and not full
        window = (self.vision.window_size // self.vision.patch_size) ** 2 if windowed else patches
        # The block reads these lengths as numbers, which a fake tensor does not have.
        bounds: Any = np.array([*range(0, total, window), total])
        with self._mode:
            turn = torch.zeros(total, self.vision.hidden_size // self.vision.num_heads)

        def call(hidden: Tensor) -> Tensor:
            output: Tensor = block(hidden, cu_seqlens=bounds, position_embeddings=(turn, turn))
            return output

        name = f"vision {images} {windowed}"
        shape = (total, self.vision.hidden_size)
        return self._tape(name, block, call, shape, backward, dtype=self.vision_dtype)

    def merger(self, patches: int, *, backward: bool, flows: bool) -> Tape:
        """The projector.

        Args:
            patches: of all images.
            backward: gradients are computed in this pass.
            flows: the vision tower wants gradients too.
        """
        merger = self._inner.visual.merger
        shape = (patches, self.vision.hidden_size)
        kind = self.vision_dtype
        return self._tape("merger", merger, merger, shape, backward, flows=flows, dtype=kind)

    def _tape(
        self,
        name: str,
        module: torch.nn.Module,
        call: Callable[[Tensor], Tensor],
        shape: tuple[int, ...],
        backward: bool = True,
        flows: bool = True,
        dtype: torch.dtype | None = None,
    ) -> Tape:
        key = (name, shape, backward, flows)
        if key not in self._tapes:
            with self._mode:
                kind = dtype or self.dtype
                seed = torch.zeros(1, dtype=kind, requires_grad=flows and backward)
                self._tapes[key] = trace(
                    module, call, seed, shape, backward, autocast=self.autocast, held=self.held
                )
        return self._tapes[key]
