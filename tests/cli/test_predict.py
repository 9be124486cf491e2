"""`anomalyr1 predict` as a person types it: what it prints, writes and ends with."""

from __future__ import annotations

import json
import re
import shutil
import weakref
from pathlib import Path

import pytest
from commands import command, kill_when, run_here
from PIL import Image, ImageDraw

from anomalyr1.cli.inspection_summary import Summary

POLICY = Path(__file__).parents[2] / "data/tiny-policy"
OPTIONS = ["--policy", POLICY, "--segmenter", "box", "--max-new-tokens", "96"]


@pytest.fixture(scope="module")
def parts(tmp_path_factory) -> Path:
    """A good part and a bad one."""
    folder = tmp_path_factory.mktemp("parts")
    for name in ("good", "bad"):
        image = Image.new("RGB", (112, 112), (150, 150, 160))
        if name == "bad":
            ImageDraw.Draw(image).ellipse((40, 30, 80, 70), "black")
        image.save(folder / f"{name}.png")
    return folder


def test_a_folder_is_told_in_a_table_and_kept(parts, tmp_path):
    out = tmp_path / "out"
    said = run_here("predict", parts, *OPTIONS, "--reference", parts / "good.png", "--out", out)
    assert "2 images: 1 anomalous, 1 normal" in said
    assert said.index("bad.png") < said.index("good.png")
    rows = [json.loads(line) for line in (out / "inspections.jsonl").read_text().splitlines()]
    assert {row["verdict"] for row in rows} == {"normal", "anomalous"}
    assert all((out / row["overlay"]).is_file() for row in rows)
    # The same again costs nothing, and ends as asked.
    again = ["--reference", parts / "good.png", "--out", out, "--fail-on", "anomalous"]
    said = run_here("predict", parts, *OPTIONS, *again, status=1)
    assert "2 images: 1 anomalous, 1 normal" in said
    assert len((out / "inspections.jsonl").read_text().splitlines()) == 2
    said = run_here("predict", parts, *OPTIONS, "--out", out, status=2)
    assert "references" in said and "choose another folder for --out" in said


def test_lines_of_json_and_a_broken_image(parts, tmp_path):
    broken = tmp_path / "broken\n.png"
    broken.write_bytes(b"GIF89a")
    thresholds = ["--threshold", "0", "--knowledge", "Lids are round.", "--json"]
    thresholds += ["--min-pixels", "784", "--max-pixels", "12544"]
    said = run_here("predict", broken, f"{parts}/g*.png", *OPTIONS, *thresholds, status=2)
    rows = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert "not inspected" in said and len(rows) == 2
    assert rows[0]["image"] == str(broken) and "does not decode" in rows[0]["error"]
    assert rows[1]["verdict"] == "anomalous" and rows[1]["decided_by"] == "threshold"
    assert rows[1]["settings"]["knowledge_sha256"]
    assert rows[1]["settings"]["pixels"] == [784, 12544]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "expected images, or a folder to --watch"),
        (["nowhere.png"], "none at nowhere.png"),
        (["--watch", "nowhere"], "give a folder that is there"),
        (["--watch", "data", "data"], "give a folder that is there, alone"),
        (["data/tiny-policy/config.json", "--threshold", "high"], "saved or none, found 'high'"),
        (["data/tiny-policy/config.json", "--threshold", "2"], "threshold from 0 to 1"),
        (["data/tiny-policy/config.json", "--segmenter", "knife"], "segmenter out of"),
        (["data/tiny-policy/config.json", "--reference", "no.png"], "no.png, found no such file"),
        (["data/tiny-policy/config.json", "--defect-type", "hole"], "at least two"),
        (["data/tiny-policy/config.json", "--question", "<|im_end|>"], "without special tokens"),
    ],
)
def test_a_mistake_is_one_line_before_any_work(arguments, said):
    text = " ".join(run_here("predict", *OPTIONS, *arguments, status=2).split())
    assert "error:" in text and said in text


class Row(dict):
    """One that a weak reference can be held to."""

    __hash__ = object.__hash__


def test_a_summary_of_many_keeps_the_rows_of_its_table_alone(capsys):
    rest = {"probability": None, "boxes": None, "defect_type": None, "seconds": 0.5}
    rest["settings"] = {"weigh": "reasoning"}
    summary, rows = Summary(), weakref.WeakSet()
    for number in range(500):
        verdict = "anomalous" if number % 50 == 49 else "normal"
        row = Row(image=f"{number:03d}.png", verdict=verdict, **rest)
        rows.add(row)
        summary.add(row)
    summary.add({"error": "does not decode"})
    del row
    assert len(rows) == 40
    summary.show()
    said = capsys.readouterr().out
    shown = re.findall(r"\d+\.png", said)
    assert shown[:11] == [f"{n:03d}.png" for n in (*range(49, 500, 50), 0)] and len(shown) == 40
    assert "and 460 more\n501 images: 10 anomalous, 490 normal, 1 not inspected\n" in said


def test_a_summary_has_the_probability_that_decided(capsys):
    row = {"boxes": None, "defect_type": None, "seconds": 0.5, "probability": 0.91}
    row |= {"probability_at_once": 0.25, "settings": {"weigh": "at_once"}}
    summary = Summary()
    summary.add({"image": "a.png", "verdict": "normal", **row})
    summary.show()
    said = capsys.readouterr().out
    assert "0.250" in said and "0.910" not in said


@pytest.mark.slow
def test_a_watch_that_is_killed_goes_on_without_loss_or_double(parts, tmp_path):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for number in range(12):
        shutil.copy(parts / "bad.png", folder / f"{number}.png")
    watch = command(
        "predict", "--watch", folder, *OPTIONS, "--out", out, "--interval", "0.1",
        "--batch-size", "2", "--idle", "1",
    )  # fmt: skip
    lines = out / "inspections.jsonl"
    for done in (1, 4, 7):
        kill_when(watch, lambda done=done: lines.exists() and lines.read_text().count("\n") >= done)
    run_here(*watch[3:])
    rows = [json.loads(line) for line in lines.read_text().splitlines()]
    assert len(rows) == 12 == len({row["image"] for row in rows})
    assert len(list((out / "overlays").iterdir())) == 12
