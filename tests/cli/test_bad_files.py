"""Whatever a user's file or value is, a verb ends in one line that begins with "error:"."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from anomalyr1 import cli
from anomalyr1.config import Config, load_config
from anomalyr1.data.mmad import read_benchmark
from anomalyr1.errors import InputError
from anomalyr1.evaluation.prediction_lines import row_to_prediction

CONTENTS = {
    "cp1252": '{"a": "é"}'.encode("cp1252"),
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "empty": b"",
    "cut off": b'{"a": ',
    "a list": b"[1]",
    "a number": b"3",
    "a text": b'"x"',
    "null": b"null",
    "NaN": b'{"a": NaN}',
    "beyond float": b'{"a": 1e999}',
    "5000 digits": b'{"a": ' + b"9" * 5000 + b"}",
    "nested": b'{"a": ' + b"[" * 100_000,
    "null characters": b"\0" * 10,
    "a picture": b"\x89PNG\r\n\x1a\n\0\0\0",
}
PLACES = ("missing", "a folder", "a dangling link", "a link to itself", "below a file", "too long")
PREDICTION: dict[str, Any] = {
    "image": "VisA/pcb/test/bad/1.JPG",
    "question_index": 0,
    "question_type": "Anomaly Detection",
    "question": "Is there a defect?",
    "options": {"A": "Yes.", "B": "No."},
    "answer": "B",
    "completion": "<think>So the answer is B.</think><answer>B</answer>",
    "template": "inspect",
    "frame": [56, 56],
    "size": [80, 60],
    "gold_boxes": [[1, 2, 3, 4]],
    "gold_labels": ["dent"],
    "references": ["VisA/pcb/train/good/2.JPG"],
    "score": 0.5,
}
VALUES: tuple[Any, ...] = (
    None, True, -1, 1.5, float("nan"), 10**400, 1e308, "", "\ud800", "a\0b", "a\nb", "../x",
    [], [None], [[]], {}, {"A": 1}, {"\ud800": "x"}, [[1, 2, 3, 10**400]], [1, "x"],
)  # fmt: skip


@pytest.fixture
def run(monkeypatch, capsys) -> Callable[..., tuple[int, str]]:
    """Runs the command line in this process; gives the exit status and what stderr says."""

    def run_verb(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["anomalyr1", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0), capsys.readouterr().err

    return run_verb


@pytest.fixture(params=[*CONTENTS, *PLACES])
def bad(request, tmp_path) -> Path:
    """A file that no verb can read."""
    path = tmp_path / "bad"
    if request.param in CONTENTS:
        path.write_bytes(CONTENTS[request.param])
    elif request.param == "a folder":
        path.mkdir()
    elif request.param == "a dangling link":
        path.symlink_to(tmp_path / "gone")
    elif request.param == "a link to itself":
        path.symlink_to(path)
    elif request.param == "below a file":
        path.write_text("x")
        path = path / "x"
    elif request.param == "too long":
        path = tmp_path / ("x" * 300)
    return path


@pytest.fixture
def bench(tmp_path) -> Path:
    """As many images as there are values, a question each, and a reference."""
    folder, records = tmp_path / "bench", {}
    reference = "Toy/tile/train/good/000.png"
    keys = [f"Toy/tile/test/spot/{number}.png" for number in range(len(VALUES))]
    for number, key in enumerate([*keys, reference]):
        pixels = np.random.default_rng(number).integers(0, 255, (40, 40, 3)).astype(np.uint8)
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / key)
        question = {
            "Question": "Is there a defect?",
            "Answer": "A",
            "Options": {"A": "Yes.", "B": "No."},
            "type": "Anomaly Detection",
            "annotation": True,
        }
        records[key] = {
            "image_path": key.removeprefix("Toy/tile/"),
            "mask_path": None,
            "similar_templates": [reference],
            "random_templates": [],
            "boxes": [[1, 2, 20, 20]],
            "box_labels": ["spot"],
            "conversation": [question],
        }
    del records[reference]
    (folder / "mmad.json").write_text(json.dumps(records))
    return folder


def one_line(ended: tuple[int, str]) -> str:
    """The one line that a refused verb says."""
    status, said = ended
    assert status == 2, said
    assert said.startswith("error: ") and said.count("\n") == 1, said
    return said


def listed(ended: tuple[int, str], *allowed: int) -> None:
    """A verb ends well, or with its faults told; a benchmark's records have a line each."""
    status, said = ended
    assert status in (*allowed, 2), said
    if status == 2:
        assert said.startswith("error: ") and "Traceback" not in said
        assert said.count("error: ") == 1
        assert said.count("\n") == 1 or " fault" in said.splitlines()[0]


def test_files_that_cannot_be_read(run, bad, tmp_path):
    for verb in (
        ("score", bad),
        ("report", bad),
        ("reward", "replay", bad),
        ("data", "build", "folder", bad, "--out", tmp_path / "out"),
        ("data", "build", "coco", bad, "--out", tmp_path / "out"),
    ):
        one_line(run(*verb))
        assert not (tmp_path / "out").exists()


def test_benchmarks_that_cannot_be_read(run, bad, bench, tmp_path):
    out = tmp_path / "out"
    listed(run("data", "check", bad), 1)
    for verb in (
        ("data", "stats", bad),
        ("data", "split", bad, "--out", out),
        ("data", "export", bad, "--out", out),
    ):
        listed(run(*verb))
    one_line(run("data", "split", bench, "--out", out, "--like", bad))
    one_line(run("data", "build", "folder", bench / "Toy", "--out", out, "--knowledge", bad))
    assert not out.exists()


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize(
    "name",
    ["predictions.jsonl", "log_history.jsonl", "provenance.json", "config.yaml", "masks/box.jsonl"],
)
def test_run_folders_with_a_bad_file(run, tmp_path, name, content):
    (tmp_path / "predictions.jsonl").write_text(json.dumps(PREDICTION) + "\n")
    (tmp_path / "masks").mkdir()
    (tmp_path / name).write_bytes(CONTENTS[content])
    listed(run("report", tmp_path), 0)
    listed(run("score", tmp_path / "predictions.jsonl"), 0)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(run, tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps(PREDICTION) + "\n")
    path.chmod(0)
    assert "Permission denied" in one_line(run("score", path))


@pytest.mark.parametrize("place", ["below a file", "too long", "no such device"])
def test_places_that_cannot_be_written(run, bench, tmp_path, place):
    (tmp_path / "file").write_text("x")
    out = {
        "below a file": tmp_path / "file" / "x",
        "too long": tmp_path / ("x" * 300),
        "no such device": Path("/proc/none/x"),
    }[place]
    predictions = tmp_path / "predictions.jsonl"
    predictions.write_text(json.dumps(PREDICTION) + "\n")
    for verb in (
        ("score", predictions),
        ("report", tmp_path),
        ("reward", "replay", predictions),
        ("data", "export", bench),
        ("data", "stats", bench),
        ("data", "synth", "--train", 2, "--test", 1, "--size", 64),
        ("data", "build", "folder", bench / "Toy"),
    ):
        one_line(run(*verb, "--out", out))
    assert (tmp_path / "file").read_text() == "x"


@pytest.mark.parametrize("field", [*PREDICTION, "mask", "normal", "seen"])
def test_predictions_with_any_value(run, tmp_path, field):
    """A value is named with its line, or every verb that reads predictions can use it."""
    path = tmp_path / "predictions.jsonl"
    rows = [{**PREDICTION, "question_index": number} for number in range(len(VALUES))]
    rows = [{**row, field: value} for row, value in zip(rows, VALUES, strict=True)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for verb in (("score", path), ("report", tmp_path), ("reward", "replay", path)):
        listed(run(*verb), 0)
    usable = [PREDICTION | {"question_index": 99}, *filter(is_usable, rows)]
    path.write_text("".join(json.dumps(row) + "\n" for row in usable))
    assert run("score", path) == (0, "")
    assert run("report", tmp_path) == (0, "")


def is_usable(row: dict[str, Any]) -> bool:
    try:
        row_to_prediction(row)
    except InputError:
        return False
    return True


RECORD = ("image_path", "mask_path", "similar_templates", "boxes", "box_labels", "conversation")
QUESTION = ("Question", "Answer", "Options", "type", "annotation")


@pytest.mark.parametrize("field", [*RECORD, *QUESTION])
def test_records_with_any_value(run, bench, tmp_path, field):
    """A value is named with its record, or every verb that reads benchmarks can use it."""
    file = bench / "mmad.json"
    records = json.loads(file.read_text())
    for record, value in zip(records.values(), VALUES, strict=True):
        (record if field in RECORD else record["conversation"][0])[field] = value
    file.write_text(json.dumps(records))
    listed(run("data", "check", bench), 0, 1)
    listed(run("data", "stats", bench), 0)
    usable = {sample.image: records[sample.image] for sample in read_benchmark(bench)[0].samples}
    faulty = {line.split(":")[0] for line in read_benchmark(bench)[1]}
    file.write_text(json.dumps({key: usable[key] for key in usable if key not in faulty}))
    if usable.keys() - faulty:
        assert run("data", "stats", bench) == (0, "")
        assert run("data", "export", bench, "--out", tmp_path / "out") == (0, "")
        listed(run("data", "split", bench, "--out", tmp_path / "split"), 0)


def test_half_a_character_reaches_every_file(run, tmp_path):
    """JSON keeps it as its own escape; the page, which cannot, shows U+FFFD."""
    path = tmp_path / "predictions.jsonl"
    text = "<think>Half \ud83d here.</think><answer>B</answer>"
    path.write_text(json.dumps({**PREDICTION, "completion": text}) + "\n")
    assert run("score", path)[0] == 0 and run("report", tmp_path)[0] == 0
    assert run("reward", "replay", path, "--out", tmp_path / "scored.jsonl")[0] == 0
    scored = (tmp_path / "scored.jsonl").read_text(encoding="utf-8")
    assert r"Half \ud83d here" in scored and json.loads(scored)["completion"] == text
    assert "Half \ufffd here" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_terminal_that_cannot_show_a_text_is_no_failure(tmp_path):
    (tmp_path / "predictions.jsonl").write_text(json.dumps(PREDICTION) + "\n")
    done = subprocess.run(
        [sys.executable, "-m", "anomalyr1", "reward", "replay", tmp_path / "predictions.jsonl"],
        env={**os.environ, "PYTHONIOENCODING": "ascii"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Outcomes" in done.stdout


def test_configs_that_cannot_be_read(bad):
    try:
        config = load_config(bad)
    except InputError as error:
        assert "\n" not in str(error)
    except OSError as error:  # the command line makes a line of it
        assert error.filename is not None
    else:
        assert config == Config() and bad.read_bytes() in (b"", b"null")
