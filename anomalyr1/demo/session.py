"""The history of a session: what each inspection found, drawn again and exported.

An entry holds no pixels but a thumbnail's. Its image stays in the file that was uploaded, and is
opened when it is drawn, so that a session takes little memory.
"""

from __future__ import annotations

import re
import shutil
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from anomalyr1.data.annotation_files import Proposal, write_annotations
from anomalyr1.data.rle import decode_mask
from anomalyr1.demo.upload_limits import Limits, open_upload, shown_name
from anomalyr1.errors import InputError, unknown
from anomalyr1.geometry import Frame
from anomalyr1.inspection.result import Inspection, weighed_probability
from anomalyr1.schema import Box
from anomalyr1.segmentation.overlay import draw_overlay
from anomalyr1.storage import write_json

Form = Literal["json", "coco", "label-studio"]
FORMS: tuple[Form, ...] = get_args(Form)
OPACITY = 0.45
_SIDES = 720, 1600  # of a picture on the page: its longer side is brought between them
_THUMBNAIL = 160


@dataclass(frozen=True)
class Entry:
    """One inspection of a session.

    Attributes:
        file: that was uploaded.
        references: that were shown before it.
        row: what `Inspection.as_dict` gives.
        boxes: in pixels of the image; none where none can be read.
        thumbnail: with mask and boxes, small.
    """

    file: Path
    references: tuple[Path, ...]
    row: dict[str, Any]
    boxes: tuple[Box, ...]
    thumbnail: Image.Image

    @property
    def caption(self) -> str:
        """One line of the history."""
        probability, name = weighed_probability(self.row), shown_name(self.file)
        return f"{name}: {self.row['verdict'] or 'no verdict'}" + (
            "" if probability is None else f" ({probability:.2f})"
        )

    def picture(self, limits: Limits, opacity: float) -> Image.Image:
        """Its image with mask and boxes, in a size that a page shows well.

        Raises:
            InputError: the file is gone.
        """
        rle = self.row["mask"]
        mask = None if rle is None else decode_mask(rle)
        return drawn(open_upload(self.file, limits), self.boxes, mask, opacity)


def entry_of(file: Path, references: Sequence[Path], found: Inspection) -> Entry:
    """An inspection as the session keeps it."""
    boxes = found.boxes or ()
    small = drawn(found.image, boxes, found.mask, OPACITY)
    small.thumbnail((_THUMBNAIL, _THUMBNAIL))
    return Entry(file, tuple(references), found.as_dict(), boxes, small)


def drawn(
    image: Image.Image,
    boxes: Sequence[Box] = (),
    mask: NDArray[np.bool_] | None = None,
    opacity: float = OPACITY,
) -> Image.Image:
    """An image of a size for the page, lines and labels as sharp on a small one as on a large.

    Args:
        image: RGB.
        boxes: in its pixels.
        mask: (height, width), or None.
        opacity: of the mask's tint, 0 to 1.
    """
    size = _page_size(image.size)
    frame = Frame(*image.size, *size)
    if mask is not None:
        mask = np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
    scaled = image if size == image.size else image.resize(size, Image.Resampling.BICUBIC)
    return draw_overlay(scaled, [frame.to_model(box) for box in boxes], mask, opacity)


def with_entry(entries: Sequence[Entry], entry: Entry, limits: Limits) -> list[Entry]:
    """The history with one more, the newest first."""
    return [entry, *entries][: limits.kept]


def export(entries: Sequence[Entry], form: str, folder: Path) -> Path:
    """One file of all that the session found.

    Args:
        entries: of the history.
        form: `json` gives a list of what `Inspection.as_dict` gives, masks included; `coco` and
            `label-studio` an archive of images and boxes for an annotation tool, as `data export`
            writes them, which comes back with `data build coco` and `data build label-studio`.
        folder: to write to; empty or new.

    Raises:
        InputError: there is nothing to export, or the form is none.
    """
    if form not in FORMS:
        raise unknown("a form", form, FORMS)
    if not entries:
        raise InputError("expected inspections to export, found none; inspect an image first")
    oldest_first = list(reversed(entries))
    if form == "json":
        file = folder / "inspections.json"
        write_json(file, [entry.row for entry in oldest_first])
        return file
    proposals = [
        Proposal(_key(number, entry.file), entry.file, entry.boxes, weighed_probability(entry.row))
        for number, entry in enumerate(oldest_first, start=1)
    ]
    tree, archive = folder / form, folder / f"{form}.zip"
    write_annotations(proposals, tree, form, "anomalyr1 demo")
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for path in sorted(tree.rglob("*")):
            packed.write(path, path.relative_to(tree))
    shutil.rmtree(tree)
    return archive


def _page_size(size: tuple[int, int]) -> tuple[int, int]:
    least, most = _SIDES
    longest = max(size)
    scale = min(max(1.0, least / longest), most / longest)
    width, height = (max(1, round(side * scale)) for side in size)
    return width, height


def _key(number: int, file: Path) -> str:
    """A name that any file system and tool takes, and that no other image of the export has."""
    plain = re.sub(r"[^\w.-]+", "_", shown_name(file)).lstrip(".-")
    return f"{number:03d}-{plain}"
