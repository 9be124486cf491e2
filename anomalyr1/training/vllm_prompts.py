"""The prompts that vLLM is handed and those it answers: the same as are trained on, token by token.

A processor widens the one token of an image to as many as the image has features. TRL 1.16 hands
vLLM such widened prompts beside the images, in its colocate mode; vLLM widens them once more, and
completions are sampled from another prompt than the one trained on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from anomalyr1.errors import InputError


def narrowed(prompt: Mapping[str, Any], image_token: int) -> dict[str, Any]:
    """A prompt for vLLM's `LLM.generate` with one token an image.

    One that has them already comes back as it is, and so does one that is no list of tokens with
    images: where TRL hands over prompts otherwise there is nothing to correct.

    Args:
        prompt: `prompt_token_ids`, and `multi_modal_data` with the images.
        image_token: id of the token in place of an image.

    Raises:
        InputError: the tokens are those of another number of images.

    >>> narrowed({"prompt_token_ids": [5, 9, 9, 9, 6, 9, 9], "multi_modal_data":
    ...          {"image": ["first", "second"]}}, image_token=9)["prompt_token_ids"]
    [5, 9, 6, 9]
    """
    data, ids = prompt.get("multi_modal_data") or {}, prompt.get("prompt_token_ids")
    if ids is None or "image" not in data:
        return dict(prompt)
    images = data["image"] if isinstance(data["image"], list | tuple) else [data["image"]]
    short = [token for token, run in groupby(ids) for token in _one(token, run, image_token)]
    if short.count(image_token) != len(images):
        raise InputError(
            f"expected one run of image tokens an image in a prompt for vLLM, found "
            f"{short.count(image_token)} beside {len(images)} images; set grpo.use_vllm=false to "
            "sample with transformers"
        )
    return {**prompt, "prompt_token_ids": short}


def _one(token: int, run: Iterator[int], image_token: int) -> list[int]:
    return [token] if token == image_token else list(run)


def runs_of(ids: Sequence[int], image_token: int) -> list[int]:
    """Tokens of each image of a prompt.

    >>> runs_of([5, 9, 9, 9, 6, 9, 9], image_token=9)
    [3, 2]
    """
    return [len(list(run)) for token, run in groupby(ids) if token == image_token]


def require_same_images(trained: Sequence[int], made: Sequence[int]) -> None:
    """A server makes as many features of each image as the prompt has tokens for it.

    Args:
        trained: tokens of each image of the trainer's prompt.
        made: features that the server made of each.

    Raises:
        InputError: it makes others.
    """
    if list(trained) != list(made):
        raise InputError(
            f"expected vLLM to make {list(trained)} features of the images of a prompt, found "
            f"{list(made)}; start the server with the pixel caps of the config "
            "(policy.min_pixels, policy.max_pixels)"
        )


def require_same_prompts(
    trained: Sequence[Sequence[int]], sampled: Sequence[Sequence[int]], image_token: int
) -> None:
    """What vLLM sampled from is what is trained on.

    Args:
        trained: token ids of the trainer's prompts.
        sampled: those that vLLM gives back.
        image_token: id of the token in place of an image.

    Raises:
        InputError: a prompt differs; the first one is described.
    """
    pairs = [*zip(trained, sampled, strict=True)]
    wrong = [(ours, theirs) for ours, theirs in pairs if list(ours) != list(theirs)]
    if not wrong:
        return
    ours, theirs = wrong[0]
    images = [runs_of(ids, image_token) for ids in (theirs, ours)]
    if images[0] != images[1]:
        what = f"its images {images[0]} tokens instead of {images[1]}"
    else:
        place = next((i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), "")
        what = f"other text from token {place} on" if place != "" else "the longer one cut short"
    raise InputError(
        f"expected vLLM to sample from the prompts that are trained on, found {len(wrong)} of "
        f"{len(pairs)} different, the first one {len(theirs)} tokens long instead of {len(ours)}, "
        f"{what}; leave pixel caps out of sampler.engine, start a server with those of the config, "
        "or sample with transformers (grpo.use_vllm=false)"
    )
