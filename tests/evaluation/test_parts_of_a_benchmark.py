"""Limits and shards: no average over cells they leave empty, and a whole of like parts alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from commands import run_here
from evaluation_data import letter, question, write
from tiny_runs import write_config

from anomalyr1.config import Config, EvalConfig, PolicyConfig
from anomalyr1.errors import InputError
from anomalyr1.evaluation.pipeline import evaluate
from anomalyr1.evaluation.report.page import write_report
from anomalyr1.evaluation.score import score
from anomalyr1.evaluation.shard_folders import gather_shards, in_own_folder
from anomalyr1.metrics.bootstrap import RESAMPLES
from tests.evaluation.report.test_report_page import Page

TYPE = "Object Details"
WHOLE = [  # two data sets, of which each has both sides and one more cell
    question(name, index, letter("A"), type=kind, normal=normal, dataset=dataset)
    for dataset in ("One", "Two")
    for name, normal in (("0", False), ("1", True))
    for index, kind in enumerate(("Anomaly Detection", TYPE))
]
CELLS = [[d, cell] for d in ("One", "Two") for cell in ("Object Analysis", "anomalous", "normal")]


def scored(folder: Path, kept, cells=CELLS) -> dict:
    folder.mkdir(exist_ok=True)
    (folder / "predictions.identity.json").write_text(json.dumps({"cells": cells}))
    (folder / "predictions.settings.json").write_text("{}")
    return score(write(folder / "predictions.jsonl", kept), resamples=20)


def test_a_part_that_fills_every_cell_has_its_averages(tmp_path):
    metrics = scored(tmp_path, WHOLE)
    assert "empty_cells" not in metrics and metrics["macro"]["strict"] is not None
    alone = score(write(tmp_path / "alone/predictions.jsonl", WHOLE), resamples=20)
    for part in (metrics, alone):
        part.pop("predictions")
    assert metrics == alone


def test_averages_over_an_empty_cell_are_null_and_the_others_stay(tmp_path):
    gone = ("Two", True, "Anomaly Detection")
    kept = [p for p in WHOLE if (p.dataset, p.is_normal, p.question_type) != gone]
    whole, part = scored(tmp_path / "whole", WHOLE), scored(tmp_path / "part", kept)
    assert part["empty_cells"] == [["Two", "normal"]]
    for accounting in ("strict", "compat"):
        table, before = part["mmad"][accounting], whole["mmad"][accounting]
        assert table["One"] == before["One"]  # untouched, its Average too
        assert table["Two"]["Anomaly Detection"] is table["Two"]["Average"] is None
        assert table["Two"]["Object Analysis"] == before["Two"]["Object Analysis"]
        assert table["Average"]["Object Analysis"] == before["Average"]["Object Analysis"]
        assert table["Average"]["Anomaly Detection"] is table["Average"]["Average"] is None
        assert part["macro"][accounting] is None
        assert part["intervals"]["macro"][accounting] is None
        assert part["overkill_miss"][accounting]["Two"]["Overkill"] is None
        assert part["overkill_miss"][accounting]["Two"]["Miss"] is not None
        assert part["micro"][accounting] is not None
    out = run_here("score", tmp_path / "part/predictions.jsonl")
    assert "no macro average: this part has no question for Two normal" in out


def test_what_a_part_measured_is_shown_beside_why_the_rest_is_not(tmp_path):
    kept = [
        question("0", 0, letter("A"), dataset="GoodsAD"),
        question("1", 0, letter("A"), dataset="VisA"),
        question("2", 0, letter("A"), dataset="VisA", normal=True),  # wrong
        question("1", 1, letter("A"), dataset="VisA", type=TYPE),
    ]
    cells = [["GoodsAD", "anomalous"], ["GoodsAD", "normal"]]
    metrics = scored(tmp_path, kept, cells)
    assert metrics["mmad"]["strict"]["VisA"]["Anomaly Detection"] == 50
    assert metrics["mmad"]["strict"]["VisA"]["Average"] == 75
    told = "no macro average: this part has no question for GoodsAD normal"
    said = run_here("score", tmp_path / "predictions.jsonl")
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in said.splitlines()]
    assert ["Anomaly Detection", "-", "50.0", "-"] in rows and told in said
    assert ["Average", "-", "75.0", "-"] in rows
    run_here("report", tmp_path)
    page = Page((tmp_path / "report.html").read_text("utf-8"))
    columns = ("Anomaly Detection", "Object Analysis", "Average", "Overkill", "Miss")
    assert "".join((*columns, "GoodsAD", "–" * 4, "0.0", "VisA", "50.0")) in page.text
    assert "75.0" in page.text and page.text.count(told) == 1
    assert [note["class"] for note in page.all("p", "warning")] == ["note warning"]


@pytest.mark.parametrize("shard", ["0/2", "3/2", "1", "a/b", "1/2/3", "-1/2"])
def test_a_shard_that_is_none_is_refused(shard):
    with pytest.raises(InputError, match="expected a shard like 1/4"):
        in_own_folder(Config(eval=EvalConfig(shard=shard)))


@pytest.fixture(scope="module")
def shards(tmp_path_factory, tiny_policy, toy_benchmark) -> Path:
    """A folder with a whole evaluation and the same one in three shards."""
    folder = tmp_path_factory.mktemp("shards")
    config = write_config(
        folder / "eval.yaml",
        run_dir=folder / "whole",
        policy={"path": tiny_policy, "max_pixels": 3136, "min_pixels": 3136},
        eval={"benchmark": toy_benchmark, "max_new_tokens": 6, "gallery": 0, "bootstrap": 20},
        segmentation={"kind": "box"},
    )
    run_here("eval", config, "--limit", 7)
    for number in (1, 2, 3):
        run_dir = f"run_dir={folder / 'parts'}"
        said = run_here("eval", config, run_dir, "--limit", 7, "--shard", f"{number}/3")
        assert f"gather {folder}/parts/shard-*-of-3 --out {folder}/parts" in said.replace("\n", "")
    return folder


def parts(folder: Path) -> list[Path]:
    return sorted((folder / "parts").iterdir())


def test_shards_gathered_are_the_evaluation_of_one(shards, tmp_path):
    assert [path.name for path in parts(shards)] == [f"shard-{n}-of-3" for n in (1, 2, 3)]
    run_here("gather", *reversed(parts(shards)), "--out", tmp_path / "run")
    assert [*map(json.loads, (tmp_path / "run/predictions.jsonl").open())] == [
        *map(json.loads, (shards / "whole/predictions.jsonl").open())
    ]
    ours, whole = (
        json.loads((folder / "metrics.json").read_text())
        for folder in (tmp_path / "run", shards / "whole")
    )
    assert set(ours["localization"]["masks"]) == set(whole["localization"]["masks"])
    assert ours["mmad"] == whole["mmad"] and ours["predictions"] == whole["predictions"]
    assert ours["intervals"] == whole["intervals"]  # of as many resamples
    name = "predictions.identity.json"
    assert (tmp_path / "run" / name).read_text() == (shards / "whole" / name).read_text()
    run_here("report", tmp_path / "run")


def test_images_without_an_asked_question_do_not_change_the_order(shards, toy_benchmark, tmp_path):
    """MMAD's own accounting drops the neighbour of what cannot be read: order is part of it."""
    shutil.copytree(toy_benchmark, tmp_path / "toy")
    records = json.loads((tmp_path / "toy/mmad.json").read_text())
    second = [*records.values()][1]
    second["conversation"] = second["conversation"][1:]  # not asked for a defect
    (tmp_path / "toy/mmad.json").write_text(json.dumps(records))
    asked = [
        f"eval.benchmark={tmp_path / 'toy'}", 'eval.question_types=["Anomaly Detection"]',
    ]  # fmt: skip
    run_here("eval", shards / "eval.yaml", f"run_dir={tmp_path / 'whole'}", *asked)
    for number in (1, 2):
        shard = ("--shard", f"{number}/2")
        run_here("eval", shards / "eval.yaml", f"run_dir={tmp_path / 'run'}", *asked, *shard)
    run_here("gather", *sorted((tmp_path / "run").iterdir()), "--out", tmp_path / "run")
    whole, ours = (
        [json.loads(line)["image"] for line in (tmp_path / name / "predictions.jsonl").open()]
        for name in ("whole", "run")
    )
    assert ours == whole == [*list(records)[:1], *list(records)[2:]]


def test_a_gathering_that_was_broken_off_goes_on_and_other_predictions_are_refused(
    shards, tmp_path
):
    whole = {path.name: path.read_bytes() for path in gathered(shards, tmp_path).iterdir()}
    order = ["predictions.jsonl", "provenance.json", "predictions.settings.json"]
    for number in range(1, len(order) + 1):  # killed before its next file
        for name in {*whole} - {*order[:number]}:
            (tmp_path / "run" / name).unlink()
        assert {p.name: p.read_bytes() for p in gathered(shards, tmp_path).iterdir()} == whole
    path = tmp_path / "run" / "provenance.json"
    path.write_text("{}")  # of what was done in the folder since then
    gathered(shards, tmp_path)
    assert path.read_text() == "{}"
    path = tmp_path / "run" / "predictions.jsonl"
    path.write_text("".join(path.open().readlines()[1:]))
    with pytest.raises(InputError, match="but those of these shards, found others"):
        gathered(shards, tmp_path)


def gathered(shards: Path, tmp_path: Path) -> Path:
    gather_shards(parts(shards), tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "masks", ignore_errors=True)
    return tmp_path / "run"


def copied(shards: Path, tmp_path: Path) -> list[Path]:
    shutil.copytree(shards / "parts", tmp_path / "parts")
    return parts(tmp_path)


def change_origin(folder: Path, **values) -> None:
    path = folder / "predictions.identity.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_unlike_shards_are_refused_by_name(shards, tmp_path):
    one, two, three = copied(shards, tmp_path)

    def refused(match: str, *folders: Path) -> None:
        with pytest.raises(InputError, match=match):
            gather_shards(folders, tmp_path / "run")
        assert not (tmp_path / "run").exists()

    refused("no shard 3/3", one, two)
    refused("shard 1/3 2 times", one, two, three, one)
    refused("found a whole evaluation", one, two, shards / "whole")
    refused("found no predictions.identity.json", one, two, tmp_path)
    lines = (two / "predictions.jsonl").read_text().splitlines(keepends=True)
    (two / "predictions.jsonl").write_text("".join(lines[:-1]))
    refused(f"{len(lines) - 1} of {len(lines)} questions answered in .*shard-2", one, two, three)
    first = (one / "predictions.jsonl").read_text().splitlines(keepends=True)[0]
    (two / "predictions.jsonl").write_text("".join([*lines[:-1], first]))
    refused("question 0 of .* in .*shard-1-of-3 and in .*shard-2-of-3", one, two, three)
    change_origin(three, benchmark="another", prompt={})
    refused("shard-1-of-3 and .*shard-3-of-3, which differ in benchmark, prompt", one, two, three)


def test_a_broken_last_line_is_cut_off_and_told(shards, tmp_path, capsys):
    whole = tmp_path / "whole"
    shutil.copytree(shards / "whole", whole)
    path = whole / "predictions.jsonl"
    before = path.read_text()
    for broken in ('{"image": "torn', "\0\0\0\n", "\0\0"):
        path.write_text(before + broken)
        said = run_here("eval", shards / "eval.yaml", f"run_dir={whole}", "--limit", 7)
        assert f"cut off a broken last line of {len(broken)} bytes" in said.replace("\n", " ")
        assert path.read_text() == before


@pytest.mark.parametrize("bootstrap", [None, 30])
def test_an_evaluation_and_its_scoring_draw_alike(bootstrap, tmp_path, tiny_policy, toy_benchmark):
    config = Config(
        run_dir=str(tmp_path),
        policy=PolicyConfig(path=str(tiny_policy), max_pixels=3136),
        eval=EvalConfig(benchmark=str(toy_benchmark), max_new_tokens=6, bootstrap=bootstrap),
    )
    page = evaluate(config).read_text()
    metrics = (tmp_path / "metrics.json").read_text()
    drawn = json.loads(metrics)["intervals"]["resamples"]
    assert drawn == bootstrap or (bootstrap is None and drawn == RESAMPLES)
    score(tmp_path / "predictions.jsonl")
    assert (tmp_path / "metrics.json").read_text() == metrics
    write_report([tmp_path])
    for text in (page, (tmp_path / "report.html").read_text()):
        assert f"{drawn} resamples" in text
