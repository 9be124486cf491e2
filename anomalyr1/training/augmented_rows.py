"""Training rows as they are shown this time: images in a look drawn for row and epoch.

A look follows from the seed, the row's number and the epoch alone, so all completions of a prompt
see one image, and a run that was cut off goes on as if it had not been.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import ProcessorMixin, TrainerCallback, TrainerControl, TrainerState
from transformers import TrainingArguments as Arguments

from anomalyr1.config import AugmentConfig, Config
from anomalyr1.data.images import boxes_from_mask, read_mask
from anomalyr1.data.looks import Look, draw_look
from anomalyr1.data.place_words import allows_crops, allows_turns, follow
from anomalyr1.data.seeding import digest
from anomalyr1.errors import listed
from anomalyr1.geometry import View
from anomalyr1.policy.family import Family
from anomalyr1.policy.resizing import model_frame
from anomalyr1.prompts import build_messages
from anomalyr1.rows import Row
from anomalyr1.schema import Box
from anomalyr1.training.dataset import record_of

Boxes = tuple[Box, ...]


@dataclass(frozen=True, slots=True)
class Freedom:
    """What may be done to a row.

    Attributes:
        turns: it may be mirrored, flipped and turned.
        crops: it may be cropped.
        boxes: where its defects are; None where that is not known.
    """

    turns: bool
    crops: bool
    boxes: Boxes | None


class AugmentedRows(torch.utils.data.Dataset[dict[str, Any]]):
    """Rows of a training set, each anew in every epoch.

    Args:
        rows: what `build_rows` gave.
        dataset: the same rows as TRL takes them, shown as they are.
        options: what may be done.
        seed: of the run.
        processor: of the policy.
        family: of the policy.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        dataset: Dataset,
        options: AugmentConfig,
        seed: int,
        processor: ProcessorMixin,
        family: Family,
    ) -> None:
        self.rows, self.dataset, self.options, self.seed = rows, dataset, options, seed
        self.processor, self.family = processor, family
        masks: dict[Path, Boxes] = {}
        self.freedom = [_freedom(row, masks) for row in rows]
        # Shared with the workers of a data loader, which outlive an epoch where they persist.
        epoch: Any = torch.zeros(1, dtype=torch.int64)
        self._epoch: torch.Tensor = epoch.share_memory_()
        self._last: tuple[tuple[int, int], dict[str, Any]] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """The row as this epoch shows it; columns as those of the data set.

        GRPO asks for each row as many times as it samples completions, one after the other.
        """
        asked = index, int(self._epoch)
        if self._last is None or self._last[0] != asked:
            self._last = asked, self._record(index)
        return dict(self._last[1])

    def _record(self, index: int) -> dict[str, Any]:
        record: dict[str, Any] = self.dataset[index]
        row, look = self.shown(index)
        fresh = record_of(row, with_completion="completion" in record)
        fresh["images"] = [look.show(image) for image in record["images"]]
        return {name: _as_kept(fresh[name], kept) for name, kept in record.items()}

    def shown(self, index: int) -> tuple[Row, Look]:
        """A row as this epoch shows it, and the look it is shown in."""
        row, freedom = self.rows[index], self.freedom[index]
        drawn = random.Random(digest(self.seed, "augment", index, int(self._epoch)))
        look = draw_look(
            self.options,
            drawn,
            row.size,
            freedom.boxes or (),
            turns=freedom.turns,
            crops=freedom.crops,
        )
        viewed = view_row(row, look.view, freedom.boxes, self.processor, self.family)
        if viewed is None:  # too few places are free of defects in so small a part
            look = replace(look, view=View(turn=look.view.turn))
            viewed = view_row(row, look.view, freedom.boxes, self.processor, self.family)
            assert viewed is not None, "options follow a turn"
        return viewed, look

    def begin(self, epoch: int) -> None:
        """Show the rows as this epoch does."""
        self._epoch.fill_(epoch)

    def counts(self) -> dict[str, int]:
        """How many rows there are, and how many are never turned or cropped, for the record."""
        return {
            "rows": len(self.rows),
            "never_turned": sum(not freedom.turns for freedom in self.freedom),
            "never_cropped": sum(not freedom.crops for freedom in self.freedom),
        }

    def told(self) -> list[str]:
        """Lines for the user about the rows that stay as they are."""
        options, lines = self.options, []
        turning = options.mirror or options.flip or options.turn
        for wanted, freely, why in (
            (turning, "turns", "turned: their text names a place"),
            (options.crop < 1, "crops", "cropped: their text or their defect needs all of it"),
        ):
            fixed = [
                row.sample_id
                for row, freedom in zip(self.rows, self.freedom, strict=True)
                if not getattr(freedom, freely)
            ]
            if wanted and fixed:
                count = f"{len(fixed)} of {len(self.rows)} rows"
                lines.append(f"augmentation: {count} are never {why}: {listed(fixed, 3)}")
        return lines


class EpochBegins(TrainerCallback):  # type: ignore[misc]
    """Tells augmented rows which epoch it is, before a data loader asks for them."""

    def __init__(self, rows: AugmentedRows) -> None:
        self.rows = rows

    def on_epoch_begin(
        self, args: Arguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Epochs are counted from 0; a resumed run begins within one."""
        self.rows.begin(int(state.epoch or 0))


def augmented_rows(
    config: Config,
    rows: Sequence[Row],
    dataset: Dataset,
    processor: ProcessorMixin,
    family: Family,
) -> AugmentedRows | None:
    """The rows as `data.augment` shows them; None where it changes nothing.

    Raises:
        InputError: the mask of a defect cannot be read.
    """
    options = config.data.augment
    if options is None or not options.changes:
        return None
    return AugmentedRows(rows, dataset, options, config.seed, processor, family)


def view_row(
    row: Row, view: View, boxes: Boxes | None, processor: ProcessorMixin, family: Family
) -> Row | None:
    """The row whose image is a view of its own; None where its question cannot follow.

    Args:
        row: as the benchmark has it.
        view: what is shown of its image.
        boxes: where its defects are; None where that is not known.
        processor: of the policy.
        family: of the policy.
    """
    question = follow(row.question, boxes, view, row.size)
    if question is None:
        return None
    sample, size = row.sample, view.turn.size(row.size)
    if sample.boxes is not None:
        sample = replace(sample, boxes=view.boxes(sample.boxes, row.size))
    messages = build_messages(
        sample,
        question,
        row.template,
        references=len(row.references),
        knowledge=row.knowledge,
        unit=family.unit or "pixels",
    )
    return replace(
        row,
        sample=sample,
        question=question,
        messages=messages,
        size=size,
        frame=model_frame(*size, processor, family),
    )


def _freedom(row: Row, masks: dict[Path, Boxes]) -> Freedom:
    sample, boxes = row.sample, _known_boxes(row, masks)
    labels = [box.label or sample.defect for box in boxes or ()]
    texts = [*labels, row.knowledge or ""]
    return Freedom(
        allows_turns(row.question, texts),
        allows_crops(row.question, boxes, row.size, texts),
        boxes,
    )


def _known_boxes(row: Row, masks: dict[Path, Boxes]) -> Boxes | None:
    """The gold boxes, else those of the mask; None where nobody says where the defect is."""
    sample, gold = row.sample, row.sample.gold_boxes(row.question)
    if gold is not None or sample.is_normal:
        return gold or ()
    if sample.mask is None:
        return None
    if sample.path not in masks:
        masks[sample.path] = boxes_from_mask(read_mask(sample.root / sample.mask, row.size))
    return masks[sample.path]


def _as_kept(value: Any, kept: Any) -> Any:
    """A column as a `datasets.Dataset` keeps it: objects of a kind have the same keys."""
    if isinstance(value, Mapping):
        return {**dict.fromkeys(kept), **value}
    if isinstance(value, list) and value and isinstance(value[0], Mapping):
        return [
            {key: _as_kept(inner, old[key]) for key, inner in {**dict.fromkeys(old), **one}.items()}
            for one, old in zip(value, kept, strict=True)
        ]
    return value
