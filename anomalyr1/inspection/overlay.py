"""An image with its mask and boxes drawn on it."""

from __future__ import annotations

import io
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from anomalyr1.geometry import pixel_boxes
from anomalyr1.schema import Box
from anomalyr1.values import printable

_COLOUR = (230, 60, 40)
_INK = (255, 255, 255)


def draw_overlay(
    image: Image.Image,
    boxes: Sequence[Box],
    mask: NDArray[np.bool_] | None,
    opacity: float = 0.45,
) -> Image.Image:
    """The image in RGB, the mask tinted and outlined, the boxes with their labels.

    Args:
        image: RGB.
        boxes: in pixels of the image.
        mask: (height, width), or None.
        opacity: of the mask's tint, 0 to 1.
    """
    pixels = np.asarray(image.convert("RGB")).copy()
    line = max(1, round(max(image.size) / 300))
    if mask is not None and mask.any():
        tinted = (1 - opacity) * pixels[mask] + opacity * np.array(_COLOUR)
        pixels[mask] = tinted.astype(np.uint8)
        contours, _ = cv2.findContours(
            mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
        )
        cv2.drawContours(pixels, contours, -1, _COLOUR, line)
    drawn = Image.fromarray(pixels)
    draw = ImageDraw.Draw(drawn)
    font = ImageFont.load_default(max(10, round(max(image.size) / 40)))
    for box in boxes:
        for x1, y1, x2, y2 in pixel_boxes([box], *image.size):
            draw.rectangle((x1, y1, x2 - 1, y2 - 1), outline=_COLOUR, width=line)
            if box.label:
                _write(draw, printable(box.label)[:40], (x1, y1), font, drawn.width)
    return drawn


def png_bytes(image: Image.Image) -> bytes:
    """The image as the content of a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


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
