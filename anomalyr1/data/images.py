"""Images and masks from disk, and boxes from masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from anomalyr1.data.grey_levels import is_deep, read_deep
from anomalyr1.data.image_files import load_unturned, opened_image, upright_size
from anomalyr1.data.mask_marks import Mask as Mask
from anomalyr1.data.mask_marks import marked_pixels
from anomalyr1.errors import InputError, one_line
from anomalyr1.geometry import EXIF_TURNS, UNTURNED, Turn
from anomalyr1.schema import Box

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})

_TRANSPOSES = {
    Turn(mirrored=True): Image.Transpose.FLIP_LEFT_RIGHT,
    Turn(mirrored=True, upside_down=True): Image.Transpose.ROTATE_180,
    Turn(upside_down=True): Image.Transpose.FLIP_TOP_BOTTOM,
    Turn(transposed=True): Image.Transpose.TRANSPOSE,
    Turn(transposed=True, mirrored=True): Image.Transpose.ROTATE_270,
    Turn(transposed=True, mirrored=True, upside_down=True): Image.Transpose.TRANSVERSE,
    Turn(transposed=True, upside_down=True): Image.Transpose.ROTATE_90,
}
LEVELS, ORIENTATION = "levels", "orientation"  # what open_image leaves in an image's info


@dataclass(frozen=True, slots=True)
class BoxOptions:
    """How boxes are read from a mask.

    Attributes:
        connectivity: 4 or 8 neighbours make a pixel part of a component.
        min_area: components (after merging) of fewer pixels are left out, but never the last one:
            a mask that marks something always gives a box.
        merge_distance: components whose boxes are at most this many pixels apart become one.
    """

    connectivity: int = 8
    min_area: int = 9
    merge_distance: int = 5

    def __post_init__(self) -> None:
        if self.connectivity not in (4, 8):
            raise InputError(f"expected connectivity 4 or 8, found {self.connectivity}; choose one")
        if self.min_area < 1 or self.merge_distance < 0:
            raise InputError(
                "expected min_area of at least 1 and merge_distance of at least 0, "
                f"found {self.min_area} and {self.merge_distance}; raise them"
            )


def open_image(path: Path) -> Image.Image:
    """The image upright (EXIF) and in RGB; more than 8 bits a channel are brought to 8.

    `info` holds the EXIF orientation under ORIENTATION and, where levels were brought to 8 bits,
    the rule under LEVELS (`grey_levels`).

    Raises:
        InputError: the file is missing or is not a readable image.
    """
    image, orientation, rule, _ = _load(path, to_rgb=True)
    image.info = {ORIENTATION: orientation, **({LEVELS: rule} if rule else {})}
    return image


def turn_image(image: Image.Image, turn: Turn) -> Image.Image:
    """The image turned, pixel by pixel."""
    return image if turn == UNTURNED else image.transpose(_TRANSPOSES[turn])


def image_size(path: Path) -> tuple[int, int]:
    """(width, height) of the upright image; reads the header only, of a rare PNG all.

    Raises:
        InputError: the file is missing or is not an image.
    """
    try:
        with opened_image(path) as image:
            return upright_size(image, path)
    except InputError:
        raise
    except Exception as error:  # PIL's decoders raise whatever a damaged file drives them to
        raise _unreadable(path, error) from None


def is_image(path: Path) -> bool:
    """True for a visible file name with a suffix of an image."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def mask_file(path: Path) -> Path | None:
    """Where a mask really is: `path`, or the same name with .png; None when neither exists."""
    if path.exists():
        return path
    png = path.with_suffix(".png")
    return png if png.exists() else None


def read_mask(path: Path, size: tuple[int, int] | None = None) -> Mask:
    """A binary mask of shape (height, width); `mask_marks` says which pixels are marked.

    A directory is the union of the images in it (MVTec-LOCO). A missing file is tried again with
    the suffix .png (GoodsAD).

    Args:
        path: mask file, or directory of mask files.
        size: (width, height) that the mask is resized to (nearest neighbour); None keeps its own.

    Raises:
        InputError: there is no mask, it can be read two ways, or masks of one directory differ in
            size.
    """
    found = mask_file(path)
    if found is None:
        raise InputError(f"expected a mask at {path}, found no such file; check mask_path")
    files = [found]
    if found.is_dir():
        files = [f for f in sorted(found.iterdir()) if is_image(f)]
        if not files:
            raise InputError(f"expected mask images in {found}, found none; check mask_path")
    union: Mask | None = None
    for file in files:
        image, _, _, form = _load(file, to_rgb=False)
        mask = marked_pixels(image, form, file)
        if union is not None and union.shape != mask.shape:
            raise InputError(
                f"expected masks of one size in {found}, found {file.name} to differ; mend them"
            )
        union = mask if union is None else union | mask
    assert union is not None
    return union if size is None else resize_mask(union, size)


def resize_mask(mask: Mask, size: tuple[int, int]) -> Mask:
    """Nearest-neighbour resize to (width, height)."""
    if mask.shape == (size[1], size[0]):
        return mask
    return np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))


def boxes_from_mask(
    mask: Mask, options: BoxOptions | None = None, label: str | None = None
) -> tuple[Box, ...]:
    """Bounding boxes of the connected components, top left first.

    >>> mask = np.zeros((10, 10), bool)
    >>> mask[2:5, 3:7] = True
    >>> boxes_from_mask(mask)[0].xyxy
    (3, 2, 7, 5)
    """
    options = options or BoxOptions()
    structure = ndimage.generate_binary_structure(2, 1 if options.connectivity == 4 else 2)
    labels, count = ndimage.label(mask, structure)
    if not count:
        return ()
    areas = np.bincount(labels.ravel())[1:].tolist()
    parts = [
        ((s[1].start, s[0].start, s[1].stop, s[0].stop), area)
        for s, area in zip(ndimage.find_objects(labels), areas, strict=True)
    ]
    if options.merge_distance:
        parts = _merge(parts, options.merge_distance)
    kept = [corners for corners, area in parts if area >= options.min_area]
    if not kept:
        kept = [max(parts, key=lambda part: part[1])[0]]
    return tuple(Box(*corners, label) for corners in sorted(kept, key=lambda c: (c[1], c[0])))


Part = tuple[tuple[int, int, int, int], int]  # corners, area in pixels


def _merge(parts: Sequence[Part], distance: int) -> list[Part]:
    """Join parts that are near each other until none are."""
    done: list[Part] = []
    waiting = list(parts)
    while waiting:
        corners, area = waiting.pop()
        near = next((p for p in done if _gap(p[0], corners) <= distance), None)
        if near is None:
            done.append((corners, area))
            continue
        done.remove(near)
        (a, b) = (near[0], corners)
        hull = (min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3]))
        waiting.append((hull, area + near[1]))
    return done


def _gap(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> int:
    """Free pixels between two boxes along the axis with the wider gap; 0 if they touch."""
    return max(b[0] - a[2], a[0] - b[2], b[1] - a[3], a[1] - b[3], 0)


def decoded(
    opened: Image.Image, source: Path | bytes, to_rgb: bool = True
) -> tuple[Image.Image, int, str | None]:
    """The first frame of an opened image upright, its EXIF orientation, the rule of its levels.

    Args:
        opened: as PIL opens it, not loaded yet where it comes from a file.
        source: what it was opened from: 16-bit colours are read from there.
        to_rgb: give RGB of 8 bits a channel; False keeps the mode.

    Raises:
        InputError: levels that are no numbers. A damaged file raises whatever PIL does.
    """
    rule = None
    deep = to_rgb and is_deep(opened)
    orientation, left = load_unturned(opened)
    if deep:
        image, rule = read_deep(opened, source)
        image = image.convert("RGB")
    else:
        image = opened.convert("RGB") if to_rgb else opened.copy()
    return turn_image(image, EXIF_TURNS.get(left, UNTURNED)), orientation, rule


def _load(path: Path, to_rgb: bool) -> tuple[Image.Image, int, str | None, str | None]:
    """The upright image, its EXIF orientation, the rule of its levels, and the file's format."""
    try:
        with opened_image(path) as opened:
            form = opened.format
            return (*decoded(opened, path, to_rgb), form)
    except InputError:
        raise
    except Exception as error:  # PIL's decoders raise whatever a damaged file drives them to
        raise _unreadable(path, error) from None


def missing_image(name: str, where: object) -> InputError:
    """The error of an image that an annotation names and nobody brought."""
    return InputError(
        f"expected the image {name!r} that {where} names, found no such file; bring it"
    )


def _unreadable(path: Path, error: Exception) -> InputError:
    if not path.exists():
        return InputError(f"expected an image at {path}, found no such file; check the path")
    return not_an_image(str(path), error)


def not_an_image(name: str, error: Exception) -> InputError:
    """The refusal of an image that does not decode; with what the decoder said, if it says more."""
    said = one_line(error)[:100]
    reason = f" ({said})" if said and name not in said and "0x" not in said else ""
    return InputError(
        f"expected an image at {name}, found a file that does not decode{reason}; replace it"
    )
