"""Benchmarks, configs, predictions and masks against the reader: read rightly, or one short line.

`tests/cli/test_bad_files.py` has files that cannot be read at all, and any value in any field.
"""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest
from commands import run_here
from tiny_runs import write_config

from anomalyr1.config import load_config
from anomalyr1.errors import InputError

SECONDS, CHARACTERS = 20, 6_000
PREDICTION = {
    "image": "Toy/tile/test/spot/1.png", "question_index": 0, "options": {"A": "Yes.", "B": "No."},
    "question_type": "Anomaly Detection", "answer": "B", "completion": "<answer>B</answer>",
    "size": [80, 60], "gold_boxes": [[1, 2, 3, 4]], "gold_labels": ["dent"],
}  # fmt: skip
MASKS = {
    "image": "Toy/tile/test/spot/1.png", "size": [8, 6], "target": None, "target_from": None,
    "masks": {"predicted": None, "gold_boxes": None},
}  # fmt: skip
# Stands for a value of a record; written as JSON is not able to.
PLACE = '"@@"'
VALUES = {
    "a key twice": '{"a": 1, "a": 2}',
    "deep": "[" * 300 + "]" * 300,
    "deeper": '{"a":' * 960 + "1" + "}" * 960,
    "deepest": "[" * 100_000 + "]" * 100_000,
    "1 MB": json.dumps("x" * 1_000_000),
    "half a character": '"\\ud800"',
    "NaN": "NaN",
    "infinity": "-Infinity",
    "beyond float": "-1e999",
    "4000 digits": "9" * 4_000,
    "out of the root": '"../../../../etc/passwd"',
    "absolute": '"/etc/passwd"',
    "of Windows": '"C:\\\\Windows\\\\win.ini"',
    "an escape": '"\\u001b[2J\\u202e"',
    "a line break": '"a\\nerror: all is well"',
}
LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n"
    for before, name in zip("abcdefghijk", "bcdefghijkl", strict=True)
)
YAML = {
    "aliases of aliases": (LAUGHS, "aliases that stand for more than 100,000 values"),
    "an alias inside itself": ("a: &a [*a]\n", "inside themselves"),
    "code": ("a: !!python/object/apply:os.system ['touch hacked']\n", "could not determine"),
    "deep": (f"a: {'[' * 5_000}{']' * 5_000}\n", "nested too deeply"),
    "a key twice": ("run_dir: x\nrun_dir: y\n", "duplicate key run_dir"),
    "half a character": ('run_dir: "\\uD800"\n', "expected a text"),
    "itself as base": ("base: config.yaml\n", "inheriting itself"),
    "another's file as base": ("base: /dev/zero\n", "found none"),
}


def crossed(*keys: str) -> list[object]:
    """Every value under every key; in every run each value once and each key thrice."""
    pairs = [(n + k, name, key) for n, name in enumerate(VALUES) for k, key in enumerate(keys)]
    slow = pytest.mark.slow
    return [
        pytest.param(name, key, marks=() if number % len(keys) == 0 else slow)
        for number, name, key in pairs
    ]


def refused(*arguments: object, status: int = 2) -> str:
    """What a verb says of a mistake: short, legible, soon."""
    started = time.process_time()
    said = run_here(*arguments, status=status)
    assert time.process_time() - started < SECONDS
    assert len(said) < CHARACTERS and "Traceback" not in said
    assert said.replace("\n", "").isprintable()
    return said


@pytest.mark.parametrize("name", YAML)
def test_configs(tmp_path, name):
    text, found = YAML[name]
    file = tmp_path / "config.yaml"
    file.write_text(text)
    said = refused("train", file)
    assert found in said and said.count("\n") == 1 and said.startswith("error: ")
    if "base" not in name:
        with pytest.raises(InputError):
            load_config(file)
    assert not Path("hacked").exists()


def test_a_long_value_of_a_config_is_told_shortly(tmp_path):
    said = refused("train", write_config(tmp_path / "c.yaml", seed="x" * 500_000))
    assert "seed: expected" in said and "characters ...]" in said and "correct them" in said


@pytest.mark.parametrize(
    ("name", "key"), crossed("image_path", "mask_path", "similar_templates", "boxes", "extra")
)
def test_benchmarks(tmp_path, toy_benchmark, name, key):
    """Each verb that reads one reads it rightly, or says what is wrong."""
    bench = tmp_path / "bench"
    shutil.copytree(toy_benchmark, bench)
    records = json.loads((bench / "mmad.json").read_text())
    record = next(iter(records.values()))
    record[key] = [PLACE[1:-1]] if key == "similar_templates" else PLACE[1:-1]
    (bench / "mmad.json").write_text(json.dumps(records).replace(PLACE, VALUES[name]))
    for verb in (("stats",), ("export", "--out", tmp_path / "export")):
        if key == "extra" and name in ("1 MB", "4000 digits", "deep", "out of the root"):
            run_here("data", verb[0], bench, *verb[1:])  # other readers' keys are carried along
        else:
            said = _either("data", verb[0], bench, *verb[1:])
            assert not said or said.startswith("error: ")


@pytest.mark.parametrize("mark", ["", "bom", "utf-16"])
@pytest.mark.parametrize("line_break", ["\n", "\r\n"])
def test_marks_and_line_breaks_change_nothing(tmp_path, mark, line_break):
    text = line_break.join([json.dumps(PREDICTION), "", json.dumps(PREDICTION | {"image": "b"})])
    encodings = {"": "utf-8", "bom": "utf-8-sig", "utf-16": "utf-16"}
    file = tmp_path / "predictions.jsonl"
    file.write_bytes(text.encode(encodings[mark]))
    run_here("score", file)
    assert json.loads((tmp_path / "metrics.json").read_text())["outcomes"]["questions"] == 2
    config = tmp_path / "config.yaml"
    config.write_bytes(f"seed: 3{line_break}run_dir: x{line_break}".encode(encodings[mark]))
    assert load_config(config).seed == 3


@pytest.mark.parametrize(
    ("name", "key"), crossed("image", "completion", "size", "gold_boxes", "extra")
)
def test_predictions(tmp_path, name, key):
    """Read by two verbs, and the page stays a page."""
    file = tmp_path / "predictions.jsonl"
    rows = [PREDICTION, PREDICTION | {"question_index": 1, key: PLACE[1:-1]}]
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows).replace(PLACE, VALUES[name]))
    for verb in (("score", file), ("report", tmp_path)):
        said = _either(*verb)
        assert not said or said.startswith("error: ")
    texts = VALUES[name].startswith('"') and name != "a key twice"
    assert (tmp_path / "metrics.json").exists() or not (texts and key in ("completion", "extra"))


@pytest.mark.parametrize(("name", "key"), crossed("image", "size", "target", "masks"))
def test_masks(tmp_path, name, key):
    (tmp_path / "predictions.jsonl").write_text(json.dumps(PREDICTION) + "\n")
    (tmp_path / "masks").mkdir()
    row = json.dumps(MASKS | {key: PLACE[1:-1]}).replace(PLACE, VALUES[name])
    (tmp_path / "masks/box.jsonl").write_text(row + "\n")
    for verb in (("score", tmp_path / "predictions.jsonl"), ("report", tmp_path)):
        said = _either(*verb)
        assert not said or said.startswith("error: ")


@pytest.mark.slow
@pytest.mark.parametrize("key", ["image", "completion", "question", "extra"])
def test_ten_megabytes_in_one_value(tmp_path, key):
    file = tmp_path / "predictions.jsonl"
    rows = [PREDICTION, PREDICTION | {"question_index": 1, key: "x" * 10_000_000}]
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    for verb in (("score", file), ("report", tmp_path)):
        assert _either(*verb) == ""
    assert (tmp_path / "report.html").stat().st_size < 60_000_000


def _either(*arguments: object) -> str:
    """What a verb says where it refuses; nothing where it ends well."""
    try:
        run_here(*arguments)
    except AssertionError:
        return refused(*arguments)
    return ""
