"""`anomalyr1 compare`: what training changed."""

from __future__ import annotations

import json

import pytest

from anomalyr1.errors import InputError
from anomalyr1.evaluation.before_after import pooled, read_before_after
from anomalyr1.evaluation.figures import FIGURES
from tests.commands import run_here


def line(image, right, *, letters="ABCD"):
    gold = letters[image % len(letters)]
    answer = gold if right else letters[(image + 1) % len(letters)]
    return {
        "image": f"Synthetic/tile/test/hole/{image:03d}.png",
        "question_index": 0,
        "question_type": "Defect Classification",
        "question": "What type of defect is it?",
        "options": {letter: f"Option {letter}." for letter in letters},
        "answer": gold,
        "completion": f"<think>So the answer is {answer}.</think>\n<answer>{answer}</answer>",
        "template": "choice",
        "frame": [112, 112],
        "size": [112, 112],
        "gold_boxes": None,
        "gold_labels": None,
        "mask": None,
        "normal": False,
        "references": [],
        "score": None,
        "seen": False,
    }


def a_run(folder, before, after):
    """Answers right (1) or wrong (0), an image each."""
    for at, answers in ((folder / "before", before), (folder, after)):
        at.mkdir(parents=True, exist_ok=True)
        rows = [json.dumps(line(image, right)) for image, right in enumerate(answers)]
        (at / "predictions.jsonl").write_text("\n".join(rows) + "\n")
    return folder


def test_values_and_differences_by_hand(tmp_path):
    found = read_before_after(a_run(tmp_path, [0, 0, 1, 1] * 5, [1, 0, 1, 1] * 5))
    assert found.before.values["strict accuracy"] == 50
    assert found.after.values["strict accuracy"] == 75
    difference = found.differences["strict accuracy"]
    assert difference.value == 25 and difference.questions == 20
    assert difference.ends is not None and 0 < difference.ends[0] < 25 < difference.ends[1]
    assert set(found.differences) <= set(FIGURES)


def test_the_letter_given_most_often_beside_gold(tmp_path):
    found = read_before_after(a_run(tmp_path, [1] * 8, [1, 1, 1, 0] * 2))
    # Images 3 and 7 have gold D and are answered A, as images 0 and 4 are rightly.
    assert found.letter is not None
    assert (found.letter.letter, found.letter.share, found.letter.gold) == ("A", 50, 25)


def test_the_answers_that_changed_are_named(tmp_path):
    found = read_before_after(a_run(tmp_path, [0, 0, 1, 1], [1, 0, 0, 1])).changes
    assert found.fixed == ((line(0, True)["image"], 0),)
    assert found.broken == ((line(2, True)["image"], 0),)
    assert found.told == "1 fixed, 1 broken, of 4"


def test_seeds_are_pooled_by_their_means(tmp_path):
    runs = [
        read_before_after(a_run(tmp_path / "0", [0] * 10, [1] * 5 + [0] * 5)),
        read_before_after(a_run(tmp_path / "1", [0] * 10, [1] * 10)),
    ]
    assert pooled(runs)["strict accuracy"].value == 75


def test_other_questions_are_refused(tmp_path):
    with pytest.raises(InputError, match="1 and 2, 1 of them in both"):
        read_before_after(a_run(tmp_path / "a", [1], [1, 1]))
    runs = [read_before_after(a_run(tmp_path / str(n), [1] * n, [1] * n)) for n in (2, 3)]
    with pytest.raises(InputError, match="same questions"):
        pooled(runs)


def test_the_verb_ends_in_lines_a_newcomer_reads(tmp_path):
    run = a_run(tmp_path / "run", [0] * 10, [1] * 10)
    (run / "report.html").write_text("page")
    lines = run_here("compare", run).splitlines()
    names = ["before", "after", "difference", "answers", "report"]
    assert [text.split()[0] for text in lines] == names
    assert "strict accuracy +100.0 (+100.0 to +100.0)" in lines[2]
    assert lines[3].split(maxsplit=1)[1] == "10 fixed, 0 broken, of 10"
    assert lines[4].endswith(str(run / "report.html"))
    other = a_run(tmp_path / "other", [0] * 10, [1, 0] * 5)
    table = run_here("compare", run, other)
    assert "2 of 2" in table and "10 / 0" in table and "5 / 0" in table
    assert "anomalyr1 eval" in run_here("compare", tmp_path, status=2)


def test_any_two_runs_are_compared(tmp_path):
    run = a_run(tmp_path / "run", [0] * 10, [1] * 10)
    other = a_run(tmp_path / "other", [0] * 10, [1, 0] * 5)
    lines = run_here("compare", run, "--against", other).splitlines()
    names = ["against", "run", "difference", "answers", "images", "detectable", "settings"]
    assert [text.split()[0] for text in lines] == names
    assert lines[0].split(maxsplit=1)[1].startswith("strict accuracy 50.0 %")
    assert "strict accuracy better on 5 and worse on 0 (p 0.062)" in lines[4]  # 2 / 2^5
    assert lines[6] == "settings    not known of both: any"
    found = read_before_after(run, other).differences["strict accuracy"]
    assert f"strict accuracy {found.detectable:.1f}" in lines[5]
    # 2.80 standard errors of the difference, sqrt(0.5 * 0.5 / 10) = 0.158 of it.
    assert found.detectable == pytest.approx(2.8016 * 15.8, rel=0.06)
    assert f"Against {other}" in run_here("compare", run, other, "--against", other)
