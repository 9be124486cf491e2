"""What a backend is, and what all of them make of a completion."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from PIL import Image
from transformers import ProcessorMixin

from anomalyr1.data.images import open_image
from anomalyr1.errors import InputError
from anomalyr1.policy.family import Family
from anomalyr1.rows import Row
from anomalyr1.schema import Prediction


class Answer(NamedTuple):
    """A completion as raw text, and its tokens where the backend tells them."""

    text: str
    ids: tuple[int, ...] | None = None


class Backend(Protocol):
    """Answers questions as `eval` says: no penalty, no other setting of the checkpoint acts."""

    @property
    def processor(self) -> ProcessorMixin:
        """Of the policy: it counts prompts and resizes images."""

    @property
    def family(self) -> Family:
        """Of the policy."""

    @property
    def settings(self) -> dict[str, Any]:
        """Its part of the settings card; what it does not know is left out."""

    def predictions(self, rows: Sequence[Row]) -> Iterator[list[Prediction]]:
        """The answers to some questions, in their order, block by block as they are known.

        Raises:
            InputError: a question cannot be answered. What was answered has been handed over.
        """


def prediction_of(row: Row, completion: Any) -> Prediction:
    """A completion (its `text` and `ids`) with all that it brings along.

    Its row's gold boxes are in original-image pixels.
    """
    sample, question = row.sample, row.question
    return Prediction(
        image=sample.image,
        question_index=row.index,
        question_type=question.type,
        options=question.options,
        answer=question.answer,
        completion=completion.text,
        template=row.template,
        frame=None if row.frame is None else row.frame.model_size,
        size=row.size,
        gold_boxes=sample.gold_boxes(question),
        mask=sample.mask,
        normal=sample.is_normal,
        question=question.text,
        references=row.references,
        completion_ids=completion.ids,
    )


def by_image(rows: Sequence[Row]) -> list[list[Row]]:
    """The questions of each image: together they share the tokens of it."""
    return [list(questions) for _, questions in groupby(rows, key=lambda row: row.sample.image)]


def batches(rows: Sequence[Row], size: int) -> Iterator[list[Row]]:
    """Rows in order, at most `size` at once; the questions of an image stay together if they can.

    Together they share the tokens of their image, which is most of their prompts.
    """
    batch: list[Row] = []
    for asked in by_image(rows):
        if batch and len(batch) + len(asked) > size:
            yield batch
            batch = []
        batch += asked
        while len(batch) > size:
            yield batch[:size]
            batch = batch[size:]
    if batch:
        yield batch


def open_images(rows: Sequence[Row]) -> dict[str, Image.Image]:
    """The images of some prompts by their paths, each opened once: questions share them."""
    return {name: open_image(Path(name)) for name in {n for row in rows for n in row.images}}


def require_same_prompt(row: Row, tokens: object, where: str, said: int = 0) -> None:
    """Refuse an answer to another prompt than ours.

    Args:
        row: the prompt.
        tokens: how many the backend read.
        where: names it.
        said: how many of ours the policy's turn was begun with.

    Raises:
        InputError: the backend read another number of tokens than our own processor counts.
    """
    expected = row.tokens + said
    if tokens != expected:
        raise InputError(
            f"expected {where} to read {expected} prompt tokens of {row.sample_id}, as the "
            f"processor of policy.path counts them, found {tokens}; give it the same checkpoint, "
            "chat template and pixel caps (policy.min_pixels, policy.max_pixels)"
        )
