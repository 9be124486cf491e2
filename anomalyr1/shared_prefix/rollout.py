"""Sampling from prompts that begin alike: each distinct beginning is prefilled once."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributed.fsdp import FSDPModule

from anomalyr1.shared_prefix.attention import shares_attention
from anomalyr1.shared_prefix.cache import SharedCache
from anomalyr1.shared_prefix.prefixes import Prompt, common_prefix
from anomalyr1.shared_prefix.vision import RowImages, backbone_of

# Options of `generate` that bring a cache or an order of rows of their own, and what leaves it be.
_OWN_WAYS: dict[str, tuple[Any, ...]] = {
    "cache_implementation": (),
    "use_cache": (True,),
    "num_beams": (1,),
    "num_return_sequences": (1,),
    "prompt_lookup_num_tokens": (),
    "assistant_early_exit": (),
}


def generation_obstacle(model: Any, options: Mapping[str, Any]) -> str | None:
    """Why `generate` under these options cannot go on from a shared cache, or None.

    Args:
        model: its own generation config holds where the options are silent.
        options: of `generate`; a `generation_config` may be among them.
    """
    configs = (options.get("generation_config"), model.generation_config)
    for name, plain in _OWN_WAYS.items():
        values = (options.get(name), *(getattr(config, name, None) for config in configs))
        value = next((value for value in values if value is not None), None)
        if value is not None and value not in plain:
            return f"sampling has {name}={value}"
    return None


def generate_shared(
    model: Any,
    prompts: Sequence[Prompt],
    images: RowImages | None,
    groups: Sequence[Sequence[int]],
    **options: Any,
) -> Tensor:
    """`model.generate` for prompts of which several share a beginning.

    The columns of the batch are the prefixes, padded on the left, then what each row has of its
    own, padded on the left. With our attention a prefix stays in the cache once (`SharedCache`);
    with the eager kernel the cache is repeated.

    Args:
        model: a Qwen2.5-VL that `sharing_obstacle` has nothing against, adapters or not.
        prompts: B rows.
        images: of the rows, or None.
        groups: rows that begin alike, their images included; every row once.
        options: of `generate`, to which `generation_obstacle` has no objection.

    Returns:
        (B, C) tokens that follow.
    """
    backbone = backbone_of(model)
    shared = [common_prefix([prompts[row].ids for row in group]) for group in groups]
    settings = options.get("generation_config") or model.generation_config
    pad_id = settings.pad_token_id or 0
    if min(shared) == 0:  # a prompt of one token, or rows that begin differently
        whole = _padded(prompts, pad_id)
        seen = {} if images is None else images.batch(range(len(prompts)))
        followed: Tensor = model.generate(**whole, **seen, **options)
        return followed[:, whole["input_ids"].size(1) :]
    firsts = [group[0] for group in groups]
    beginnings = [prompts[row].cut(0, end) for row, end in zip(firsts, shared, strict=True)]
    prefix = _padded(beginnings, pad_id)
    vision = {} if images is None else images.batch(firsts)
    positions, deltas = backbone.get_rope_index(
        prefix["input_ids"],
        mm_token_type_ids=prefix["mm_token_type_ids"],
        image_grid_thw=vision.get("image_grid_thw"),
        attention_mask=prefix["attention_mask"],
    )
    prefill = _decoder_of(model)(
        **prefix, **vision, position_ids=positions, use_cache=True, logits_to_keep=1
    )
    # Its name before transformers 5.24.
    name = (
        "cache" if "cache" in inspect.signature(backbone.forward).parameters else "past_key_values"
    )

    number_of = {row: number for number, group in enumerate(groups) for row in group}
    numbers = [number_of[row] for row in range(len(prompts))]
    endings = [p.cut(shared[n], None) for p, n in zip(prompts, numbers, strict=True)]
    rest = _padded(endings, pad_id)
    owner = torch.tensor(numbers, device=prefix["input_ids"].device)
    cache = prefill[name]
    if shares_attention(model):
        room = rest["input_ids"].size(1) + _new_tokens(options)
        cache = SharedCache(cache, prefix["attention_mask"], groups, room)
    else:
        cache.batch_select_indices(owner)
    inputs = {key: torch.cat([prefix[key][owner], rest[key]], 1) for key in prefix}
    # What follows the images counts on from here; `generate` adds it to the places of tokens.
    backbone.rope_deltas = deltas[owner]
    output: Tensor = model.generate(**inputs, **{name: cache}, **options)
    backbone.rope_deltas = None
    return output[:, inputs["input_ids"].size(1) :]


def _decoder_of(model: Any) -> Any:
    """The module that `generate` calls token by token.

    With adapters it is the one below them. Called from above, the prefill would run under the
    autocast that training wraps around the whole, and leave a cache of another dtype than decoding
    reads. FSDP2 has to be entered from above, and casts the weights of every pass alike.
    """
    if isinstance(model, FSDPModule) or not hasattr(model, "get_base_model"):
        return model
    return model.get_base_model()


def completions_of(tokens: Tensor, eos_ids: Sequence[int]) -> list[list[int]]:
    """The tokens of each row up to its first end-of-sequence token, which is kept.

    >>> completions_of(torch.tensor([[5, 9, 0], [5, 6, 7]]), eos_ids=[9])
    [[5, 9], [5, 6, 7]]
    """
    ends = torch.isin(tokens, torch.tensor(eos_ids, device=tokens.device))
    first = torch.where(ends.any(1), ends.int().argmax(1) + 1, tokens.size(1))
    return [row[:end].tolist() for row, end in zip(tokens, first.tolist(), strict=True)]


def _padded(prompts: Sequence[Prompt], pad_id: int) -> dict[str, Tensor]:
    """Model inputs, padded on the left."""
    size = max(len(prompt.ids) for prompt in prompts)
    ids = prompts[0].ids.new_full((len(prompts), size), pad_id)
    kinds, mask = torch.zeros_like(ids), torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        start = size - len(prompt.ids)
        ids[row, start:], kinds[row, start:], mask[row, start:] = prompt.ids, prompt.kinds, 1
    return {"input_ids": ids, "attention_mask": mask, "mm_token_type_ids": kinds}


def _new_tokens(options: dict[str, Any]) -> int:
    """How many tokens `generate` may add under these options."""
    given = options.get("max_new_tokens")
    if given is None and "generation_config" in options:
        given = options["generation_config"].max_new_tokens
    return 0 if given is None else int(given)
