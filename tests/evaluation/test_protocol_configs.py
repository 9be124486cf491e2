"""Every protocol of configs/eval is read as it stands, and runs on drawn images."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from commands import REPOSITORY
from pictures import save
from robustmad_form import write_robustmad

from anomalyr1.config import load_config
from anomalyr1.data.checking.check import check_benchmark
from anomalyr1.evaluation.pipeline import evaluate
from anomalyr1.schema import PAIRWISE, ROBUSTMAD_TYPES

CONFIGS = sorted((REPOSITORY / "configs/eval").glob("*.yaml"))
PROTOCOLS = [path for path in CONFIGS if not path.stem.endswith("_cpu")]


def is_its_base_on_other_data(path: Path) -> bool:
    written = yaml.safe_load(path.read_text())
    there = {"base", "run_dir", "eval"} == written.keys()
    return there and written["eval"].keys() == {"benchmark"}


OF_A_BASE = [path for path in PROTOCOLS if is_its_base_on_other_data(path)]
TEMPLATES = {"mmad_1shot_reasoned": "choice", "mmad_bbox": "grounding"}
BARE = ("mmad", "robustmad")  # templates that ask for no reasoning


# Where the keys of IAD-R1's files say that images are; those of MVTec and VisA were not seen.
LAYOUTS = {
    "MPDD": "MPDD/bracket/test/{}/{:03d}.png",
    "SDD": "SDD/test/{}/{}.png",
    "DAGM": "DAGM/Class2/{}/{:04d}.PNG",
    "DTD": "DTD/Blotchy_099/test/{}/{:03d}.png",
    "MVTec": "MVTec/bottle/test/{}/{:03d}.png",
    "VisA": "VisA/candle/test/{}/{:03d}.JPG",
}
TEMPLATE = "DTD/Blotchy_099/template/000.png"


@pytest.fixture(scope="module")
def iad_r1(tmp_path_factory) -> Path:
    """Four images of each set in the form of IAD-R1's files: whole keys, mostly no templates."""
    root = tmp_path_factory.mktemp("iad-r1")
    save(root / TEMPLATE, np.full((56, 56, 3), 30, dtype=np.uint8))
    for name, layout in LAYOUTS.items():
        records = {}
        for number in range(4):
            key = layout.format("good" if number % 2 else "bad", number)
            save(root / key, np.full((56, 56, 3), 60 * number, dtype=np.uint8))
            records[key] = {
                "image_path": key,
                "conversation": [
                    {
                        "Question": "Are there any defects in the query image?",
                        "Answer": "B" if number % 2 else "A",
                        "Options": {"A": "Yes.", "B": "No."},
                        "type": "Anomaly Detection",
                    }
                ],
                "similar_templates": [TEMPLATE] if name == "DTD" else [],
                "random_templates": [TEMPLATE] if name == "DTD" else [],
            }
        (root / f"test_{name}_format.json").write_text(json.dumps(records))
    return root


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_files_of_iad_r1_pass_the_check(iad_r1, name):
    findings = check_benchmark(iad_r1 / f"test_{name}_format.json")
    assert [finding for finding in findings if finding.level == "error"] == []


@pytest.fixture(scope="module")
def robustmad(tmp_path_factory) -> Path:
    return write_robustmad(tmp_path_factory.mktemp("robustmad"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_header_is_the_command(path):
    config = load_config(path)
    lines = path.read_text().splitlines()
    named = next(line for line in lines if line.startswith("run_dir:"))
    assert lines[0].startswith(f"# anomalyr1 eval configs/eval/{path.name}")
    assert lines[1].startswith("# ") and named == f"run_dir: {config.run_dir}"


@pytest.mark.parametrize("path", OF_A_BASE, ids=lambda path: path.stem)
def test_a_protocol_on_other_data_asks_as_its_base_does(path):
    """So that the base alone needs to run."""
    base = load_config(path.with_name(yaml.safe_load(path.read_text())["base"]))
    own = load_config(path)
    assert own.run_dir != base.run_dir and own.eval.benchmark != base.eval.benchmark
    asked = replace(base.eval, benchmark=own.eval.benchmark)
    assert own == replace(base, run_dir=own.run_dir, eval=asked)


@pytest.mark.parametrize(
    "path",
    [path for path in PROTOCOLS if path not in OF_A_BASE],
    ids=lambda path: path.stem,
)
def test_a_protocol_runs_on_drawn_images(
    path, tmp_path, toy_benchmark, tiny_policy, iad_r1, robustmad
):
    knowledge = tmp_path / "knowledge.json"
    knowledge.write_text(json.dumps({"Toy": {"tile": {"good": "Even. ", "spot": "Dark."}}}))
    of_iad_r1, of_robustmad = (path.stem.startswith(name) for name in ("iad_r1", "robustmad"))
    benchmark = robustmad if of_robustmad else toy_benchmark
    shipped = load_config(path)
    if of_iad_r1:
        benchmark = iad_r1 / Path(shipped.eval.benchmark).name
    overrides = [
        f"run_dir={tmp_path / 'run'}",
        f"policy.path={tiny_policy}",
        "policy.dtype=float32",
        "policy.min_pixels=3136",
        "policy.max_pixels=3136",
        f"eval.benchmark={benchmark}",
        f"eval.root={iad_r1 if of_iad_r1 else 'null'}",
        "eval.max_new_tokens=4",
        "eval.limit=2",
        "eval.bootstrap=10",
    ]
    if shipped.segmentation.kind != "none":
        overrides.append("segmentation.jitter=[0.1]")
    if shipped.prompt.domain_knowledge:
        overrides.append(f"prompt.domain_knowledge={knowledge}")
    evaluate(load_config(path, overrides))
    rows = [json.loads(line) for line in (tmp_path / "run/predictions.jsonl").open()]
    assert {row["image"] for row in rows}
    for row in rows:
        alone = row["question_type"] in ROBUSTMAD_TYPES and row["question_type"] != PAIRWISE
        assert len(row["references"]) == (0 if alone else shipped.prompt.references)
    asked = shipped.eval.question_types
    assert asked is None or {row["question_type"] for row in rows} == set(asked)
    letters = [row for row in rows if row["options"]]
    expected = TEMPLATES.get(path.stem, shipped.prompt.template)
    assert {row["template"] for row in (letters or rows)} == {expected}
    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
    lines = [json.loads(line) for mask in tmp_path.glob("run/masks/*") for line in mask.open()]
    assert all(line["key"]["jitter"] == {"shares": [0.1], "draws": 5} for line in lines)
    assert bool(lines) == (shipped.segmentation.kind != "none")
    counted = sum(1 for row in rows if expected not in BARE or not row["options"])
    assert metrics["outcomes"]["questions"] == counted  # none where no reasoning was asked
    if of_robustmad:
        assert metrics["robustmad"]["all"]["questions"] == len(rows) == 8
        assert metrics["mmad"] == {"strict": {}, "compat": {}} and "empty_cells" not in metrics
