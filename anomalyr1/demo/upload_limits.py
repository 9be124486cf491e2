"""How much the page takes from whoever opens it, and a file that keeps to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from anomalyr1.data.image_sources import read_image
from anomalyr1.data.images import image_size
from anomalyr1.errors import InputError
from anomalyr1.text_files import read_bytes
from anomalyr1.values import printable


@dataclass(frozen=True)
class Limits:
    """What the page takes.

    Attributes:
        megabytes: of a file that is uploaded.
        pixels: of an image.
        references: images shown before it.
        letters: of a text that is typed.
        waiting: inspections that wait for their turn; one more is turned away.
        kept: inspections in the history of a session; the oldest goes first.
        seconds: that a session's history and its files are kept after its last use.
    """

    megabytes: int = 20
    pixels: int = 20_000_000
    references: int = 4
    letters: int = 2_000
    waiting: int = 16
    kept: int = 20
    seconds: int = 24 * 3600


def shown_name(path: Path) -> str:
    """What a file is called on the page and in what it exports: one line, no folder."""
    return printable(path.name)[:100] or "image"


def open_upload(path: Path, limits: Limits) -> Image.Image:
    """An image that was uploaded, as `read_image` reads its bytes.

    Bytes and pixels are looked at before it is decoded.

    Raises:
        InputError: it is larger than the limits, or none that can be read. The file is called by
            its name alone: where a server keeps it is nobody's business.
    """
    name = shown_name(path)
    try:
        megabytes = path.stat().st_size / 1e6
    except OSError:
        raise InputError(f"expected the file {name}, found it gone; send it again") from None
    if megabytes > limits.megabytes:
        raise InputError(
            f"expected a file of at most {limits.megabytes} MB, found {name} of "
            f"{megabytes:.1f} MB; send a smaller one"
        )
    try:
        width, height = image_size(path)
    except InputError:  # its words hold the path
        raise InputError(
            f"expected an image, found {name}, which does not decode; send another"
        ) from None
    if width * height > limits.pixels:
        raise InputError(
            f"expected an image of at most {limits.pixels:,} pixels, found {name} of {width} x "
            f"{height}; scale it down"
        )
    try:
        return read_image(read_bytes(path, "an image"))
    except InputError as error:
        raise InputError(str(error).replace("the bytes given", name)) from None


def check_texts(texts: Sequence[str], limits: Limits) -> None:
    """Stop at a text that is too long.

    Raises:
        InputError: one is.
    """
    longest = max((len(text) for text in texts), default=0)
    if longest > limits.letters:
        raise InputError(
            f"expected texts of at most {limits.letters:,} letters, found {longest:,}; shorten it"
        )
