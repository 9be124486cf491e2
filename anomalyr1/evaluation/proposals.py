"""A run's predictions as what annotators start from."""

from __future__ import annotations

from pathlib import Path

from anomalyr1 import run_folder
from anomalyr1.data.annotation_files import Proposal
from anomalyr1.errors import InputError
from anomalyr1.evaluation.image_readings import image_readings, readings_of
from anomalyr1.evaluation.prediction_lines import read_predictions
from anomalyr1.evaluation.report.runs import data_root
from anomalyr1.schema import ANOMALY_DETECTION
from anomalyr1.storage import read_json


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
    file = path / run_folder.PREDICTIONS if path.is_dir() else path
    predictions = read_predictions(file)
    provenance = file.parent / run_folder.PROVENANCE
    root = root or (data_root(read_json(provenance)) if provenance.is_file() else None)
    if root is None:
        raise InputError(f"expected the folder of the images of {file}, found none; give --root")
    scores: dict[str, float] = {}
    for prediction in predictions:
        if prediction.score is not None and prediction.question_type == ANOMALY_DETECTION:
            scores.setdefault(prediction.image, prediction.score)
    images = image_readings(readings_of(predictions))
    if not images:
        raise InputError(
            f"expected questions that ask for boxes in {file}, found none; evaluate with Defect "
            "Grounding questions, or with prompt.template=inspect"
        )
    proposals = [
        Proposal(
            image.image,
            root / image.image,
            tuple(box for box in image.boxes_in_image or () if box.area > 0),
            scores.get(image.image),
        )
        for image in images
    ]
    return proposals, sum(image.boxes_in_image is None for image in images)
