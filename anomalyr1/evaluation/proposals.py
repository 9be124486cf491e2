"""A run's predictions as what annotators start from."""

from __future__ import annotations

from pathlib import Path

from anomalyr1 import run_folder
from anomalyr1.data.annotation_files import Proposal
from anomalyr1.evaluation.boxed_predictions import read_boxed


def is_predictions(path: Path) -> bool:
    """True for predictions.jsonl, or a run folder that holds it."""
    return path.suffix == ".jsonl" or (path / run_folder.PREDICTIONS).is_file()


def read_proposals(path: Path, root: Path | None = None) -> tuple[list[Proposal], int]:
    """The predicted boxes of every image that was asked for boxes.

    Args:
        path: predictions.jsonl or a run folder.
        root: folder of the images; None for the one that provenance.json tells.

    Returns:
        The proposals, and how many images have an answer that cannot be read (they are proposed
        without a box).

    Raises:
        InputError: no image was asked for boxes, or nothing tells where the images are.
    """
    boxed = read_boxed(path, root)
    proposals = [
        Proposal(
            image.image,
            boxed.root / image.image,
            tuple(box for box in image.boxes_in_image or () if box.area > 0),
            boxed.scores.get(image.image),
        )
        for image in boxed.images
    ]
    return proposals, sum(image.boxes_in_image is None for image in boxed.images)
