"""What the likelihood of letters says of a benchmark: scores of images, and letters by argmax."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from anomalyr1.evaluation.image_readings import PredictionReading, choice_records
from anomalyr1.metrics.mcq import AVERAGE, ChoiceRecord, accuracy
from anomalyr1.metrics.score_curves import Scored, score_measures
from anomalyr1.parsing.letter_likelihood import LetterLikelihood, anomaly_probability
from anomalyr1.schema import SUBTASKS, WEIGHS, Weigh

PARSED = "parsed"
PLACES: Mapping[Weigh, str] = {"reasoning": "after reasoning", "at_once": "at once"}


def letter_scores(readings: Sequence[PredictionReading], resamples: int) -> dict[str, Any] | None:
    """The part `likelihood` of metrics.json; None where no letter was weighed.

    Returns:
        `scores`: by where the likelihood was taken (`schema.WEIGHS`), how P(anomalous) of the
        Anomaly Detection questions ranks the images and is calibrated
        (`metrics.score_curves.score_measures`). `letters`: of the letter that was read (`parsed`)
        and of the likeliest one by either, the accuracy on the questions that have both, as the
        strict table counts it.
    """
    weighed = [
        r for r in readings if r.is_of_mmad and set(WEIGHS) <= set(r.prediction.letter_logps or ())
    ]
    if not weighed:
        return None
    records = choice_records(weighed)
    answers: dict[str, list[ChoiceRecord]] = {PARSED: records}
    for weigh in WEIGHS:
        answers[weigh] = [
            ChoiceRecord(
                record.image,
                record.dataset,
                record.subtask,
                record.normal,
                record.gold,
                LetterLikelihood(_logps(reading, weigh)).best,
            )
            for record, reading in zip(records, weighed, strict=True)
        ]
    # The tables first: they are of the same draws as the tables before them.
    letters = {name: _table(of, resamples) for name, of in answers.items()}
    scores = {
        weigh: score_measures(_scored(records, weighed, weigh), resamples) for weigh in WEIGHS
    }
    return {"questions": len(weighed), "scores": scores, "letters": letters}


def _scored(
    records: Sequence[ChoiceRecord], weighed: Sequence[PredictionReading], weigh: Weigh
) -> list[Scored]:
    scored = []
    for record, reading in zip(records, weighed, strict=True):
        likelihood = LetterLikelihood(_logps(reading, weigh))
        probability = anomaly_probability(likelihood, reading.question)
        if probability is not None:
            scored.append(Scored(record.image, record.dataset, record.normal, probability))
    return scored


def _logps(reading: PredictionReading, weigh: Weigh) -> Mapping[str, float]:
    logps = reading.prediction.letter_logps
    assert logps is not None, "only what was weighed is asked"
    return logps[weigh]


def _table(records: Sequence[ChoiceRecord], resamples: int) -> dict[str, Any]:
    found = accuracy(records, "strict", resamples)
    columns = (*SUBTASKS, AVERAGE)
    return {
        "table": {
            row: {name: cells[name] for name in columns} for row, cells in found.table.items()
        },
        "macro": found.macro,
        "micro": found.micro,
        "intervals": {"macro": found.macro_interval, "micro": found.micro_interval},
    }
