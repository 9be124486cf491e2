"""Copies of a source's images, drawn anew before the benchmark is built of them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from anomalyr1.data.fault_lists import refusal
from anomalyr1.data.images import LEVELS, ORIENTATION, open_image
from anomalyr1.data.making.examining import own_mask
from anomalyr1.data.making.frames import Framed, frame_remarks, to_image_frame
from anomalyr1.data.making.placing import refuse_collisions
from anomalyr1.data.making.sources.item import Item, Source
from anomalyr1.data.making.synthetic.scene import Canvas
from anomalyr1.data.many_cores import over_files
from anomalyr1.errors import InputError

Draw = Callable[[Canvas, Path], Canvas]
"""From an image, RGB in 0 to 1, and its file to what is shown in its place, of the same size."""


@contextmanager
def redrawn(source: Source, draw: Draw, out: Path) -> Iterator[Source]:
    """The source with redrawn copies of its images and references, upright, and masks as they are.

    Boxes and shapes are brought into the frame of the copies. All that `examine` refuses is refused
    here, of the originals: the copies' files last as long as the block.

    Args:
        source: what a reader found.
        draw: how; changes nothing that two threads share. What it raises as InputError is listed
            with all other faults.
        out: the folder that the benchmark is for, already there: the copies lie hidden in it.

    Raises:
        InputError: images or masks cannot be used, or two would have one name.
    """
    items = [replace(item, name=f"{Path(item.name).stem}.png") for item in source.items]
    refuse_collisions(items)
    own = {item.file: item for item in items}
    with tempfile.TemporaryDirectory(dir=out.absolute(), prefix=".redrawn-") as folder:
        files = {file for item in items for file in (item.file, *item.references)}
        copies = {file: Path(folder) / f"{n}.png" for n, file in enumerate(sorted(files))}
        framed, faults = dict[Path, Framed](), []
        work = partial(_drawn, draw, own, source.rescale)
        for file, result in over_files(work, list(copies)):
            if isinstance(result, InputError):
                faults.append(str(result))
                continue
            image, found = result
            image.save(copies[file], compress_level=1)
            if found is not None:
                framed[file] = found
        if faults:
            raise refusal("{} image{s} cannot be used; mend them:", faults)
        yield replace(
            source,
            items=tuple(_of_copies(framed[item.file].item, copies) for item in items),
            notes=(*source.notes, *frame_remarks(framed.values())),
            rescale=False,
        )


def canvas(file: Path) -> Canvas:
    """An image, RGB in 0 to 1.

    Raises:
        InputError: it cannot be read.
    """
    return _levels(open_image(file))


def _levels(image: Image.Image) -> Canvas:
    return np.asarray(np.asarray(image, np.float32) / np.float32(255), np.float32)


def _drawn(
    draw: Draw, own: Mapping[Path, Item], rescale: bool, file: Path
) -> tuple[Image.Image, Framed | None]:
    """The copy of a file, and its item in the copy's frame; None for a reference without one."""
    image, framed = open_image(file), None
    if file in own:
        item = replace(own[file], levels=own[file].levels or image.info.get(LEVELS))
        framed = to_image_frame(item, image.size, int(image.info[ORIENTATION]), rescale)
        own_mask(item, image.size)
    pixels = draw(_levels(image), file)
    return Image.fromarray((np.clip(pixels, 0, 1) * 255 + 0.5).astype(np.uint8)), framed


def _of_copies(item: Item, copies: Mapping[Path, Path]) -> Item:
    return replace(
        item,
        file=copies[item.file],
        references=tuple(copies[file] for file in item.references),
        declared=None,
    )
