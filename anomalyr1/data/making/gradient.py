"""Real images coloured by position, as procedural ones are.

A vision tower with relative positions only cannot tell where in the image it looks. The language
side of a large policy makes up for it; the tiny one was taught on images whose colour says it, and
reads it there in real ones too.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from anomalyr1.data.fault_lists import refusal
from anomalyr1.data.images import open_image
from anomalyr1.data.making.placing import refuse_collisions
from anomalyr1.data.making.sources.item import Item, Source
from anomalyr1.data.making.synthetic.lighting import coloured_by_position
from anomalyr1.data.many_cores import over_files
from anomalyr1.errors import InputError


@contextmanager
def coloured(source: Source, wanted: bool, out: Path) -> Iterator[Source]:
    """The source with coloured copies of its images; as it is where that is not wanted.

    Their files last as long as the block.

    Args:
        source: what a reader found.
        wanted: whether to.
        out: the folder that the benchmark is for, already there: the copies lie hidden in it.

    Raises:
        InputError: images cannot be read, or two would have one name.
    """
    if not wanted:
        yield source
        return
    with tempfile.TemporaryDirectory(dir=out.absolute(), prefix=".coloured-") as folder:
        files = {file for item in source.items for file in (item.file, *item.references)}
        copies = {file: Path(folder) / f"{n}.png" for n, file in enumerate(sorted(files))}
        faults = []
        for file, result in over_files(_coloured, list(copies)):
            if isinstance(result, InputError):
                faults.append(str(result))
            else:
                result.save(copies[file], compress_level=1)
        if faults:
            raise refusal("{} image{s} cannot be read; mend them:", faults)
        items = tuple(_of_copies(item, copies) for item in source.items)
        refuse_collisions(items)
        yield replace(source, items=items)


def _of_copies(item: Item, copies: dict[Path, Path]) -> Item:
    return replace(
        item,
        file=copies[item.file],
        name=f"{Path(item.name).stem}.png",
        references=tuple(copies[file] for file in item.references),
    )


def _coloured(file: Path) -> Image.Image:
    plain = np.asarray(open_image(file), np.float32) / np.float32(255)
    pixels = coloured_by_position(np.asarray(plain, np.float32))
    return Image.fromarray((np.clip(pixels, 0, 1) * 255 + 0.5).astype(np.uint8))
