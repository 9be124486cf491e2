"""Equal images are prepared once and seen once, however many rows of a batch show them.

GRPO shows every image G times, the questions of one image share it, and reference images recur.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from weakref import WeakSet

import torch
from PIL import Image
from torch import Tensor
from transformers.image_utils import make_flat_list_of_images

# Vision towers that `see_once` has been asked for.
_seeing: WeakSet[torch.nn.Module] = WeakSet()


@contextmanager
def prepared_once(image_processor: Any) -> Iterator[None]:
    """Within this block the image processor resizes and normalises equal pictures once a call."""
    stock = image_processor.preprocess

    def preprocess(images: Any, *args: Any, **kwargs: Any) -> Any:
        flat = make_flat_list_of_images(images)
        if not all(isinstance(image, Image.Image) for image in flat):
            return stock(images, *args, **kwargs)
        marks = {id(image): image for image in flat}
        prints = {mark: fingerprint(image) for mark, image in marks.items()}
        first: dict[bytes, int] = {}
        owner = [first.setdefault(prints[id(image)], len(first)) for image in flat]
        if len(first) == len(flat):
            return stock(images, *args, **kwargs)
        firsts = [owner.index(number) for number in range(len(first))]
        features = stock([flat[index] for index in firsts], *args, **kwargs)
        grids = torch.as_tensor(features["image_grid_thw"])
        parts = torch.split(torch.as_tensor(features["pixel_values"]), grids.prod(1).tolist())
        features["pixel_values"] = torch.cat([parts[number] for number in owner])
        features["image_grid_thw"] = grids[owner]
        return features

    image_processor.preprocess = preprocess
    try:
        yield
    finally:
        del image_processor.preprocess


def see_once(visual: Any) -> None:
    """Make a vision tower run once over each distinct image of a batch; its outputs are the same.

    They are hooks of the tower itself, so they work inside DDP, DeepSpeed and FSDP, with gradients:
    that of an image is the sum over its copies.

    Args:
        visual: the vision tower of a Qwen2.5-VL or Qwen3-VL, called with patches (N, width) and
            `grid_thw` (images, 3). Asked again, nothing changes.
    """
    if visual in _seeing:
        return
    _seeing.add(visual)
    pending: list[tuple[list[int], Tensor]] = []
    merged = visual.spatial_merge_size**2

    def before(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        patches, grids = args[0], kwargs["grid_thw"]
        parts = torch.split(patches, grids.prod(1).tolist())
        owner, firsts = _distinct(parts, grids)
        pending.append((owner, grids[firsts]))
        if len(firsts) == len(parts):
            return None
        kept = torch.cat([parts[index] for index in firsts])
        return (kept, *args[1:]), {**kwargs, "grid_thw": grids[firsts]}

    def after(_: Any, __: Any, output: Any) -> Any:
        owner, grids = pending.pop()
        if len(grids) == len(owner):
            return None
        patches = grids.prod(1).tolist()
        tokens = [count // merged for count in patches]

        def repeated(features: Tensor, sizes: list[int]) -> Tensor:
            parts = torch.split(features, sizes)
            return torch.cat([parts[number] for number in owner])

        output["last_hidden_state"] = repeated(output["last_hidden_state"], patches)
        output["pooler_output"] = repeated(output["pooler_output"], tokens)
        if "deepstack_features" in output:  # of Qwen3-VL: what further layers are given
            deeper = output["deepstack_features"]
            output["deepstack_features"] = [repeated(features, tokens) for features in deeper]
        return output

    visual.register_forward_pre_hook(before, with_kwargs=True)
    visual.register_forward_hook(after)


def fingerprint(image: Image.Image) -> bytes:
    """Equal for pictures of the same pixels, and for no others."""
    if image.mode == "P":  # indices into a palette of its own
        image = image.convert("RGBA")
    head = f"{image.mode} {image.size}".encode()
    return hashlib.blake2b(head + image.tobytes(), digest_size=16).digest()


def _distinct(parts: Sequence[Tensor], grids: Tensor) -> tuple[list[int], list[int]]:
    """For each image the number of its distinct one, and where each distinct one is first.

    Sums decide which images need to be compared; every match is compared in full.
    """
    sums = torch.stack([part.double().sum() for part in parts]).tolist()
    frames = grids.tolist()
    candidates: dict[tuple[Any, ...], list[int]] = {}
    owner: list[int] = []
    firsts: list[int] = []
    for index, part in enumerate(parts):
        known = candidates.setdefault((*frames[index], sums[index]), [])
        for number in known:
            if torch.equal(parts[firsts[number]], part):
                owner.append(number)
                break
        else:
            known.append(len(firsts))
            owner.append(len(firsts))
            firsts.append(index)
    return owner, firsts
