"""The questions of an image in one micro-batch: rows that come by images.

The data set is one of images, each with the rows about it, so that all that stock trainers do with
rows (shuffling from the seed, dealing them out to processes, going on in the middle of an epoch)
they do with images. Where rows are collated the images come apart into their rows again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from datasets import Dataset
from torch.utils import data

from anomalyr1.config import Config
from anomalyr1.errors import InputError
from anomalyr1.rows import Row
from anomalyr1.shared_prefix.images_once import prepared_once
from anomalyr1.training.read_once import ReadOnce

# What supervised fine-tuning reads of a row.
_COLUMNS = ["prompt", "completion", "images"]


def by_image(rows: Sequence[Row]) -> list[list[int]]:
    """The numbers of the rows about each image; an image that comes again is another one.

    Args:
        rows: as `build_rows` gave them: those of a sample one after the other.
    """
    groups: list[list[int]] = []
    for number, row in enumerate(rows):
        before = rows[number - 1] if number else None
        if before is None or row.sample is not before.sample or row.index <= before.index:
            groups.append([])
        groups[-1].append(number)
    return groups


class ImageGroups(data.Dataset[list[dict[str, Any]]]):
    """Images, each with the rows about it; what they show is decoded once an image.

    Rows show pictures of their own: a question may state how many references it is shown with.

    Args:
        rows: as TRL takes them, one a question.
        groups: for each image the numbers of its rows.
    """

    def __init__(self, rows: Dataset, groups: Sequence[Sequence[int]]) -> None:
        self.groups = groups
        self._rows = ReadOnce(rows.select_columns(_COLUMNS))

    def __len__(self) -> int:
        return len(self.groups)

    def __getitem__(self, index: int) -> list[dict[str, Any]]:
        return self._rows.__getitems__(self.groups[index])


class Ungrouped:
    """A collator of rows that takes images with their rows too.

    Args:
        collate: the stock collator, with its `processor`.
    """

    def __init__(self, collate: Any) -> None:
        self.collate: Callable[[list[dict[str, Any]]], Any] = collate
        self.image_processor = collate.processor.image_processor

    def __call__(self, items: Sequence[Any]) -> Any:
        """A batch of all rows; equal pictures are prepared once."""
        rows = [row for item in items for row in (item if isinstance(item, list) else [item])]
        with prepared_once(self.image_processor):
            return self.collate(rows)


def questions_an_image(
    images: int | None, rows: int, generations: int, found: int | None = None, processes: int = 1
) -> int | None:
    """How many questions of an image a rollout asks, where it shows so many images a process.

    Args:
        images: `data.images_per_rollout`; None leaves it to the images.
        rows: completions of a rollout of one process.
        generations: completions of a question.
        found: images in the data; None where that is not known yet.
        processes: that train together.

    Raises:
        InputError: the images have not equally many whole groups each, or are too few.

    >>> questions_an_image(4, rows=128, generations=8)
    4
    """
    if images is None:
        return None
    if rows % (images * generations):
        raise InputError(
            "expected grpo.per_device_train_batch_size x grpo.steps_per_generation to be a "
            f"multiple of grpo.num_generations x data.images_per_rollout = {generations} x "
            f"{images}, found {rows}; change one of them"
        )
    if found is not None and found < images * processes:
        raise InputError(
            f"expected images for a rollout of data.images_per_rollout={images} on {processes} "
            f"process{'es' if processes > 1 else ''}, found {found}; lower it"
        )
    return rows // (images * generations)


def refuse_groups(config: Config) -> None:
    """Say so where the rows of `sft` cannot come by images.

    Raises:
        InputError: `data.group_by_image` is on beside what orders single rows.
    """
    if not config.data.group_by_image:
        return
    strategy = config.sft.get("train_sampling_strategy", "random")
    if strategy not in ("random", "sequential"):
        raise InputError(
            "expected sft.train_sampling_strategy=random or sequential beside "
            f"data.group_by_image=true, found {strategy}, which orders single rows; leave one of "
            "them out"
        )
