"""metrics.json from predictions.jsonl (and masks/): no image, no policy, no torch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from anomalyr1 import run_folder
from anomalyr1.errors import InputError
from anomalyr1.evaluation.beside import blind_baselines
from anomalyr1.evaluation.cells import empty_cells, withhold
from anomalyr1.evaluation.consistency import consistency
from anomalyr1.evaluation.image_readings import PredictionReading, choice_records, readings_of
from anomalyr1.evaluation.kept_settings import known_settings, unknown_fields
from anomalyr1.evaluation.letter_scores import letter_scores
from anomalyr1.evaluation.localization import localization
from anomalyr1.evaluation.outcomes import outcome_shares
from anomalyr1.evaluation.prediction_lines import read_predictions
from anomalyr1.evaluation.robustmad_scores import robustmad_scores
from anomalyr1.metrics.bootstrap import RESAMPLES, SEED
from anomalyr1.metrics.detection import Verdict, detection, percent
from anomalyr1.metrics.mcq import (
    ACCOUNTINGS,
    AVERAGE,
    MISS,
    OVERKILL,
    Accuracy,
    ChoiceRecord,
    accuracy,
    counted_by_mmad,
)
from anomalyr1.metrics.rare_shares import FEW, LEVEL
from anomalyr1.metrics.significance import smallest_detectable
from anomalyr1.schema import ANOMALY_DETECTION, SUBTASKS
from anomalyr1.storage import read_json, write_json


def score(
    predictions: Path | str,
    out: Path | str | None = None,
    masks_dir: Path | str | None = None,
    *,
    resamples: int | None = None,
) -> dict[str, Any]:
    """Score a predictions.jsonl and write metrics.json.

    Completions are parsed again, so a mended parser needs no GPU. All shares are percent (0-100);
    what cannot be computed is null, never 0. The same files give the same numbers.

    Args:
        predictions: a predictions.jsonl.
        out: where to write; `metrics.json` beside the predictions by default.
        masks_dir: the folder of masks/<segmenter>.jsonl; `masks` beside the predictions by default.
        resamples: bootstrap resamples behind the intervals; None draws as many as the
            `metrics.json` beside the predictions says, and `RESAMPLES` where there is none.

    Returns:
        What was written: `settings` (the card as far as it is known, and the names of what is
        not), `mmad` (strict and compat tables), `macro`, `micro`, `overkill_miss`,
        `intervals`, `counts`, `counted`, `invalid_rate`, `invalid`, `detection`, `outcomes`,
        `empty_cells` where a limit or a shard left some (averages over them are null),
        `likelihood` where letters were weighed, `consistency` where questions were asked again,
        `robustmad` where its questions were asked, and
        `localization` where there are boxes or masks.

    Raises:
        InputError: a line of a file cannot be read, or masks were made from other predictions.
    """
    path = Path(predictions)
    readings = readings_of(read_predictions(path))
    folder = Path(masks_dir) if masks_dir is not None else path.parent / run_folder.MASKS
    metrics = measure(path, readings, folder, resamples)
    write_json(Path(out) if out is not None else path.parent / run_folder.METRICS, metrics)
    return metrics


def measure(
    path: Path,
    readings: Sequence[PredictionReading],
    masks_dir: Path,
    resamples: int | None = None,
) -> dict[str, Any]:
    """What `score` writes, from completions that were read already."""
    resamples = resamples or kept_resamples(path.parent) or RESAMPLES
    card = known_settings(path)
    metrics = {
        "predictions": {
            "file": path.name,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "questions": len(readings),
            "images": len({reading.prediction.image for reading in readings}),
        },
        "settings": {"card": card, "unknown": list(unknown_fields(card))},
        **_answers(readings, resamples),
    }
    if any(reading.prediction.seen for reading in readings):
        metrics["exposure"] = _exposure(readings, resamples)
    weighed = letter_scores(readings, resamples)
    if weighed is not None:
        metrics["likelihood"] = weighed
    empty = empty_cells(path, choice_records(readings))
    if empty:
        withhold(metrics, empty)
    again = consistency(readings, card.get("consistency") or (), resamples)
    if again is not None:
        metrics["consistency"] = again
    robust = robustmad_scores(readings, resamples)
    if robust is not None:
        metrics["robustmad"] = robust
    located = localization(readings, masks_dir, resamples)
    return {**metrics, "localization": located} if located else metrics


def kept_resamples(folder: Path) -> int | None:
    """As many as the metrics there say, so that no interval changes with the verb that computes it.

    Args:
        folder: of predictions that were scored, or not yet.

    Returns:
        The bootstrap resamples; None where no metrics can be read that tell them.
    """
    try:
        kept = read_json(folder / run_folder.METRICS)["intervals"]["resamples"]
    except (InputError, KeyError, TypeError):  # not there, or to be written anew
        return None
    return kept if type(kept) is int and kept > 0 else None


def _exposure(readings: Sequence[PredictionReading], resamples: int) -> dict[str, Any]:
    """Accuracy apart for images the policy was trained on and for the others."""
    columns = {}
    for name, seen in (("seen", True), ("unseen", False)):
        part = [reading for reading in readings if bool(reading.prediction.seen) is seen]
        result = accuracy(choice_records(part), "strict", resamples)
        columns[name] = {
            "questions": len(part),
            "images": len({reading.prediction.image for reading in part}),
            "macro": result.macro,
            "micro": result.micro,
            "strict": _columns(result.table, (*SUBTASKS, AVERAGE)),
        }
    return columns


def _answers(readings: Sequence[PredictionReading], resamples: int) -> dict[str, Any]:
    """Everything in metrics.json that choice answers decide."""
    records = choice_records(readings)
    results: dict[str, Accuracy] = {
        name: accuracy(records, name, resamples) for name in ACCOUNTINGS
    }
    return {
        "mmad": {name: _columns(r.table, (*SUBTASKS, AVERAGE)) for name, r in results.items()},
        "macro": {name: result.macro for name, result in results.items()},
        "micro": {name: result.micro for name, result in results.items()},
        "overkill_miss": {
            name: _columns(result.table, (OVERKILL, MISS)) for name, result in results.items()
        },
        "intervals": _intervals(results, resamples),
        "detectable": _detectable(results["strict"]),
        "blind": blind_baselines(readings),
        "counts": _counts(records),
        "counted": {
            "strict": sum(record.gold is not None for record in records),
            "compat": sum(counted_by_mmad(records)),
        },
        "invalid_rate": _invalid_rate(readings),
        "invalid": {
            "choice": _invalid_rate([r for r in readings if not r.is_grounding]),
            "grounding": _invalid_rate([r for r in readings if r.is_grounding]),
        },
        "detection": _detection(readings),
        "outcomes": outcome_shares(readings),
    }


def _columns(
    table: Mapping[str, Mapping[str, Any]], columns: Sequence[str]
) -> dict[str, dict[str, Any]]:
    return {row: {name: cells[name] for name in columns} for row, cells in table.items()}


def _intervals(results: Mapping[str, Accuracy], resamples: int) -> dict[str, Any]:
    return {
        "level": 100 * LEVEL,
        "method": "Wilson with the trials that a cluster bootstrap by image, stratified by "
        f"dataset, shows; with the images where fewer than {FEW} got anything right, or wrong",
        "resamples": resamples,
        "seed": SEED,
        **{name: result.intervals for name, result in results.items()},
        "macro": {name: result.macro_interval for name, result in results.items()},
        "micro": {name: result.micro_interval for name, result in results.items()},
    }


def _detectable(result: Accuracy) -> dict[str, float | None]:
    """The true difference that a second run on so many images would show, column by column.

    In 80 % of repetitions, were its answers right on an image independently of this run's. Runs
    agree about what is easy, so a paired comparison finds less (`evaluation.figures.differences`).
    """
    return {
        column: None
        if (error := result.errors.get(column)) is None
        # The difference of two runs has twice the variance of one.
        else smallest_detectable(2**0.5 * error)
        for column in (*SUBTASKS, AVERAGE)
    }


def _counts(records: Sequence[ChoiceRecord]) -> dict[str, dict[str, int]]:
    """Questions with a gold letter, per dataset and subtask; Anomaly Detection by class too."""
    counts: dict[str, dict[str, int]] = {}
    for record in records:
        row = counts.setdefault(
            record.dataset, dict.fromkeys((*SUBTASKS, "normal", "anomalous"), 0)
        )
        if record.gold is None:
            continue
        row[record.subtask] += 1
        if record.subtask == ANOMALY_DETECTION:
            row["normal" if record.normal else "anomalous"] += 1
    return counts


def _invalid_rate(readings: Sequence[PredictionReading]) -> float | None:
    """Share of completions from which no answer could be read."""
    return percent(sum(not reading.is_readable for reading in readings), len(readings))


def _detection(readings: Sequence[PredictionReading]) -> dict[str, Any]:
    """Image-level detection from the Anomaly Detection answers, pooled and by dataset."""
    verdicts: dict[str, list[Verdict]] = {}
    asked = [
        reading
        for reading in readings
        if reading.prediction.question_type == ANOMALY_DETECTION and not reading.is_grounding
    ]
    for record, reading in zip(choice_records(asked), asked, strict=True):
        if record.gold is not None:
            verdict = Verdict(record.normal, record.correct, reading.prediction.score)
            verdicts.setdefault(record.dataset, []).append(verdict)
    return {
        "pooled": detection([verdict for group in verdicts.values() for verdict in group]),
        "datasets": {dataset: detection(group) for dataset, group in verdicts.items()},
    }
