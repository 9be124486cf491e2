"""Several runs on one page: each has a name of its own, and what is compared is named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from commands import run_here
from evaluation_data import letter, question, write

from anomalyr1.evaluation.report.page import write_report
from anomalyr1.evaluation.report.runs import load_runs
from anomalyr1.evaluation.score import score
from anomalyr1.evaluation.standings import benchmark_of
from anomalyr1.schema import ROBUSTMAD_TYPES
from anomalyr1.storage import read_json, write_json, write_jsonl
from tests.evaluation.report.test_report_page import HISTORY, Page


def evaluated(folder: Path, answer: str = "A", **card: object) -> Path:
    """Four normal images, the last of which is answered as told (B is right)."""
    answers = ["B", "B", "A", answer]
    made = [question(str(n), 0, letter(a), normal=True) for n, a in enumerate(answers)]
    write(folder / "predictions.jsonl", made)
    write_json(folder / "predictions.settings.json", card)
    return folder


def trained(folder: Path) -> Path:
    write_jsonl(folder / "log_history.jsonl", HISTORY)
    return folder


NAMED = {
    "s0/eval s1/eval": ["s0/eval", "s0/eval, before", "s1/eval", "s1/eval, before"],
    "a/x/r b/x/r c": ["a/x/r", "a/x/r, before", "b/x/r", "b/x/r, before", "c", "c, before"],
    "run": ["run", "before"],
    "run run/before": ["run", "before"],
    "s0/run/before s1/run/before": ["s0/run/before", "s1/run/before"],
    "run run": ["run", "run, before", "run (2)", "run (2), before"],
    "run run,\xa0before": ["run", "run, before", "run, before (2)", "run, before, before"],
}  # fmt: skip


@pytest.mark.parametrize("given", NAMED)
def test_no_two_runs_share_a_name_and_each_has_its_bar_and_its_curve(
    given: str, tmp_path: Path
) -> None:
    folders = [tmp_path / name.replace("\xa0", " ") for name in given.split(" ")]
    for folder in folders:
        trained(evaluated(folder))
        if folder.name != "before":
            trained(evaluated(folder / "before"))
    assert [run.name for run in load_runs(folders)] == NAMED[given]
    text = write_report(folders, tmp_path / "page.html").read_text("utf-8")
    bars = re.findall(r'<div class="stackrow"><p>(.*?) <small>', text)
    [reward] = re.findall(r"<figure[^>]*><figcaption>Reward<.*?</figure>", text)
    curves = re.findall(r'<i class="swatch c\d"></i>(.*?)</span>', reward)
    assert bars == curves == NAMED[given]


def test_runs_without_a_question_of_mmad_are_shown_side_by_side(tmp_path: Path) -> None:
    folders = []
    for name, answers in (("a", "ABAA"), ("b", "AABA")):
        made = [
            question(str(n), 0, letter(said), type=ROBUSTMAD_TYPES[n % 2])
            for n, said in enumerate(answers)
        ]
        write(tmp_path / name / "predictions.jsonl", made)
        score(tmp_path / name / "predictions.jsonl", resamples=20)
        folders.append(tmp_path / name)
    page = Page(write_report(folders, tmp_path / "page.html").read_text("utf-8"))
    assert "Detectable" in page.text  # the table of runs
    said = run_here("compare", folders[0], "--against", folders[1])
    assert "RobustMAD accuracy" in said
    assert benchmark_of(read_json(folders[0] / "metrics.json")).startswith("RobustMAD: 4 questions")


def test_no_macro_accuracy_is_compared_where_a_part_leaves_cells_empty(tmp_path: Path) -> None:
    runs = [evaluated(tmp_path / name, answer) for name, answer in (("a", "A"), ("b", "B"))]
    for run in runs:  # of a benchmark that has anomalous images too
        cells = [["Drawn", "anomalous"], ["Drawn", "normal"]]
        write_json(run / "predictions.identity.json", {"cells": cells})
        metrics = score(run / "predictions.jsonl", resamples=20)
        assert metrics["macro"]["strict"] is None
    assert "strict accuracy" not in run_here("compare", runs[0], "--against", runs[1])
    page = Page(write_report(runs, tmp_path / "page.html").read_text("utf-8"))
    assert "+25.0" not in page.text and "-25.0" not in page.text


def test_a_training_beside_evaluations_is_not_said_to_be_compared(tmp_path: Path) -> None:
    train = trained(tmp_path / "train")
    first = evaluated(tmp_path / "first", "B", dtype="float32")
    second = evaluated(tmp_path / "second", dtype="bfloat16")
    said = [
        "The difference is first minus the other",
        "second: its settings and those of first differ in dtype (bfloat16 and float32)",
        "first: 1 answer fixed against second",
    ]
    for order in ([train, first, second], [first, train, second], [first, second, train]):
        page = Page(write_report(order, tmp_path / "page.html").read_text("utf-8"))
        assert [text for text in said if text not in page.text] == []
        assert "this report's run" not in page.text and "+25.0" in page.text
        if order[0] == first:  # whose tiles and gallery name what they are held against
            assert "second: 50.0\xa0%" in page.text and "Against second" in page.text


def test_another_evaluation_of_a_part_says_so(tmp_path: Path) -> None:
    whole, part = evaluated(tmp_path / "whole"), evaluated(tmp_path / "part")
    write_json(part / "predictions.identity.json", {"cells": [["Drawn", "anomalous"]]})
    for order, subject in (([whole, part], "part: "), ([part, whole], "")):
        page = Page(write_report(order, tmp_path / "page.html").read_text("utf-8"))
        assert f"{subject}no macro average: this part has no question for Drawn" in page.text
