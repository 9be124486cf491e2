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
    resume_predictions,
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
        ("score", True),
        ("image", "a\nb.png"),
        ("image", "\ud800.png"),
        ("gold_boxes", [[1, 2, 3, 10**400]]),
        ("gold_boxes", [[1, 2, 3, True]]),
        ("size", ["80", 60]),
        ("template", ""),
        ("seen", 1),
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


def test_every_fault_of_a_line_is_told() -> None:
    wrong = {"image": 3, "options": None, "score": "high", "frame": [1, 2], "size": None}
    with pytest.raises(InputError) as caught:
        row_to_prediction({**REQUIRED, **wrong}, "p.jsonl:7")
    assert str(caught.value) == (
        "p.jsonl:7: expected `image` to be a path below the data root, with forward slashes, "
        "found 3; expected `size` to be the original image's [width, height], because `frame` is "
        "given, found nothing; expected `score` to be a number from 0 to 1 or null, found 'high'; "
        "mend the line"
    )


def test_half_a_character_in_what_was_said_is_taken() -> None:
    said = {"completion": "\ud83d", "question": "\udc00", "options": {"A": "\ud800", "B": "No."}}
    prediction = row_to_prediction({**REQUIRED, **said})
    assert prediction.completion == "\ud83d" and prediction.options["A"] == "\ud800"


def write_lines(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("\n\n".join(json.dumps(row) for row in rows) + "\n", encoding="utf-8")
    return path


def test_line_numbers_count_blank_lines(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "p.jsonl", REQUIRED, {**REQUIRED, "question_index": "1"})
    with pytest.raises(InputError, match=r"p\.jsonl:3: expected `question_index`"):
        read_predictions(path)


def test_all_bad_lines_are_told_at_once(tmp_path: Path) -> None:
    rows = [{**REQUIRED, "question_index": number} for number in range(14)]
    rows[0]["answer"] = "Z"
    rows[13] = rows[12]
    path = write_lines(tmp_path / "p.jsonl", *rows, *({**REQUIRED, "score": 2},) * 11)
    path.write_text(path.read_text() + "{\n")
    with pytest.raises(InputError) as caught:
        read_predictions(path)
    message = str(caught.value)
    assert message.startswith(f"{path} has 14 lines that cannot be used: {path}:1: expected `ans")
    assert f"question 12 of {REQUIRED['image']} on lines 25 and 27 of {path}; remove" in message
    assert message.count("expected `score`") == 8 and message.endswith("; and 4 more")


def test_a_line_that_tells_no_question_is_refused_on_resumption(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "p.jsonl", REQUIRED, {"image": "a.png", "question_index": "0"})
    path.write_text(path.read_text() + '{"image": "b.p')
    with pytest.raises(InputError, match=r"`image` and `question_index` of .*p\.jsonl:3, found"):
        resume_predictions(path)
    path.write_text(json.dumps(REQUIRED) + '\n{"image": "b.p')
    assert resume_predictions(path) == [REQUIRED]
    assert path.read_text().count("\n") == 1 and path.read_text().endswith("\n")


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
