"""Real images coloured by position, as procedural ones are.

A vision tower with relative positions only cannot tell where in the image it looks. The language
side of a large policy makes up for it; the tiny one was taught on images whose colour says it, and
reads it there in real ones too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from anomalyr1.data.making.redrawn import redrawn
from anomalyr1.data.making.sources.item import Source
from anomalyr1.data.making.synthetic.lighting import coloured_by_position
from anomalyr1.data.making.synthetic.scene import Canvas


@contextmanager
def coloured(source: Source, wanted: bool, out: Path) -> Iterator[Source]:
    """The source with coloured copies of its images; as it is where that is not wanted.

    Args:
        source: what a reader found.
        wanted: whether to.
        out: the folder that the benchmark is for, already there.

    Raises:
        InputError: images cannot be read, or two would have one name.
    """
    if not wanted:
        yield source
        return
    with redrawn(source, _coloured, out) as copies:
        yield copies


def _coloured(image: Canvas, file: Path) -> Canvas:
    del file
    return coloured_by_position(image)
