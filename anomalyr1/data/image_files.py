"""Files opened as images: what may be one, which formats are read, and how an image is turned."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

from PIL import Image

from anomalyr1.errors import InputError
from anomalyr1.geometry import EXIF_TURNS
from anomalyr1.text_files import special_file

# Those of cameras and annotation tools. Pillow reads more, EPS for one, for which it starts another
# program on what may come from anybody.
_FORMATS = (
    "PNG", "JPEG", "TIFF", "BMP", "DIB", "WEBP", "GIF", "PPM", "JPEG2000", "AVIF", "TGA", "ICO",
    "PCX", "SGI",
)  # fmt: skip
_EXIF_ORIENTATION = 0x0112
_PNG_TEXTS = (b"eXIf", b"iTXt", b"tEXt", b"zTXt")  # chunks that can hold an orientation


@contextmanager
def opened_image(source: Path | IO[bytes]) -> Iterator[Image.Image]:
    """What Pillow opens a file as, not decoded yet; of a format that is read here.

    Raises:
        InputError: a path to a pipe or a device, which could make a reader wait for ever.
        Exception: whatever Pillow raises of a file that is no image, or damaged.
    """
    special = special_file(source) if isinstance(source, Path) else None
    if special:
        raise InputError(
            f"expected an image at {source}, found {special}; copy what it gives to a file"
        )
    with quietly(), Image.open(source, formats=_formats()) as image:
        yield image


def orientation_of(image: Image.Image) -> int:
    """The EXIF orientation that an open image is still to be turned by; 1 for none.

    That of a PNG whose header does not say is found when it has been decoded.
    """
    # Pillow would decode a PNG for it.
    of_header = Image.Image.getexif if image.format == "PNG" else type(image).getexif
    value: Any = of_header(image).get(_EXIF_ORIENTATION, 1)
    return value if isinstance(value, int) and value in EXIF_TURNS else 1


def load_unturned(image: Image.Image) -> tuple[int, int]:
    """Decode an open image.

    Returns:
        Its orientation, and that which it is still to be turned by: Pillow turns TIFF by itself.
    """
    before = orientation_of(image) if image.format == "TIFF" else 1
    image.load()
    left = orientation_of(image)
    return (before if left == 1 else left), left


def upright_size(image: Image.Image, source: Path) -> tuple[int, int]:
    """(width, height) of an open image once it is upright; only a rare PNG is decoded for it."""
    if image.format == "PNG" and _texts_behind_pixels(source):
        image.load()
    width, height = image.size
    sideways = image.format != "TIFF" and orientation_of(image) in (5, 6, 7, 8)
    return (height, width) if sideways else (width, height)


@contextmanager
def quietly() -> Iterator[None]:
    """Without PIL's remarks on damaged EXIF and large images: no user can mend them.

    Filters belong to the process, not to a thread: whoever starts threads does this around them.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@lru_cache(maxsize=1)
def _formats() -> tuple[str, ...]:
    """Those that the installed Pillow knows."""
    Image.init()
    return tuple(form for form in _FORMATS if form in Image.OPEN)


def _texts_behind_pixels(path: Path) -> bool:
    """Whether a PNG has text or EXIF behind its pixels, where Pillow finds it by decoding alone."""
    with path.open("rb") as file:
        file.seek(8)
        seen = False
        while len(head := file.read(8)) == 8:
            kind = head[4:]
            if seen and kind in _PNG_TEXTS:
                return True
            seen = seen or kind == b"IDAT"
            file.seek(int.from_bytes(head[:4], "big") + 4, os.SEEK_CUR)
    return False
