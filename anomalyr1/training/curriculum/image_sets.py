"""Images of one side length held in memory as bytes, and the patches a vision tower reads of them.

A curriculum looks at every image many times: files are read once, and resizing, turning and
cutting into patches happen where the model is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from anomalyr1.data.images import open_image
from anomalyr1.data.many_cores import over_files
from anomalyr1.data.mmad import load_benchmark
from anomalyr1.errors import InputError
from anomalyr1.schema import Sample


@dataclass(frozen=True)
class Pictures:
    """Samples and the images they name.

    Attributes:
        samples: with gold boxes on record.
        pixels: (images, side, side, 3), bytes.
        queries: for each sample the number of its image.
        references: for each sample the numbers of its normal reference images.
        similar: for each sample those of the same view without the defect; may be empty.
    """

    samples: tuple[Sample, ...]
    pixels: Tensor
    queries: tuple[int, ...]
    references: tuple[tuple[int, ...], ...]
    similar: tuple[tuple[int, ...], ...]

    @property
    def side(self) -> int:
        """Side of the images in pixels, as they were drawn."""
        return int(self.pixels.size(1))


def read_pictures(benchmarks: Sequence[Path]) -> Pictures:
    """Every image of some benchmarks, each once.

    Raises:
        InputError: an image cannot be read.
    """
    numbers: dict[Path, int] = {}

    def number(path: Path) -> int:
        return numbers.setdefault(path, len(numbers))

    samples = [sample for path in benchmarks for sample in load_benchmark(path).samples]
    queries = tuple(number(Path(sample.path)) for sample in samples)
    references = tuple(tuple(number(s.root / key) for key in s.random_templates) for s in samples)
    similar = tuple(tuple(number(s.root / key) for key in s.similar_templates) for s in samples)
    read = []
    for _, image in over_files(_bytes_of, list(numbers)):
        if isinstance(image, InputError):
            raise image
        read.append(image)
    return Pictures(tuple(samples), torch.stack(read), queries, references, similar)


def _bytes_of(path: Path) -> Tensor:
    return torch.from_numpy(np.array(open_image(path)))


def patches(pixels: Tensor, processor: Any, side: int | None = None) -> tuple[Tensor, Tensor]:
    """What the processor makes of square images, computed where the images are.

    Args:
        pixels: (images, height, width, 3), bytes.
        processor: says how values are scaled and how an image is cut.
        side: side in pixels to resize to; None for that of the images.

    Returns:
        `pixel_values` (images * patches, values of a patch) and, on the CPU, `image_grid_thw`
        (images, 3).
    """
    images = processor.image_processor
    seen = pixels.permute(0, 3, 1, 2).float()
    if side is not None and side != seen.size(-1):
        seen = torch.nn.functional.interpolate(
            seen, size=(side, side), mode="bicubic", antialias=True
        )
        seen = seen.round().clamp(0, 255)
    mean, spread = (
        seen.new_tensor(v)[:, None, None] for v in (images.image_mean, images.image_std)
    )
    seen = (seen * images.rescale_factor - mean) / spread
    size, merge, frames = images.patch_size, images.merge_size, images.temporal_patch_size
    count, (rows, columns) = len(seen), (seen.size(2) // size, seen.size(3) // size)
    cut = seen.view(count, 3, rows // merge, merge, size, columns // merge, merge, size)
    cut = cut.permute(0, 2, 5, 3, 6, 1, 4, 7).unsqueeze(6)  # an image is `frames` equal frames
    cut = cut.expand(*cut.shape[:6], frames, *cut.shape[7:])
    grid = torch.tensor([[1, rows, columns]]).repeat(count, 1)
    return cut.reshape(count * rows * columns, -1), grid
