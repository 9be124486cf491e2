"""Masks to look at: a PNG and an overlay an image, a contact sheet a category."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from anomalyr1.data.images import open_image
from anomalyr1.data.limited import evenly
from anomalyr1.data.rle import decode_mask
from anomalyr1.evaluation.image_readings import ImageReading
from anomalyr1.evaluation.masks import Progress
from anomalyr1.metrics.pixel import count_pixels
from anomalyr1.run_folder import MASK_PICTURES, MASK_SHEETS, OVERLAYS
from anomalyr1.schema import category_of, dataset_of
from anomalyr1.segmentation.overlay import draw_overlay, is_made_from, png_bytes
from anomalyr1.storage import write_bytes
from anomalyr1.values import file_stem, printable

Rows = Mapping[str, Mapping[str, Any]]  # image -> its line of masks/<segmenter>.jsonl

_TILE, _CAPTION, _GAP = 220, 30, 8  # pixels
_COLUMNS = 6
_PAPER, _INK = (255, 255, 255), (30, 30, 30)


def picture_name(image: str) -> str:
    """The name of the mask and of the overlay of an image.

    >>> picture_name("Drawn/part/test/dent/1.png")
    'Drawn_part_test_dent_1-50eef15c97.png'
    """
    return f"{file_stem(image.rsplit('.', 1)[0], image)}.png"


def draw_masks(
    images: Sequence[ImageReading], rows: Rows, root: Path, folder: Path, progress: Progress = iter
) -> None:
    """Write `png/` and `overlays/`, a picture an image under the name that `picture_name` gives.

    A mask is 255 where something was found and 0 elsewhere, as large as the image. On the overlay
    it is tinted, with the boxes; the gold mask, where there is one, is outlined in green. A picture
    that was made from the same line already is left as it is.

    Args:
        images: that have a line.
        rows: their lines.
        root: the data root that their keys are relative to.
        folder: of the segmenter.
        progress: wraps the loop over the images.

    Raises:
        InputError: an image cannot be read, or the folder cannot be written.
    """
    for image in progress(images):
        row, name = rows[image.image], picture_name(image.image)
        labels = [box.label for box in image.boxes_in_image or ()]
        content = json.dumps([row["key"], row["masks"]["predicted"], row["target"], labels])
        source = hashlib.sha256(content.encode()).hexdigest()
        files = folder / OVERLAYS / name, folder / MASK_PICTURES / name
        if all(is_made_from(file, source) for file in files):
            continue
        mask = decode_mask(row["masks"]["predicted"])
        gold = decode_mask(row["target"]) if row["target_from"] == "mask" else None
        opened = open_image(root / image.image)
        overlay = draw_overlay(opened, image.boxes_in_image or (), mask, gold=gold)
        picture = Image.fromarray(mask.astype(np.uint8) * 255)
        for file, drawn in zip(files, (overlay, picture), strict=True):
            write_bytes(file, png_bytes(drawn, source))


def draw_sheets(images: Sequence[ImageReading], rows: Rows, folder: Path, most: int) -> list[Path]:
    """Write one contact sheet a category: its overlays, small, with how well each mask fits.

    Args:
        images: whose overlays are drawn.
        rows: their lines.
        folder: of the segmenter.
        most: images on a sheet; of more, so many are taken evenly. 0 writes no sheet.

    Returns:
        The files.
    """
    categories: dict[tuple[str, str], list[ImageReading]] = {}
    for image in images if most else ():
        key = dataset_of(image.image), category_of(image.image)
        categories.setdefault(key, []).append(image)
    files = []
    for key, members in categories.items():
        shown = evenly(members, most)
        title = f"{' / '.join(key)}: {len(shown)} of {len(members)} images"
        files.append(folder / MASK_SHEETS / f"{file_stem('_'.join(key), key)}.png")
        captions = [_caption(rows[image.image]) for image in shown]
        overlays = [folder / OVERLAYS / picture_name(image.image) for image in shown]
        names = [image.image.rsplit("/", 2)[-2:] for image in shown]
        cells = list(zip(overlays, ["/".join(name) for name in names], captions, strict=True))
        write_bytes(files[-1], png_bytes(_sheet(title, cells)))
    return files


def _caption(row: Mapping[str, Any]) -> str:
    if row["instances"] is None:
        return "unreadable boxes"
    if row["target"] is None:
        return "nothing to compare with"
    found = count_pixels(decode_mask(row["masks"]["predicted"]), decode_mask(row["target"]))
    if not found.is_normal:
        return f"IoU {found.iou:.2f}"
    return "normal" if found.is_empty else f"normal, {found.fp} pixels marked"


def _sheet(title: str, cells: Sequence[tuple[Path, str, str]]) -> Image.Image:
    """Pictures in rows, under each its name and its caption."""
    columns = min(_COLUMNS, len(cells))
    across, down = _TILE + _GAP, _TILE + _CAPTION + _GAP
    width = max(columns * across, 2 * across) + _GAP
    sheet = Image.new("RGB", (width, math.ceil(len(cells) / columns) * down + _CAPTION), _PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    draw.text((_GAP, _GAP), printable(title), fill=_INK, font=font)
    for number, (file, name, caption) in enumerate(cells):
        x, y = _GAP + number % columns * across, _CAPTION + number // columns * down
        small = ImageOps.contain(open_image(file), (_TILE, _TILE))
        sheet.paste(small, (x + (_TILE - small.width) // 2, y + (_TILE - small.height) // 2))
        draw.text((x, y + _TILE), printable(name)[-34:], fill=_INK, font=font)
        draw.text((x, y + _TILE + 14), caption, fill=_INK, font=font)
    return sheet
