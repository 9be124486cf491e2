"""metrics.json: every number counted by hand on a dozen questions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from commands import assert_torch_free, run_here
from evaluation_data import DEFECT, boxes, completion, letter, question, to_frame, write

from anomalyr1.errors import InputError
from anomalyr1.evaluation.report.page import write_report
from anomalyr1.evaluation.score import score
from anomalyr1.schema import GROUNDING, Box, Prediction

CLASSIFICATION = "Object Classification"

PREDICTIONS = [
    # Drawn, detection: two dents (one found), two normals (both right)
    question("1", 0, letter("A")),
    question("2", 0, letter("B", conclusion="A")),  # contradictory and wrong
    question("3", 0, letter("B"), normal=True),
    question("4", 0, completion("Nothing stands out.", "B"), normal=True),  # silent, right
    # Drawn, classification: one right, one unreadable
    question("1", 1, letter("A"), type=CLASSIFICATION),
    question("2", 1, "I cannot tell.", type=CLASSIFICATION),
    # Other, classification only: the record after the unreadable one, right
    question("5", 0, letter("A"), type=CLASSIFICATION, dataset="Other"),
    question("6", 0, letter("A"), type=CLASSIFICATION, dataset="Other"),
    # boxes: one exact, one far off, a normal rightly empty, a normal with an unreadable list
    question("1", 2, boxes(to_frame(DEFECT)), type=GROUNDING),
    question("2", 2, boxes(Box(80, 40, 110, 55)), type=GROUNDING),
    question("3", 1, boxes(), type=GROUNDING, normal=True),
    question(
        "4", 1, completion("So the product is normal.", "[[1, 2"), type=GROUNDING, normal=True
    ),
]


@pytest.fixture(scope="module")
def metrics(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("run")
    score(write(folder / "predictions.jsonl", PREDICTIONS))
    written: dict[str, Any] = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    return written


def test_strict_table(metrics: dict[str, Any]) -> None:
    table = metrics["mmad"]["strict"]
    # normals 2 of 2, anomalous 1 of 2
    assert table["Drawn"]["Anomaly Detection"] == 75.0
    assert table["Drawn"][CLASSIFICATION] == 50.0
    assert table["Drawn"]["Average"] == 62.5
    assert table["Drawn"]["Defect Analysis"] is None
    assert table["Other"] == {
        **dict.fromkeys(table["Drawn"]),
        CLASSIFICATION: 100.0,
        "Average": 100.0,
    }
    assert table["Average"]["Average"] == 81.25
    assert metrics["macro"]["strict"] == 81.25
    assert metrics["micro"]["strict"] == pytest.approx(100 * 6 / 8)


def test_compat_table(metrics: dict[str, Any]) -> None:
    table = metrics["mmad"]["compat"]
    # the unreadable answer goes and takes Other's first question with it
    assert table["Drawn"][CLASSIFICATION] == 100.0
    assert table["Other"][CLASSIFICATION] == 100.0
    assert metrics["counted"] == {"strict": 8, "compat": 6}
    # Other has no Anomaly Detection: null, though MMAD's average takes it for 0
    assert table["Other"]["Anomaly Detection"] is None
    assert table["Other"]["Average"] == 50.0
    assert table["Average"]["Anomaly Detection"] == 37.5
    assert metrics["micro"]["compat"] == pytest.approx(100 * 5 / 6)


def test_counts_rates_and_detection(metrics: dict[str, Any]) -> None:
    assert metrics["counts"]["Drawn"]["Anomaly Detection"] == 4
    assert metrics["counts"]["Drawn"]["normal"] == metrics["counts"]["Drawn"]["anomalous"] == 2
    assert metrics["counts"]["Other"]["Anomaly Detection"] == 0
    assert metrics["invalid_rate"] == pytest.approx(100 * 2 / 12)
    assert metrics["invalid"] == {"choice": 12.5, "grounding": 25.0}
    assert metrics["overkill_miss"]["strict"]["Drawn"] == {"Overkill": 0.0, "Miss": 50.0}
    pooled = metrics["detection"]["pooled"]
    assert (pooled["accuracy"], pooled["recall"], pooled["precision"]) == (75.0, 50.0, 100.0)
    assert pooled["auroc"] is None
    assert set(metrics["detection"]["datasets"]) == {"Drawn"}


def test_boxes_are_scored_in_the_original_frame(metrics: dict[str, Any]) -> None:
    found = metrics["localization"]["boxes"]["pooled"]
    assert (found["images"], found["gold"], found["predicted"], found["unreadable"]) == (4, 2, 2, 1)
    assert found["f1@0.5"] == 50.0
    assert found["set_iou"] == pytest.approx(100 * (1 + 0 + 1 + 1) / 4, abs=3)  # whole pixels
    # an unreadable list is a wrong verdict, also on a normal image
    assert found["detection"]["overkill"] == 50.0 and found["detection"]["miss"] == 0.0


def test_outcomes(metrics: dict[str, Any]) -> None:
    shares = metrics["outcomes"]
    assert shares["questions"] == 12
    expected = {"aligned_correct": 8, "silent_correct": 1, "contradictory": 1, "malformed": 2}
    for name, count in expected.items():
        assert shares[name] == pytest.approx(100 * count / 12), name


def test_same_file_same_metrics(tmp_path: Path) -> None:
    path = write(tmp_path / "predictions.jsonl", PREDICTIONS)
    score(path, tmp_path / "a.json")
    score(path, tmp_path / "b.json")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_intervals_are_named_and_surround_the_value(metrics: dict[str, Any]) -> None:
    intervals = metrics["intervals"]
    assert intervals["level"] == 95.0 and intervals["seed"] == 0 and intervals["resamples"] == 1000
    low, high = intervals["strict"]["Average"]["Average"]
    assert low <= 81.25 <= high
    assert intervals["strict"]["Other"]["Anomaly Detection"] is None


def test_required_keys_alone_are_enough(tmp_path: Path) -> None:
    row = {
        "image": "VisA/pcb/test/good/1.JPG",
        "question_index": 0,
        "question_type": "Object Details",
        "options": {"A": "Four.", "B": "Two."},
        "answer": "A",
        "completion": letter("A"),
    }
    (tmp_path / "p.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    metrics = score(tmp_path / "p.jsonl")
    assert metrics["mmad"]["strict"]["VisA"]["Object Analysis"] == 100.0
    assert "localization" not in metrics
    assert metrics["intervals"]["macro"]["strict"] is None  # one image


def test_unlabelled_questions_give_no_accuracy(tmp_path: Path) -> None:
    unlabelled = Prediction("d/c/x/1.png", 0, CLASSIFICATION, {"A": "x"}, None, letter("A"))
    metrics = score(write(tmp_path / "p.jsonl", [unlabelled]))
    assert metrics["macro"]["strict"] is None and metrics["outcomes"]["questions"] == 0
    assert metrics["outcomes"]["malformed"] is None and metrics["invalid_rate"] == 0.0


def test_auroc_from_real_scores(tmp_path: Path) -> None:
    predictions = [
        question("1", 0, letter("A"), score=0.9),
        question("2", 0, letter("A"), score=0.4),
        question("3", 0, letter("B"), normal=True, score=0.6),
    ]
    metrics = score(write(tmp_path / "p.jsonl", predictions))
    assert metrics["detection"]["pooled"]["auroc"] == 50.0


def test_inspect_answers_give_boxes_too(tmp_path: Path) -> None:
    """The Anomaly Detection question speaks for the image, whatever the others say."""
    said = f"A\n{boxes(to_frame(DEFECT)).split('<answer>')[1].split('</answer>')[0]}"
    predictions = [
        question("1", 0, letter("A"), type=CLASSIFICATION, template="inspect"),
        question("1", 1, completion("So the answer is A.", said), template="inspect"),
    ]
    found = score(write(tmp_path / "p.jsonl", predictions))["localization"]["boxes"]["pooled"]
    assert found["images"] == 1 and found["f1@0.5"] == 100.0


def test_a_broken_line_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text('{"image": "a/b/c.png"\n', encoding="utf-8")
    with pytest.raises(InputError, match=r"p\.jsonl:1"):
        score(tmp_path / "p.jsonl")


def test_scoring_needs_no_torch() -> None:
    assert_torch_free("import anomalyr1.evaluation.score")


@pytest.mark.parametrize("accounting", ["strict", "compat"])
def test_command(tmp_path: Path, accounting: str) -> None:
    path = write(tmp_path / "predictions.jsonl", PREDICTIONS)
    out = str(tmp_path / "m.json")
    options = ["--compat"] if accounting == "compat" else []
    printed = run_here("score", path, "--out", out, *options)
    macro = {"strict": "81.2", "compat": "68.8"}[accounting]  # (87.5 + 50) / 2 in compat
    assert f"macro {accounting} {macro}" in printed and f"micro {accounting}" in printed
    assert (tmp_path / "m.json").exists()


def test_command_says_what_is_wrong_in_one_line(tmp_path: Path) -> None:
    assert "absent.jsonl" in run_here("score", tmp_path / "absent.jsonl", status=2)


def test_what_a_benchmark_of_this_size_would_show(tmp_path):
    """2.80 standard errors of the difference of two runs that know nothing of each other."""
    asked = [question(str(i), 0, letter("AB"[i < 30])) for i in range(100)]
    found = score(write(tmp_path / "p.jsonl", asked))["detectable"]
    of_a_run = 100 * (0.7 * 0.3 / 100) ** 0.5
    assert found["Average"] == pytest.approx(2.8016 * 2**0.5 * of_a_run, rel=0.06)
    assert found["Anomaly Detection"] == found["Average"] and found["Object Analysis"] is None
    one = score(write(tmp_path / "one.jsonl", asked[:1]))["detectable"]
    assert set(one.values()) == {None}  # one image has no spread


def test_blind_baselines_stand_beside_the_run(tmp_path):
    """Of the yes-or-no questions: always yes is right on the dents, wrong on what is normal."""
    file = write(tmp_path / "run" / "predictions.jsonl", PREDICTIONS)
    found = score(file)["blind"]
    assert found["random"]["Drawn"]["Anomaly Detection"] == 50
    assert found["always yes"]["Average"]["Anomaly Detection"] == 50  # 100 and 0
    assert found["always yes"]["Average"]["Average"] is None
    assert found["longest option"]["Other"][CLASSIFICATION] == 100  # "Yes.", and gold is A
    said = run_here("score", file)
    for name in ("these predictions", "random", "majority letter", "always yes", "longest option"):
        assert name in said
    page = write_report([file.parent]).read_text()
    assert "Without looking" in page and "Published" not in page
