"""What an image becomes: one resize, the image processor's own, for frames and for token counts."""

from __future__ import annotations

import sys
from collections.abc import Callable
from inspect import signature
from pathlib import Path
from typing import Any

from PIL import Image
from torchvision.transforms.functional import pil_to_tensor
from transformers.image_utils import SizeDict

from anomalyr1.errors import InputError
from anomalyr1.geometry import Frame
from anomalyr1.policy.family import Family
from anomalyr1.run_folder import TRAINING_DATA
from anomalyr1.storage import read_json

_ARGUMENTS = {"height", "width", "factor", "min_pixels", "max_pixels"}


def resized_size(width: int, height: int, processor: Any) -> tuple[int, int]:
    """(width, height) of the image that the policy sees of one of `width` x `height` pixels.

    Raises:
        ValueError: the processor refuses an image of this shape, and says why.
    """
    images = processor.image_processor
    resized_height, resized_width = _own_resize(images)(
        height=height,
        width=width,
        factor=images.patch_size * images.merge_size,
        min_pixels=images.size["shortest_edge"],
        max_pixels=images.size["longest_edge"],
    )
    return resized_width, resized_height


def resized_image(image: Image.Image, processor: Any) -> Image.Image:
    """The image as the processor resizes it: a processor of the same kind leaves it as it is."""
    images = processor.image_processor
    pixels = pil_to_tensor(image.convert("RGB"))[None]
    resized = images.resize(
        pixels,
        SizeDict(**dict(images.size)),
        images.resample,
        factor=images.patch_size * images.merge_size,
    )
    return Image.fromarray(resized[0].permute(1, 2, 0).numpy())


def image_tokens(resized: tuple[int, int], processor: Any) -> int:
    """Prompt tokens that an image takes which the processor makes `resized` (width, height)."""
    images = processor.image_processor
    factor: int = images.patch_size * images.merge_size
    return (resized[0] // factor) * (resized[1] // factor)


def model_frame(width: int, height: int, processor: Any, family: Family) -> Frame | None:
    """The frame in which the policy states boxes in an image; None where that is not known.

    Raises:
        ValueError: as `resized_size`.
    """
    if family.unit is None:
        return None
    size = width, height
    return Frame.spoken(size, resized_size(width, height, processor), family.unit)


def saved_pixels(folder: Path) -> tuple[int, int] | None:
    """The pixel limits, least and most, that a local checkpoint's processor was saved with.

    None for a hub id, and where no file of it tells them.
    """
    for name in ("processor_config.json", "preprocessor_config.json"):
        if (folder / name).is_file():
            content = read_json(folder / name, "the settings of a processor")
            images = content.get("image_processor", content) if isinstance(content, dict) else {}
            size = images.get("size") if isinstance(images, dict) else None
            least, most = ((size or {}).get(key) for key in ("shortest_edge", "longest_edge"))
            if isinstance(least, int) and isinstance(most, int) and 0 < least <= most:
                return least, most
    return None


def trained_pixels(folder: Path) -> tuple[int, int] | None:
    """The pixel limits that a policy which was trained here saw its images with.

    None for any other checkpoint, whose processor may let through more than anybody shows it.
    """
    return saved_pixels(folder) if (folder / TRAINING_DATA).is_file() else None


def require_pixel_limits(image_processor: Any, path: str) -> None:
    """Refuse an image processor that does not resize between two numbers of pixels.

    Raises:
        InputError: with its class.
    """
    if _find_resize(image_processor) is None or not hasattr(image_processor, "merge_size"):
        raise InputError(
            "expected an image processor with pixel limits, as Qwen's vision models have, at "
            f"policy.path={path}, found {type(image_processor).__name__}; take another policy"
        )


def _own_resize(image_processor: Any) -> Callable[..., tuple[int, int]]:
    found = _find_resize(image_processor)
    assert found is not None, "load_processor lets no other processor in"
    return found


def _find_resize(image_processor: Any) -> Callable[..., tuple[int, int]] | None:
    """The function by which the class of the processor resizes, kept in the module of the class.

    Qwen's processor comes in a class for torchvision and one for Pillow, with one each; a subclass
    resizes as its base does. Video-like resizes (GLM's, by number of frames) are none of ours.
    """
    for kind in type(image_processor).__mro__:
        found = getattr(sys.modules[kind.__module__], "smart_resize", None)
        if found is not None and set(signature(found).parameters) == _ARGUMENTS:
            return found  # type: ignore[no-any-return]
    return None
