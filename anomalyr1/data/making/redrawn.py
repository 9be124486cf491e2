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
from anomalyr1.data.images import open_image
from anomalyr1.data.making.placing import refuse_collisions
from anomalyr1.data.making.sources.item import Item, Source
from anomalyr1.data.making.synthetic.scene import Canvas
from anomalyr1.data.many_cores import over_files
from anomalyr1.errors import InputError

Draw = Callable[[Canvas, Path], Canvas]
"""From an image, RGB in 0 to 1, and its file to what is shown in its place, of the same size."""


@contextmanager
def redrawn(source: Source, draw: Draw, out: Path) -> Iterator[Source]:
    """The source with redrawn copies of its images and references, masks and boxes as they are.

    Their files last as long as the block.

    Args:
        source: what a reader found.
        draw: how; changes nothing that two threads share. What it raises as InputError is listed
            with all other faults.
        out: the folder that the benchmark is for, already there: the copies lie hidden in it.

    Raises:
        InputError: images cannot be read or drawn, or two would have one name.
    """
    with tempfile.TemporaryDirectory(dir=out.absolute(), prefix=".redrawn-") as folder:
        files = {file for item in source.items for file in (item.file, *item.references)}
        copies = {file: Path(folder) / f"{n}.png" for n, file in enumerate(sorted(files))}
        faults = []
        for file, result in over_files(partial(_drawn, draw), list(copies)):
            if isinstance(result, InputError):
                faults.append(str(result))
            else:
                result.save(copies[file], compress_level=1)
        if faults:
            raise refusal("{} image{s} cannot be used; mend them:", faults)
        items = tuple(_of_copies(item, copies) for item in source.items)
        refuse_collisions(items)
        yield replace(source, items=items)


def canvas(file: Path) -> Canvas:
    """An image, RGB in 0 to 1.

    Raises:
        InputError: it cannot be read.
    """
    return np.asarray(np.asarray(open_image(file), np.float32) / np.float32(255), np.float32)


def _drawn(draw: Draw, file: Path) -> Image.Image:
    pixels = draw(canvas(file), file)
    return Image.fromarray((np.clip(pixels, 0, 1) * 255 + 0.5).astype(np.uint8))


def _of_copies(item: Item, copies: Mapping[Path, Path]) -> Item:
    return replace(
        item,
        file=copies[item.file],
        name=f"{Path(item.name).stem}.png",
        references=tuple(copies[file] for file in item.references),
    )
