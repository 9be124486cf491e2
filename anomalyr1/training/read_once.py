"""Pictures of training rows, each read from disk once a rollout, or once for the rows of an image.

GRPO asks for each row as many times as it samples completions, for all rows of a rollout again at
each of its micro-batches, and questions share references.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any, TypeAlias

from datasets import Dataset, Image, List
from torch.utils import data

_Source: TypeAlias = tuple[str | None, bytes | None]


class ReadOnce(data.Dataset[dict[str, Any]]):
    """The rows of a data set; those of one batch share the pictures that they show.

    Args:
        rows: as TRL takes them, with a list of pictures in `images`, decoded on access.
    """

    def __init__(self, rows: Dataset) -> None:
        self._kind: Image = rows.features["images"].feature
        self._rows = deepcopy(rows)  # the same table; a cast would write another
        self._rows.info.features["images"] = List(replace(self._kind, decode=False))
        # Of the batch asked for last, by what tells them apart.
        self._pictures: dict[_Source, Any] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """A batch of rows, as a data loader asks for it."""
        records: list[dict[str, Any]] = self._rows.__getitems__(list(indices))
        files = {_source(file): file for record in records for file in record["images"]}
        known = self._pictures
        self._pictures = {
            source: known[source] if source in known else self._kind.decode_example(file)
            for source, file in files.items()
        }
        for record in records:
            record["images"] = [self._pictures[_source(file)] for file in record["images"]]
        return records


def _source(file: Mapping[str, Any]) -> _Source:
    """Its path and, where the table itself holds it, its bytes; the path may then be none."""
    return file["path"], file["bytes"]
