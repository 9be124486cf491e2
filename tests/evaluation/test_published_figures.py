"""Published figures: consistent in themselves, and shown where they fit the run."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from statistics import fmean

import pytest
from evaluation_data import DEFECT, boxes, letter, question, to_frame, write

from anomalyr1.data.checking.findings import MMAD_COUNTS
from anomalyr1.errors import InputError
from anomalyr1.evaluation.beside import published_box_rows, published_rows
from anomalyr1.evaluation.kept_settings import FIELDS
from anomalyr1.evaluation.published_figures import COLUMNS, Published, read_published
from anomalyr1.evaluation.report.page import write_report
from anomalyr1.evaluation.score import score
from anomalyr1.schema import GROUNDING, SUBTASKS
from anomalyr1.storage import write_json
from tests.commands import REPOSITORY, run_here

ROWS = read_published()
WHOLE = [row for row in ROWS if row.figures["Anomaly Detection"] is not None]


def by_model() -> dict[str, dict[str, Published]]:
    found: dict[str, dict[str, Published]] = {}
    for row in WHOLE:
        found.setdefault(row.model, {})[row.dataset] = row
    return found


def test_the_averages_are_those_of_the_subtasks_and_of_the_data_sets():
    """Figures of two digits: the mean of rounded ones is a hundredth off at most."""
    assert len(WHOLE) == 22 * 5
    for row in WHOLE:
        mean = fmean(row.figures[name] for name in SUBTASKS)
        assert row.figures["Average"] == pytest.approx(mean, abs=0.0101), row
    for model, tables in by_model().items():
        assert set(tables) == {*MMAD_COUNTS, "Average"}
        for column in (*SUBTASKS, "Average"):
            mean = fmean(tables[dataset].figures[column] for dataset in MMAD_COUNTS)
            assert tables["Average"].figures[column] == pytest.approx(mean, abs=0.0101), model


def test_detection_is_balanced_over_overkill_and_miss():
    told = [row for row in WHOLE if row.figures["Overkill"] is not None]
    assert len(told) == 18 * 5  # the others say nothing of it
    for row in told:
        costs = row.figures["Overkill"] + row.figures["Miss"]
        assert row.figures["Anomaly Detection"] == pytest.approx(100 - costs / 2, abs=0.0101), row


def test_the_figures_are_those_of_the_benchmark_s_own_files(real_data):
    from tests.metrics.published import published_tables

    tables = published_tables(real_data("mmad"))
    assert len(tables) == 22
    ours = sorted(
        tuple(tables["Average"].figures[name] for name in SUBTASKS)
        for tables in by_model().values()
    )
    theirs = sorted(tuple(table.cells["Average"][name] for name in SUBTASKS) for table in tables)
    for one, other in zip(ours, theirs, strict=True):
        assert one == pytest.approx(other, abs=0.00501)


def test_the_file_stands_where_the_data_page_says():
    file = REPOSITORY / "data" / "published" / "mmad.csv"
    assert read_published(file) == ROWS
    assert {row.arxiv for row in ROWS} == {"2410.09453", "2603.13779", "2505.22039"}
    assert {row.benchmark for row in ROWS} == {"MMAD", "MMAD-BBox"}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"Average": "101"}, "line 2: figures.Average"),
        ({"arxiv": "x", "shots": "-1"}, "line 2: arxiv, shots"),
        ({"dataset": "Cars"}, "line 2: dataset"),
        ({"model": ""}, "line 2: model"),
        ({"reasoning": "maybe"}, "line 2: reasoning"),
    ],
)
def test_a_broken_row_is_named(tmp_path, change, named):
    good = dict.fromkeys(COLUMNS, "") | {
        **{"model": "m", "source": "s", "arxiv": "2410.09453", "benchmark": "MMAD"},
        "dataset": "VisA",
    }
    file = tmp_path / "it.csv"
    lines = [",".join(COLUMNS), ",".join({**good, **change}.values())]
    file.write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError, match=named):
        read_published(file)
    file.write_text("\n".join([lines[0], *[",".join(good.values())] * 2]) + "\n")
    with pytest.raises(InputError, match="line 3: m on VisA a second time"):
        read_published(file)
    file.write_text("model\n")
    with pytest.raises(InputError, match="found model"):
        read_published(file)


def mmad_run(folder: Path, datasets: list[str], subtasks: tuple[str, ...] = SUBTASKS) -> Path:
    """A question of each subtask about each of four images a data set."""
    asked = [
        question(str(n), i, letter("A"), type=kind, normal=n % 2 == 0, dataset=dataset)
        for dataset, n in product(datasets, range(4))
        for i, kind in enumerate(subtasks)
    ]
    return write(folder / "predictions.jsonl", asked)


def test_a_run_on_all_of_mmad_has_every_model_beside_it(tmp_path):
    rows = published_rows(score(mmad_run(tmp_path, list(MMAD_COUNTS))))
    assert len(rows) == 22 + 5
    names = [row.name for row in rows]
    assert names[:2] == ["Human expert", "AD-Copilot-Thinking 7B"]  # best first
    assert rows[names.index("OmniAD")].cells["Average"] == 79.1
    qwen = rows[names.index("Qwen2.5-VL-7B-Instruct")]
    average = by_model()["Qwen2.5-VL-7B-Instruct"]["Average"].figures
    assert qwen.cells == {name: average[name] for name in qwen.cells}
    assert set(qwen.cells) == {*SUBTASKS, "Average", "Overkill", "Miss"}
    assert qwen.cells["Average"] == 72.19 and qwen.source == "MMAD repository, arXiv 2410.09453"
    assert qwen.unlike[0] == "questions (39,672 and 112)"
    assert "shots (1 and not known)" in qwen.unlike


def test_a_run_on_one_data_set_is_held_against_that_one(tmp_path):
    rows = published_rows(score(mmad_run(tmp_path, ["VisA"], SUBTASKS[:2])))
    assert len(rows) == 22  # averages over all four do not fit
    [qwen] = [row for row in rows if row.name == "Qwen2.5-VL-7B-Instruct"]
    visa = by_model()["Qwen2.5-VL-7B-Instruct"]["VisA"].figures
    assert qwen.cells == {n: visa[n] for n in (*SUBTASKS[:2], "Overkill", "Miss")}  # no average
    assert published_rows(score(write(tmp_path / "p.jsonl", [question("1", 0, letter("A"))]))) == []


def test_settings_that_differ_are_marked_in_the_verb_and_on_the_page(tmp_path):
    file = mmad_run(tmp_path, list(MMAD_COUNTS))
    prompts = {"choice": "<think> </think> {question}"}
    card = {**dict.fromkeys(FIELDS), "references": 1, "template": "choice", "prompts": prompts}
    write_json(tmp_path / "predictions.settings.json", {**card, "knowledge_sha256": "ab"})
    [qwen] = [row for row in published_rows(score(file)) if row.name.startswith("Qwen2.5-VL-7B")]
    assert qwen.unlike[1:] == (
        "template (mmad and choice)", "reasoning (no and yes)", "domain knowledge (no and yes)",
    )  # fmt: skip
    said = run_here("score", file)
    assert "settings unlike" in said and "Human expert" in said
    # Each row stands beside the figures that were counted as it was.
    strict, compat = said.index("Beside it, percent, strict"), said.index("percent, compat")
    assert strict < said.index("majority letter") < compat < said.index("Human expert")
    assert "majority letter" not in run_here("score", file, "--compat")
    page = write_report([tmp_path]).read_text()
    assert "reasoning (no and yes)" in page and "AD-Copilot-Thinking 7B" in page
    prompts = {"mmad": "{question}"}
    card = {**card, "template": "mmad", "prompts": prompts}
    write_json(tmp_path / "predictions.settings.json", card)
    rows = published_rows(score(file))
    [qwen] = [row for row in rows if row.name.startswith("Qwen2.5-VL-7B")]
    assert qwen.unlike == ("questions (39,672 and 112)",)


def boxed_run(folder: Path, datasets: list[str]) -> Path:
    """Two defects a data set: the first found to the pixel, the other not at all."""
    asked = [
        question(str(n), 0, said, type=GROUNDING, dataset=dataset)
        for dataset in datasets
        for n, said in enumerate((boxes(to_frame(DEFECT)), boxes()))
    ]
    return write(folder / "predictions.jsonl", asked[:-1])  # all of the last one's is found


def test_boxes_have_those_of_mmad_bbox_beside_them(tmp_path):
    file = boxed_run(tmp_path, list(MMAD_COUNTS))
    metrics = score(file)
    best, qwen = published_box_rows(metrics)
    assert list(best.cells.values()) == [25.3, 55.2, 44.8, 35.9]
    assert list(qwen.cells.values()) == [10.5, 28.4, 18.8, 13.4]
    assert best.source == "AD-Copilot paper, arXiv 2603.13779" and best.settings["shots"] is None
    assert best.unlike == (
        "gold boxes (MMAD-BBox's and the benchmark's)", "means (not told and data sets)",
        "shots (not told and not known)", "template (not told and not known)",
        "reasoning (not told and not known)",
    )  # fmt: skip
    page = write_report([tmp_path]).read_text()
    # Found are 1 of 2, 1 of 2, 1 of 2 and 1 of 1: a mean over data sets of 62.5, over images 57.1.
    assert "<td>62.5</td><td>62.5</td><td>62.5</td><td>62.5</td>" in page and "57.1" in page
    assert "Published boxes" in page and "Best of the AD-Copilot paper" in page
    said = run_here("score", file)
    assert "MMAD-BBox" in said and "62.5" in said and "gold boxes" in said
    assert published_box_rows(score(boxed_run(tmp_path / "b", ["VisA", "GoodsAD"]))) == []
    write_json(tmp_path / "predictions.settings.json", {"limit": {"images": 7}})
    assert published_box_rows(score(file))[0].unlike[-1] == "images (all and a part)"
