"""Memory of TRL's fused head: log-probabilities without the (tokens, vocabulary) logits.

Read off `trl/kernels/chunked_logprob.py`: the projection runs in tiles of 4096 tokens by 32768
words; the backward pass computes each tile again and sums the gradients in float32.
"""

from __future__ import annotations

from dataclasses import dataclass

from anomalyr1.planning.tracing import Tape

TILE_TOKENS = 4096
TILE_WORDS = 32768
# Float32 tiles alive at once where Triton is not there to fold a tile in one pass (the CPU): in
# `_forward_tile` logits, exponentials and their product; in `_backward_tile` logits, scaled logits,
# log-probabilities, probabilities, gradient, one-hot and two terms of the gradient's sum.
CPU_TILES = (3, 8)


@dataclass(frozen=True)
class Head:
    """The head of one policy.

    Attributes:
        hidden: width of the hidden states.
        vocabulary: words.
        hidden_bytes: of an element of the hidden states.
        tile_bytes: of an element of a tile; the dtype of autocast, or of the hidden states.
        weight_bytes: of an element of the weight.
        trained: the weight wants a gradient.
        cuda: Triton folds the tiles, and only completion tokens are scored.
    """

    hidden: int
    vocabulary: int
    hidden_bytes: int
    tile_bytes: int
    weight_bytes: int
    trained: bool
    cuda: bool

    def tape(self, sequences: int, length: int, scored: int) -> Tape:
        """The head on (sequences, length) hidden states, of which `scored` speak of completions."""
        states = sequences * length * self.hidden * self.hidden_bytes
        tokens = scored if self.cuda else sequences * (length - 1)
        picked = tokens * self.hidden * self.hidden_bytes
        tile = min(tokens, TILE_TOKENS) * TILE_WORDS * self.tile_bytes
        words = min(self.vocabulary, TILE_WORDS)
        if self.weight_bytes != self.tile_bytes:
            tile += words * self.hidden * self.tile_bytes
        folded = 0 if self.cuda else min(tokens, TILE_TOKENS) * words * 4
        # float32 sums; their cast to the dtype of the tensor they belong to.
        sums = tokens * self.hidden * 4 + (picked if self.hidden_bytes != 4 else 0)
        if self.trained:
            sums += self.vocabulary * self.hidden * 4
            if self.weight_bytes != 4:
                sums += self.vocabulary * self.hidden * self.weight_bytes
        return Tape(
            forward=states + picked + tile + CPU_TILES[0] * folded,
            kept=picked,
            backward=picked + max(tile + CPU_TILES[1] * folded, states) + sums,
            gradients=self.vocabulary * self.hidden * self.weight_bytes if self.trained else 0,
        )
