"""Whether a policy says the same when it is asked the same once more.

A verdict is the text of the option that was chosen, whatever its letter. Nothing here looks at what
is right: a policy may be wrong with one voice.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from anomalyr1.evaluation.image_readings import PredictionReading
from anomalyr1.metrics.bootstrap import ratio_intervals, ratios
from anomalyr1.parsing import parse_response
from anomalyr1.parsing.tidy import plain
from anomalyr1.schema import AGAIN, SUBTASKS, Again, Question

Cell = tuple[str, ...]  # where a share stands in what `consistency` returns

_WORDS: Mapping[Again, str] = {
    "shifted": "options shifted",
    "reworded": "other wordings",
    "asked_again": "reasoning given and options shuffled",
}


@dataclass(frozen=True, slots=True)
class Second:
    """A further asking of a question that had a verdict at first.

    `agrees` is None where the second answer cannot be read.
    """

    image: str
    dataset: str
    subtask: str
    kind: Again
    leading: bool
    agrees: bool | None

    @property
    def cells(self) -> list[Cell]:
        """The shares that it counts in."""
        found = [("all",), ("subtasks", self.subtask), ("datasets", self.dataset)]
        if self.kind == "reworded":
            found.append(("leading" if self.leading else "neutral",))
        return [(self.kind, *cell) for cell in found]


def consistency(
    readings: Sequence[PredictionReading], kinds: Collection[str], resamples: int
) -> dict[str, Any] | None:
    """The part `consistency` of metrics.json; None where nothing was asked more than once.

    Args:
        readings: of the predictions.
        kinds: of further askings that were wanted, though no question may have had one.
        resamples: bootstrap resamples behind the intervals, images drawn.

    Returns:
        `questions`: choice questions. `unreadable_first`: of these without a verdict to compare
        with, which are left out. For each kind (`schema.AGAIN`) `left_out`, further questions that
        could not be asked so, and the share of second verdicts that are the first one: `all`, and
        by `subtasks` and `datasets`, of other wordings also `neutral` and `leading`. Each has
        `percent`, `interval`, `askings`, `unreadable` of these, and `images`. An unreadable second
        answer agrees with nothing, so that keeping silent raises no share.
    """
    choices = [reading for reading in readings if not reading.is_grounding]
    asked = [{one.kind for one in reading.prediction.askings or ()} for reading in choices]
    found = [kind for kind in AGAIN if kind in kinds or any(kind in of for of in asked)]
    if not found:
        return None
    readable = [reading for reading in choices if reading.is_readable]
    shares = agreeing([second for reading in readable for second in seconds_of(reading)], resamples)
    metrics: dict[str, Any] = {
        "questions": len(choices),
        "unreadable_first": len(choices) - len(readable),
    }
    for kind in found:
        without = sum(
            kind not in of and reading.is_readable
            for of, reading in zip(asked, choices, strict=True)
        )
        metrics[kind] = {"left_out": without, **_nested(kind, shares)}
    return metrics


def seconds_of(reading: PredictionReading) -> Iterator[Second]:
    """The further askings of a question, its own answer being readable."""
    prediction, question = reading.prediction, reading.question
    first = _said(question, reading.response.answer)
    for asking in prediction.askings or ():
        asked = Question(asking.question, prediction.question_type, asking.options)
        second = _said(asked, parse_response(asking.said + asking.completion, asked).answer)
        yield Second(
            image=prediction.image,
            dataset=prediction.dataset,
            subtask=question.subtask,
            kind=asking.kind,
            leading=asking.suggested is not None,
            agrees=None if second is None else second == first,
        )


def agreeing(seconds: Sequence[Second], resamples: int) -> dict[Cell, dict[str, Any]]:
    """The share of agreeing verdicts of every cell, all on the same drawn images."""
    images = {image: row for row, image in enumerate(sorted({s.image for s in seconds}))}
    columns: dict[Cell, int] = {}
    for second in seconds:
        for cell in second.cells:
            columns.setdefault(cell, len(columns))
    parts = np.zeros((len(images), len(columns), 2))
    unreadable = np.zeros(len(columns), dtype=int)
    for second in seconds:
        at = [columns[cell] for cell in second.cells]
        parts[images[second.image], at] += [second.agrees is True, 1]
        unreadable[at] += second.agrees is None
    sums, counted = parts.sum(axis=0), np.count_nonzero(parts[..., 1], axis=0)
    percents, ends = ratios(sums), ratio_intervals(parts, resamples)
    return {
        cell: {
            "percent": float(percents[at]),
            "interval": None if (found := ends[at]) is None else list(found),
            "askings": int(sums[at, 1]),
            "unreadable": int(unreadable[at]),
            "images": int(counted[at]),
        }
        for cell, at in columns.items()
    }


def named_shares(
    metrics: Mapping[str, Any],
) -> Iterator[tuple[str, dict[str, Any] | None, Mapping[str, Any]]]:
    """What `consistency` returned, row by row: a name, the share, and those by subtask, if any."""
    for kind in (kind for kind in AGAIN if kind in metrics):
        shares = metrics[kind]
        yield _WORDS[kind], shares["all"], shares["subtasks"]
        for part in ("neutral", "leading"):
            if part in shares:
                yield f"{_WORDS[kind]}, {part}", shares[part], {}
        if len(shares["datasets"]) > 1:
            for dataset, share in shares["datasets"].items():
                yield f"{_WORDS[kind]}, {dataset}", share, {}


def told_left_out(metrics: Mapping[str, Any]) -> list[str]:
    """What `consistency` left out, a sentence each."""
    told = []
    if metrics["unreadable_first"]:
        told.append(
            f"{metrics['unreadable_first']} of {metrics['questions']} questions had no readable "
            "answer at first."
        )
    told += [
        f"{metrics[kind]['left_out']} could not be asked once more with {_WORDS[kind]}."
        for kind in AGAIN
        if kind in metrics and metrics[kind]["left_out"]
    ]
    return told


def _said(question: Question, letter: str | None) -> str | None:
    """What the chosen option says; None where no letter could be read."""
    return None if letter is None else plain(question.options[letter])


def _nested(kind: Again, shares: Mapping[Cell, dict[str, Any]]) -> dict[str, Any]:
    """Those of a kind, where they stand in metrics.json; None for what was never asked."""
    named = ("all", "neutral", "leading") if kind == "reworded" else ("all",)
    datasets = sorted(cell[2] for cell in shares if cell[:2] == (kind, "datasets"))
    found: dict[str, Any] = {name: shares.get((kind, name)) for name in named}
    for group, names in (("subtasks", SUBTASKS), ("datasets", datasets)):
        cells = {name: shares.get((kind, group, name)) for name in names}
        found[group] = {name: share for name, share in cells.items() if share is not None}
    return found
