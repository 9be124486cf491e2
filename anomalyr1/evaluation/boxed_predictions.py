"""A file of predictions with boxes, and where its images are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from anomalyr1 import run_folder
from anomalyr1.errors import InputError
from anomalyr1.evaluation.image_readings import (
    ImageReading,
    anomaly_scores,
    image_readings,
    readings_of,
)
from anomalyr1.evaluation.prediction_lines import read_predictions
from anomalyr1.evaluation.report.runs import data_root
from anomalyr1.provenance import read_provenance


@dataclass(frozen=True)
class BoxedPredictions:
    """The images that were asked for boxes.

    Attributes:
        file: predictions.jsonl.
        images: one reading each, in file order; at least one.
        root: that their keys are relative to.
        scores: image -> P(anomalous) in [0, 1], where the file has it.
    """

    file: Path
    images: tuple[ImageReading, ...]
    root: Path
    scores: dict[str, float]


def read_boxed(path: Path, root: Path | None = None) -> BoxedPredictions:
    """Read predictions.jsonl, or that of a run folder.

    Args:
        path: predictions.jsonl or a run folder.
        root: folder of the images; None for the one that provenance.json tells.

    Raises:
        InputError: no image was asked for boxes, or nothing tells where the images are.
    """
    file = path / run_folder.PREDICTIONS if path.is_dir() else path
    predictions = read_predictions(file)
    provenance = file.parent / run_folder.PROVENANCE
    root = root or (data_root(read_provenance(provenance)) if provenance.is_file() else None)
    if root is None:
        raise InputError(f"expected the folder of the images of {file}, found none; give --root")
    images = tuple(image_readings(readings_of(predictions)))
    if not images:
        raise InputError(
            f"expected questions that ask for boxes in {file}, found none; evaluate with Defect "
            "Grounding questions, or with prompt.template=inspect"
        )
    return BoxedPredictions(file, images, root, anomaly_scores(predictions))
