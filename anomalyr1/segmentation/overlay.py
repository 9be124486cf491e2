"""An image with its mask and boxes drawn on it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from anomalyr1.geometry import pixel_boxes
from anomalyr1.schema import Box
from anomalyr1.segmentation.segmenter import Mask
from anomalyr1.values import printable

_COLOUR = (230, 60, 40)
_GOLD = (0, 150, 120)
_INK = (255, 255, 255)
_MADE_FROM = "made-from"


def draw_overlay(
    image: Image.Image,
    boxes: Sequence[Box],
    mask: Mask | None,
    opacity: float = 0.45,
    gold: Mask | None = None,
) -> Image.Image:
    """The image in RGB, the mask tinted and outlined, the boxes with their labels.

    Args:
        image: RGB.
        boxes: in pixels of the image.
        mask: (height, width), or None.
        opacity: of the mask's tint, 0 to 1.
        gold: what the mask should be, (height, width), outlined in another colour.
    """
    pixels = np.asarray(image.convert("RGB")).copy()
    line = max(1, round(max(image.size) / 300))
    if mask is not None and mask.any():
        tinted = (1 - opacity) * pixels[mask] + opacity * np.array(_COLOUR)
        pixels[mask] = tinted.astype(np.uint8)
        _outline(pixels, mask, _COLOUR, line)
    if gold is not None:
        _outline(pixels, gold, _GOLD, line)
    drawn = Image.fromarray(pixels)
    draw = ImageDraw.Draw(drawn)
    font = ImageFont.load_default(max(10, round(max(image.size) / 40)))
    for box in boxes:
        for x1, y1, x2, y2 in pixel_boxes([box], *image.size):
            draw.rectangle((x1, y1, x2 - 1, y2 - 1), outline=_COLOUR, width=line)
            if box.label:
                _write(draw, printable(box.label)[:40], (x1, y1), font, drawn.width)
    return drawn


def png_bytes(image: Image.Image, made_from: str | None = None) -> bytes:
    """The image as the content of a PNG file, in which `made_from` is kept as a text."""
    buffer, info = io.BytesIO(), PngInfo()
    if made_from is not None:
        info.add_text(_MADE_FROM, made_from)
    image.save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def is_made_from(file: Path, made_from: str) -> bool:
    """Whether a file is a picture that `png_bytes` made from this; reads the header only."""
    try:
        with Image.open(file) as image:
            return bool(image.info.get(_MADE_FROM) == made_from)
    except Exception:  # missing, or damaged: PIL's decoders raise whatever they come to
        return False


def _outline(
    pixels: NDArray[np.uint8], mask: Mask, colour: tuple[int, int, int], line: int
) -> None:
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(pixels, contours, -1, colour, line)


def _write(
    draw: ImageDraw.ImageDraw,
    text: str,
    corner: tuple[int, int],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    width: int,
) -> None:
    """A label above the corner of its box, within the image: inside the box for want of room."""
    left, upper, right, lower = draw.textbbox((0, 0), text, font=font)
    x = max(0, min(corner[0], width - round(right - left) - 4))
    height = round(lower - upper) + 4
    y = corner[1] - height if corner[1] >= height else corner[1]
    draw.rectangle((x, y, x + right - left + 4, y + height), fill=_COLOUR)
    draw.text((x + 2 - left, y + 2 - upper), text, fill=_INK, font=font)
