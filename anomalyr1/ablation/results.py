"""What came of the runs of an ablation: their results on disk and their measures."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean

from anomalyr1.errors import InputError
from anomalyr1.run_folder import HISTORY, RESULT
from anomalyr1.storage import read_json, read_jsonl, write_json

LAST_STEPS = 10  # the training steps whose rewards a run is remembered by


@dataclass(frozen=True)
class Result:
    """What came of a run; `<folder>/result.json`.

    Attributes:
        variant: of the run.
        seed: of the run.
        digest: of the run.
        stage: the stage that failed, None for a finished run.
        message: the last line that stage printed; empty for a finished run.
        seconds: wall time, with that of failed attempts before.
        measures: name -> value: the figures of the evaluation, `reward`, each term, `steps`.
    """

    variant: str
    seed: int
    digest: str
    stage: str | None = None
    message: str = ""
    seconds: float = 0.0
    measures: Mapping[str, float] = field(default_factory=dict)


def write_result(folder: Path, result: Result) -> None:
    """Write `<folder>/result.json`."""
    write_json(folder / RESULT, asdict(result))


def read_result(folder: Path, digest: str) -> Result | None:
    """The result in a folder; None without one, or when it is another config's."""
    if not (folder / RESULT).exists():
        return None
    path = folder / RESULT
    try:
        result = Result(**read_json(path, "the result of a run"))
    except TypeError:
        raise InputError(
            f"expected the result of a run in {path}, found another form; take the file away, and "
            "the run is made again"
        ) from None
    return result if result.digest == digest else None


def training_measures(folder: Path) -> dict[str, float]:
    """What the log of a training is remembered by; nothing without a log.

    `reward` and each term are means over the last ten training steps that were logged, `steps` the
    number of the last. What was not logged is left out.
    """
    if not (folder / HISTORY).exists():
        return {}
    history = read_jsonl(folder / HISTORY, "a training log")
    last = max((row["step"] for row in history), default=0)
    # The line that closes a log has no rewards, and may come long after the last that has.
    rewarded = max((row["step"] for row in history if row.get("reward") is not None), default=last)
    late = [row for row in history if rewarded - LAST_STEPS < row["step"] <= rewarded]
    measures = {}
    for key in dict.fromkeys(key for row in late for key in row):
        term = re.fullmatch(r"reward|rewards/(\w+)/mean", key)
        values = [value for row in late if (value := row.get(key)) is not None]
        if term and values:
            measures[term[1] or key] = fmean(values)
    return {**measures, "steps": float(last)} if last else measures
