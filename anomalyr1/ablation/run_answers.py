"""The completions of an ablation's runs, read and taken apart once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from anomalyr1.evaluation.cells import empty_cells
from anomalyr1.evaluation.figures import Counts, Key, count, question_key
from anomalyr1.evaluation.image_readings import choice_records, readings_of
from anomalyr1.evaluation.prediction_lines import read_predictions
from anomalyr1.run_folder import PREDICTIONS

RunKey = tuple[str, int]


class Answers:
    """What the figures of each run are made of, kept from one table to the next.

    Args:
        folders: (variant, seed) -> run folder.
    """

    def __init__(self, folders: Mapping[RunKey, Path]) -> None:
        self.folders = folders
        self._whole: dict[Path, Counts] = {}

    def of(self, folder: Path) -> Counts:
        """Of all questions that a run answered."""
        if folder not in self._whole:
            self._whole[folder] = _count(folder)
        return self._whole[folder]

    def shared(self, runs: Sequence[RunKey]) -> list[Counts] | None:
        """Of the questions that all of these runs answered, nothing where there are none.

        None where the completions of a run are not there any more.
        """
        folders = [self.folders[run] for run in runs]
        if not all((folder / PREDICTIONS).is_file() for folder in folders):
            return None  # taken away since
        whole = [self.of(folder) for folder in folders]
        common = frozenset.intersection(*(counts.questions for counts in whole))
        if not common:
            return []
        return [
            counts if counts.questions == common else _count(folder, common)
            for folder, counts in zip(folders, whole, strict=True)
        ]


def _count(folder: Path, questions: frozenset[Key] | None = None) -> Counts:
    path = folder / PREDICTIONS
    readings = readings_of(read_predictions(path))
    asked = [r for r in readings if questions is None or question_key(r) in questions]
    return count(asked, empty_cells(path, choice_records(asked)))
