"""Two runs on the same questions: most often a run and the policy it started from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from anomalyr1.errors import InputError
from anomalyr1.evaluation.cells import empty_cells
from anomalyr1.evaluation.figures import Counts, Difference, count, differences, discordances
from anomalyr1.evaluation.image_readings import PredictionReading, choice_records, readings_of
from anomalyr1.evaluation.kept_settings import (
    Unlike,
    known_settings,
    unlike_but_for_the_policy,
)
from anomalyr1.evaluation.prediction_lines import read_predictions
from anomalyr1.evaluation.right_answers import Changes, changes
from anomalyr1.metrics.significance import Discordance
from anomalyr1.run_folder import BEFORE, PREDICTIONS


@dataclass(frozen=True)
class Letter:
    """The answer given most often where there are as many letters: its share, and gold's."""

    letter: str
    share: float
    gold: float


@dataclass(frozen=True)
class BeforeAfter:
    """A run and what it is held against, on the same questions.

    Attributes:
        run: the run folder.
        before: figures of its start, or of another run.
        after: figures of the run.
        letter: of the answers after.
        changes: the answers that became right, and those that became wrong.
        settings: where the two evaluations were made otherwise; the policy is meant to differ.
    """

    run: Path
    before: Counts
    after: Counts
    letter: Letter | None
    changes: Changes
    settings: Unlike

    @property
    def differences(self) -> dict[str, Difference]:
        """After minus before, a figure each, images drawn in pairs."""
        return differences([self.before], [self.after])

    @property
    def discordances(self) -> dict[str, Discordance]:
        """Images that one of the two did better at."""
        return discordances(self.before, self.after)


def read_before_after(run: Path, against: Path | None = None) -> BeforeAfter:
    """Read an evaluation and the one it is held against.

    Args:
        run: the run folder.
        against: another run folder; the evaluation before training, `<run>/before`, by default.

    Raises:
        InputError: one of them is not there, or they answered other questions.
    """
    start = run / BEFORE if against is None else against
    for path in (start / PREDICTIONS, run / PREDICTIONS):
        if not path.is_file():
            raise InputError(
                f"expected the evaluations {start} and {run}, found no {path}; "
                f"run `anomalyr1 eval` with run_dir={path.parent} first"
            )
    started = readings_of(read_predictions(start / PREDICTIONS))
    before = _count(start, started)
    readings = readings_of(read_predictions(run / PREDICTIONS))
    after = _count(run, readings)
    if before.questions != after.questions:
        raise InputError(
            f"expected one set of questions in {start} and {run}, found "
            f"{len(before.questions)} and {len(after.questions)}, "
            f"{len(before.questions & after.questions)} of them in both; evaluate both on one "
            "benchmark"
        )
    settings = unlike_but_for_the_policy(
        known_settings(start / PREDICTIONS), known_settings(run / PREDICTIONS)
    )
    found = changes(started, readings)
    return BeforeAfter(run, before, after, _letter(readings), found, settings)


def pooled(runs: Sequence[BeforeAfter]) -> dict[str, Difference]:
    """Differences of the means over runs that differ in their seed alone.

    Raises:
        InputError: they answered other questions.
    """
    if len({run.after.questions for run in runs}) > 1:
        raise InputError(
            f"expected runs that answered the same questions, found {len(runs)} that did not; "
            "evaluate them on one benchmark"
        )
    return differences([run.before for run in runs], [run.after for run in runs])


def _count(run: Path, readings: Sequence[PredictionReading]) -> Counts:
    return count(readings, empty_cells(run / PREDICTIONS, choice_records(readings)))


def _letter(readings: Sequence[PredictionReading]) -> Letter | None:
    choices = [r for r in readings if not r.is_grounding and len(r.question.options) > 2]
    given = Counter(r.response.answer for r in choices if r.response.answer is not None)
    if not given:
        return None
    letter, times = given.most_common(1)[0]
    gold = sum(r.question.answer == letter for r in choices)
    return Letter(letter, 100 * times / len(choices), 100 * gold / len(choices))
