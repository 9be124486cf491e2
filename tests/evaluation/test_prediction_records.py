"""predictions.jsonl: lossless both ways, and a fault is named by line and field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from evaluation_data import DEFECT, boxes, letter, question, to_frame

from anomalyr1.errors import InputError
from anomalyr1.evaluation.prediction_lines import (
    prediction_to_row,
    read_predictions,
    row_to_prediction,
)
from anomalyr1.schema import GROUNDING, Prediction

REQUIRED: dict[str, Any] = {
    "image": "VisA/pcb/test/good/1.JPG",
    "question_index": 0,
    "question_type": "Anomaly Detection",
    "options": {"A": "Yes.", "B": "No."},
    "answer": "B",
    "completion": "",
}


@pytest.mark.parametrize(
    "prediction",
    [
        question("1", 0, letter("A"), mask=True, score=0.25),
        question("2", 3, boxes(to_frame(DEFECT)), type=GROUNDING),
        question("3", 1, "", normal=True),
        Prediction("d/c/good/1.png", 0, GROUNDING, {}, None, "x"),
    ],
)
def test_round_trip_through_json(prediction: Prediction) -> None:
    line = json.dumps(prediction_to_row(prediction))
    assert row_to_prediction(json.loads(line)) == prediction


def test_required_keys_are_enough_and_others_are_passed_over() -> None:
    prediction = row_to_prediction({**REQUIRED, "latency": 3, "logits": [1, 2]})
    assert prediction.template == "choice" and prediction.gold_boxes is None
    assert prediction.is_normal and prediction.dataset == "VisA"
    assert not row_to_prediction({**REQUIRED, "normal": False}).is_normal
    assert not row_to_prediction({**REQUIRED, "image": "GoodsAD/box/test/bad/1.jpg"}).is_normal


@pytest.mark.parametrize("field", REQUIRED)
def test_a_missing_field_is_named(field: str) -> None:
    row = {key: value for key, value in REQUIRED.items() if key != field}
    with pytest.raises(InputError, match=f"`{field}`"):
        row_to_prediction(row)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("image", 3),
        ("image", ""),
        ("image", "/etc/passwd"),
        ("image", "VisA/../../secret.png"),
        ("image", "VisA\\pcb\\1.png"),
        ("mask", "../mask.png"),
        ("references", ["../x.png"]),
        ("references", "x.png"),
        ("question_index", -1),
        ("question_index", 1.0),
        ("question_index", True),
        ("question_type", "Defect Severity"),
        ("options", ["A", "B"]),
        ("options", {"A": 1}),
        ("answer", "C"),  # not an option
        ("answer", 1),
        ("completion", None),
        ("completion", ["B"]),
        ("frame", [112]),
        ("frame", [0, 56]),
        ("frame", [112, 56]),  # without the original size
        ("size", "80x60"),
        ("gold_boxes", [[1, 2, 3]]),
        ("gold_boxes", [[1, 2, 3, float("nan")]]),
        ("gold_boxes", [{"bbox": [1, 2, 3, 4]}]),
        ("normal", "yes"),
        ("score", 1.5),
        ("score", float("nan")),
    ],
)
def test_a_wrong_value_is_named(field: str, value: object) -> None:
    with pytest.raises(InputError) as caught:
        row_to_prediction({**REQUIRED, field: value}, "p.jsonl:7")
    message = str(caught.value)
    assert message.startswith("p.jsonl:7: expected `") and "\n" not in message
    assert f"`{field}`" in message


def test_labels_run_parallel_to_boxes() -> None:
    row = {**REQUIRED, "gold_boxes": [[1, 2, 3, 4]], "gold_labels": ["dent", "scratch"]}
    with pytest.raises(InputError, match="as many labels"):
        row_to_prediction(row)


def write_lines(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("\n\n".join(json.dumps(row) for row in rows) + "\n", encoding="utf-8")
    return path


def test_line_numbers_count_blank_lines(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "p.jsonl", REQUIRED, {**REQUIRED, "question_index": "1"})
    with pytest.raises(InputError, match=r"p\.jsonl:3: expected `question_index`"):
        read_predictions(path)


def test_a_question_answered_twice_is_refused_with_both_lines(tmp_path: Path) -> None:
    other = {**REQUIRED, "question_index": 1}
    path = write_lines(tmp_path / "p.jsonl", REQUIRED, other, REQUIRED)
    with pytest.raises(InputError, match="lines 1 and 5"):
        read_predictions(path)


def test_no_line_and_no_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("\n", encoding="utf-8")
    with pytest.raises(InputError, match="found none"):
        read_predictions(tmp_path / "empty.jsonl")
    with pytest.raises(InputError, match="no such file"):
        read_predictions(tmp_path / "absent.jsonl")
