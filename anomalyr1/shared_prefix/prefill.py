"""The beginnings of prompts, computed once and gone on from as often as one likes.

A rollout goes on from them token by token, a likelihood in one pass; neither changes what is held.
A beginning that many batches share (the reference images of a product) can be kept between them:
then even the first prompt of a batch costs only what follows it.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.distributed.fsdp import FSDPModule
from transformers.cache_utils import Cache, DynamicCache

from anomalyr1.shared_prefix.attention import shares_attention
from anomalyr1.shared_prefix.cache import SharedCache
from anomalyr1.shared_prefix.prefixes import Prompt, common_prefix, left_padded
from anomalyr1.shared_prefix.vision import RowImages, backbone_of


@dataclass(frozen=True)
class KeptPrefix:
    """A beginning of prompts with its keys and values, kept from batch to batch.

    Attributes:
        prompt: its tokens.
        grids: (images, 3) frames, rows and columns of patches of its images.
        cache: of one row.
    """

    prompt: Prompt
    grids: Tensor
    cache: Cache


@dataclass(frozen=True)
class Prefilled:
    """B prompts whose U beginnings are computed.

    Attributes:
        model: that computed them.
        inputs: of the beginnings, (U, P) each, padded on the left behind what was kept.
        cache: their keys and values.
        deltas: (U, 1) what M-RoPE positions behind the images differ by from places of tokens.
        owner: for each of the B prompts the number of its beginning.
        endings: of each prompt what follows its beginning.
    """

    model: Any
    inputs: dict[str, Tensor]
    cache: Cache
    deltas: Tensor
    owner: tuple[int, ...]
    endings: list[Prompt]

    def generate(
        self,
        rows: Sequence[int] | None = None,
        said: Sequence[Sequence[int]] | None = None,
        **options: Any,
    ) -> Tensor:
        """`model.generate` from some of the prompts.

        The columns of the batch are the beginnings, then what each row has of its own, padded on
        the left. With our attention a beginning stays in the cache once (`SharedCache`); with the
        eager kernel the cache is repeated.

        Args:
            rows: of the prompts, R of them; one may come more than once. None for all.
            said: for each of these rows the tokens that its completion begins with; None for none.
            options: of `generate`, to which `generation_obstacle` has no objection.

        Returns:
            (R, C) tokens that follow.
        """
        rows = range(len(self.endings)) if rows is None else rows
        settings = options.get("generation_config") or self.model.generation_config
        followed = self._gone_on(rows, [()] * len(rows) if said is None else said)
        inputs, cache, owner, _ = self._go_on(
            rows, followed, settings.pad_token_id or 0, _new_tokens(options)
        )
        # What follows the images counts on from here; `generate` adds it to the places of tokens.
        backbone = backbone_of(self.model)
        backbone.rope_deltas = self.deltas[owner]
        name = cache_name(backbone)
        output: Tensor = self.model.generate(**inputs, **{name: cache}, **options)
        backbone.rope_deltas = None
        return output[:, inputs["input_ids"].size(1) :]

    def logits_after(self, rows: Sequence[int], said: Sequence[Sequence[int]]) -> Tensor:
        """What the model expects next where prompts have been gone on from.

        Args:
            rows: of the prompts; one may come more than once.
            said: for each of these R rows the tokens after its prompt.

        Returns:
            (R, vocabulary) logits of the next token.
        """
        inputs, cache, owner, own = self._go_on(rows, self._gone_on(rows, said), 0, 0)
        places = inputs["attention_mask"].cumsum(-1) - 1 + self.deltas[owner]
        backbone = backbone_of(self.model)
        output = decoder_of(self.model)(
            input_ids=inputs["input_ids"][:, -own:],
            attention_mask=inputs["attention_mask"],
            position_ids=places[:, -own:].clamp(min=0).expand(3, -1, -1),
            use_cache=True,
            logits_to_keep=1,
            **{cache_name(backbone): cache},
        )
        logits: Tensor = output.logits[:, -1]
        return logits

    def _gone_on(self, rows: Sequence[int], said: Sequence[Sequence[int]]) -> list[Prompt]:
        """What follows the beginnings of some prompts, and what was said after them."""
        ids = self.inputs["input_ids"]
        return [
            self.endings[row].then(ids.new_tensor(list(tokens), dtype=ids.dtype))
            for row, tokens in zip(rows, said, strict=True)
        ]

    def _go_on(
        self, rows: Sequence[int], followed: Sequence[Prompt], pad_id: int, new_tokens: int
    ) -> tuple[dict[str, Tensor], Cache, Tensor, int]:
        """Inputs, a cache to be filled, the beginning of each row, and how many columns follow."""
        device = self.inputs["input_ids"].device
        owner = torch.tensor([self.owner[row] for row in rows], device=device)
        rest = left_padded(followed, pad_id)
        own = rest["input_ids"].size(1)
        inputs = {key: torch.cat([self.inputs[key][owner], rest[key]], 1) for key in rest}
        if not shares_attention(self.model):
            return inputs, _select(self.cache, owner), owner, own
        used = sorted({self.owner[row] for row in rows})
        groups = [
            [place for place, row in enumerate(rows) if self.owner[row] == number]
            for number in used
        ]
        held, mask = self.cache, self.inputs["attention_mask"]
        if len(used) < len(mask):
            chosen = torch.tensor(used, device=device)
            held, mask = _select(held, chosen), mask[chosen]
        return inputs, SharedCache(held, mask, groups, own + new_tokens), owner, own


def prefill(
    model: Any,
    prompts: Sequence[Prompt],
    images: RowImages | None,
    groups: Sequence[Sequence[int]],
    kept: KeptPrefix | None = None,
) -> Prefilled:
    """Compute the beginnings of prompts, each once for all rows of its group.

    Args:
        model: one that `sharing_obstacle` has nothing against, adapters or not.
        prompts: B rows, the kept beginning included.
        images: of the rows, those of the kept beginning left out; None without any.
        groups: rows that begin alike, their images included; every row once.
        kept: how all prompts begin, computed before.

    Raises:
        ValueError: a prompt does not begin as the kept one, or a group shares nothing behind it.
    """
    start = 0 if kept is None else len(kept.prompt.ids)
    shared = [common_prefix([prompts[row].ids for row in group]) for group in groups]
    firsts = [group[0] for group in groups]
    for row, end in zip(firsts, shared, strict=True):
        if end <= start or (
            kept is not None and not torch.equal(prompts[row].ids[:start], kept.prompt.ids)
        ):
            raise ValueError(
                f"expected the prompts of a group to share tokens behind {start} kept ones, found "
                f"{end} shared in all; leave `kept` out, or group other rows"
            )
    own = [prompts[row].cut(start, end) for row, end in zip(firsts, shared, strict=True)]
    inputs = left_padded(own, model.generation_config.pad_token_id or 0)
    vision = {} if images is None else images.batch(firsts)
    grids = vision.get("image_grid_thw")
    cache = None
    if kept is not None:
        inputs = _behind(kept.prompt, inputs)
        cache = _select(kept.cache, torch.zeros(len(own), dtype=torch.long))
        none = kept.grids[:0]
        rows = [none if images is None else images.grids[row] for row in firsts]
        grids = torch.cat([grid for row in rows for grid in (kept.grids, row)])
    backbone = backbone_of(model)
    positions, deltas = backbone.get_rope_index(
        inputs["input_ids"],
        mm_token_type_ids=inputs["mm_token_type_ids"],
        image_grid_thw=grids,
        attention_mask=inputs["attention_mask"],
    )
    name = cache_name(backbone)
    output = decoder_of(model)(
        input_ids=inputs["input_ids"][:, start:],
        attention_mask=inputs["attention_mask"],
        mm_token_type_ids=inputs["mm_token_type_ids"][:, start:],
        position_ids=positions[:, :, start:],
        use_cache=True,
        logits_to_keep=1,
        **vision,
        **({} if cache is None else {name: cache}),
    )
    number_of = {row: number for number, group in enumerate(groups) for row in group}
    owner = tuple(number_of[row] for row in range(len(prompts)))
    endings = [p.cut(shared[n], None) for p, n in zip(prompts, owner, strict=True)]
    return Prefilled(model, inputs, output[name], deltas, owner, endings)


def keep(model: Any, prompt: Prompt, images: RowImages | None) -> KeptPrefix:
    """Compute how prompts to come begin, to be kept between batches.

    Args:
        model: as that of `prefill`.
        prompt: the tokens they begin with.
        images: those in them, as one row; None without any.
    """
    # `prefill` leaves a prompt its last token, which is none of the beginning here.
    whole = prompt.then(prompt.ids[-1:])
    done = prefill(model, [whole], images, [[0]])
    grids = prompt.ids.new_zeros(0, 3) if images is None else images.grids[0]
    return KeptPrefix(prompt, grids, done.cache)


def decoder_of(model: Any) -> Any:
    """The module that `generate` calls token by token.

    With adapters it is the one below them. Called from above, the prefill would run under the
    autocast that training wraps around the whole, and leave a cache of another dtype than decoding
    reads. FSDP2 has to be entered from above, and casts the weights of every pass alike.
    """
    if isinstance(model, FSDPModule) or not hasattr(model, "get_base_model"):
        return model
    return model.get_base_model()


def cache_name(backbone: Any) -> str:
    """What a forward pass calls its cache: the name changed with transformers 5.24."""
    known = inspect.signature(backbone.forward).parameters
    return "cache" if "cache" in known else "past_key_values"


def _behind(kept: Prompt, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Padded rows with the kept tokens in front of their padding."""
    rows = len(inputs["input_ids"])
    ones = torch.ones_like(kept.ids)
    front = {"input_ids": kept.ids, "attention_mask": ones, "mm_token_type_ids": kept.kinds}
    return {
        key: torch.cat([front[key].to(value.dtype).expand(rows, -1), value], 1)
        for key, value in inputs.items()
    }


def _select(cache: Cache, rows: Tensor) -> Cache:
    """A cache of its own that holds these rows of another."""
    selected = DynamicCache()
    for number, layer in enumerate(cache.layers):
        index = rows.to(layer.keys.device)
        selected.update(layer.keys[index], layer.values[index], number)
    return selected


def _new_tokens(options: dict[str, Any]) -> int:
    """How many tokens `generate` may add under these options."""
    given = options.get("max_new_tokens")
    if given is None and "generation_config" in options:
        given = options["generation_config"].max_new_tokens
    return 0 if given is None else int(given)
