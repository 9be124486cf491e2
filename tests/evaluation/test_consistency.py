"""The share of verdicts that stay the same, by hand and by a slow twin; lines, page and verb."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import numpy as np
import pytest
from commands import run_here
from evaluation_data import YES_NO, boxes, letter, question, write

from anomalyr1.errors import InputError
from anomalyr1.evaluation.consistency import agreeing, consistency, seconds_of
from anomalyr1.evaluation.image_readings import readings_of
from anomalyr1.evaluation.prediction_lines import (
    prediction_to_row,
    read_predictions,
    row_to_prediction,
)
from anomalyr1.evaluation.report.consistency_table import consistency_table
from anomalyr1.evaluation.report.page import write_report
from anomalyr1.evaluation.score import score
from anomalyr1.metrics.bootstrap import ratio_interval
from anomalyr1.schema import GROUNDING, FurtherAsking

NO_YES = {"A": "No.", "B": "Yes."}


def again(kind, completion, options=YES_NO, number=1, **more) -> FurtherAsking:
    return FurtherAsking(kind, number, "Any flaw?", options, completion, **more)


def asked(name, first, *askings, **more):
    return replace(question(name, 0, first, **more), askings=askings)


def predictions():
    """Three images; the comments say what is compared with what."""
    return [
        asked(
            "1",
            letter("A"),  # Yes.
            again("shifted", letter("B"), NO_YES),  # Yes.: another letter, the same option
            again("reworded", letter("A")),  # Yes.
            again("reworded", letter("B"), number=3, suggested="B"),  # No.
            again("asked_again", "B</answer>", NO_YES, said="<think>Bent.</think><answer>"),  # Yes.
        ),
        asked(
            "2",
            letter("A"),  # Yes.
            again("shifted", letter("A"), NO_YES),  # No.
            again("reworded", "what?"),  # unreadable
            again("reworded", letter("A"), number=2),  # Yes.
            again("reworded", letter("A"), number=3, suggested="A"),  # Yes.
            type="Object Details",
            dataset="Other",
        ),
        asked("3", "what?", again("shifted", letter("A"), NO_YES)),  # no verdict to compare with
        question("4", 1, boxes(), type=GROUNDING),  # not a choice
    ]


def shares(found):
    return found["percent"], found["askings"], found["unreadable"], found["images"]


def test_by_hand(tmp_path, monkeypatch):
    file = write(tmp_path / "predictions.jsonl", predictions())
    assert read_predictions(file) == predictions()
    metrics = score(file, resamples=200)
    found = metrics["consistency"]
    assert (found["questions"], found["unreadable_first"]) == (3, 1)
    shifted, reworded, given = (found[k] for k in ("shifted", "reworded", "asked_again"))
    assert shares(shifted["all"]) == (50.0, 2, 0, 2) and shifted["left_out"] == 0
    assert shares(shifted["subtasks"]["Anomaly Detection"]) == (100.0, 1, 0, 1)
    assert shares(shifted["subtasks"]["Object Analysis"]) == (0.0, 1, 0, 1)
    assert shares(shifted["datasets"]["Other"]) == (0.0, 1, 0, 1)
    assert shares(reworded["all"]) == (60.0, 5, 1, 2)
    assert shares(reworded["neutral"]) == (pytest.approx(200 / 3), 3, 1, 2)
    assert shares(reworded["leading"]) == (50.0, 2, 0, 2)
    assert shares(given["all"]) == (100.0, 1, 0, 1) and given["left_out"] == 1
    assert given["all"]["interval"] is None  # one image
    assert shifted["all"]["interval"] == pytest.approx([9.5, 90.5], abs=0.05)  # Wilson's
    page = consistency_table(metrics)
    assert "other wordings, leading" in page and "Object Analysis" in page
    text = write_report([tmp_path]).read_text()
    assert "1 of 3 questions had no readable answer at first." in text
    said = " ".join(run_here("score", file).split())
    assert "the same verdict, options shifted: 50.0 [9.5, 90.5] % of 2 askings, 0 unread" in said
    assert "1 could not be asked once more with reasoning given and options shuffled." in said


def test_nothing_else_of_the_scores_is_touched(tmp_path):
    plain = [replace(one, askings=None) for one in predictions()]
    with_, without = (
        score(write(tmp_path / name / "predictions.jsonl", lines), resamples=10)
        for name, lines in (("with", predictions()), ("without", plain))
    )
    assert "consistency" not in without and consistency_table(without) is None
    for metrics in (with_, without):
        metrics.pop("predictions")
        metrics.pop("consistency", None)
    assert with_ == without


def test_a_kind_that_no_question_could_be_asked_is_told():
    found = consistency(readings_of([question("1", 0, letter("A"))]), ["asked_again"], 10)
    assert found["asked_again"] == {"left_out": 1, "all": None, "subtasks": {}, "datasets": {}}
    assert consistency(readings_of([question("1", 0, letter("A"))]), [], 10) is None


def test_the_twin():
    """Each share counted alone, and its interval drawn alone where all images count in it."""
    rng = random.Random(0)
    made = []
    for number in range(30):
        askings = [
            again(kind, rng.choice([letter("A"), letter("B"), "?"]), rng.choice([YES_NO, NO_YES]))
            for kind in ("shifted", "shifted", "reworded", "asked_again")
        ]
        dataset = rng.choice(["One", "Two"])
        made.append(asked(str(number), letter(rng.choice("AB")), *askings, dataset=dataset))
    found = consistency(readings_of(made), [], 500)

    def text(options, completion):
        return {"A": options["A"], "B": options["B"]}.get(completion[-10])

    for kind in ("shifted", "reworded", "asked_again"):
        parts = np.zeros((30, 2))
        for row, prediction in enumerate(sorted(made, key=lambda one: one.image)):
            first = text(prediction.options, prediction.completion)
            for one in prediction.askings:
                if one.kind == kind:
                    same = one.completion != "?" and text(one.options, one.completion) == first
                    parts[row] += [same, 1]
        agree, count = parts.sum(axis=0)
        assert found[kind]["all"]["percent"] == pytest.approx(100 * agree / count)
        assert found[kind]["all"]["interval"] == pytest.approx(ratio_interval(parts, 500))
    assert agreeing([], 10) == {}
    assert len(list(seconds_of(readings_of(made)[0]))) == 4


@pytest.mark.parametrize(
    "change",
    [{"kind": "sung"}, {"number": 0}, {"options": {}}, {"suggested": "Z"}, {"completion": None}],
)
def test_broken_askings_are_refused_by_name(change):
    row = json.loads(json.dumps(prediction_to_row(predictions()[0])))
    row["askings"][0] |= change
    with pytest.raises(InputError, match="`askings` to be"):
        row_to_prediction(row)
