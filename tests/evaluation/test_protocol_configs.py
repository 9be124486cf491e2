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

from anomalyr1.config import load_config
from anomalyr1.evaluation.pipeline import evaluate

CONFIGS = sorted((REPOSITORY / "configs/eval").glob("*.yaml"))
PROTOCOLS = [path for path in CONFIGS if not path.stem.endswith("_cpu")]


def is_its_base_on_other_data(path: Path) -> bool:
    written = yaml.safe_load(path.read_text())
    there = {"base", "run_dir", "eval"} == written.keys()
    return there and written["eval"].keys() == {"benchmark"}


OF_A_BASE = [path for path in PROTOCOLS if is_its_base_on_other_data(path)]
TEMPLATES = {"mmad_1shot_reasoned": "choice", "mmad_bbox": "grounding"}
ASKED = {"mmad": "question list: Question: ", "iad_r1": "in the test image?"}


@pytest.fixture(scope="module")
def iad_r1(tmp_path_factory) -> Path:
    """Four images in the form of IAD-R1's files: whole keys, empty lists of templates."""
    root = tmp_path_factory.mktemp("iad-r1")
    records = {}
    for number in range(4):
        side = "good" if number % 2 else "hole"
        key = f"MPDD/bracket/test/{side}/{number:03d}.png"
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
            "similar_templates": [],
            "random_templates": [],
        }
    (root / "test_MPDD_format.json").write_text(json.dumps(records))
    return root


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
    own, base = load_config(path), load_config(path.with_name("iad_r1_mvtec.yaml"))
    assert own.run_dir != base.run_dir and own.eval.benchmark != base.eval.benchmark
    asked = replace(base.eval, benchmark=own.eval.benchmark)
    assert own == replace(base, run_dir=own.run_dir, eval=asked)


@pytest.mark.parametrize(
    "path",
    [path for path in PROTOCOLS if path not in OF_A_BASE],
    ids=lambda path: path.stem,
)
def test_a_protocol_runs_on_drawn_images(
    path, tmp_path, toy_benchmark, tiny_policy, iad_r1, monkeypatch
):
    knowledge = tmp_path / "knowledge.json"
    knowledge.write_text(json.dumps({"Toy": {"tile": {"good": "Even. ", "spot": "Dark."}}}))
    of_iad_r1 = path.stem.startswith("iad_r1")
    shipped = load_config(path)
    overrides = [
        f"run_dir={tmp_path / 'run'}",
        f"policy.path={tiny_policy}",
        "policy.dtype=float32",
        "policy.min_pixels=3136",
        "policy.max_pixels=3136",
        f"eval.benchmark={iad_r1 / 'test_MPDD_format.json' if of_iad_r1 else toy_benchmark}",
        f"eval.root={iad_r1 if of_iad_r1 else 'null'}",
        "eval.max_new_tokens=4",
        "eval.limit=2",
        "eval.bootstrap=10",
    ]
    if shipped.prompt.domain_knowledge:
        overrides.append(f"prompt.domain_knowledge={knowledge}")
    evaluate(load_config(path, overrides))
    rows = [json.loads(line) for line in (tmp_path / "run/predictions.jsonl").open()]
    assert {row["image"] for row in rows} and all(
        len(row["references"]) == shipped.prompt.references for row in rows
    )
    asked = shipped.eval.question_types
    assert asked is None or {row["question_type"] for row in rows} == set(asked)
    letters = [row for row in rows if row["options"]]
    expected = TEMPLATES.get(path.stem, shipped.prompt.template)
    assert {row["template"] for row in (letters or rows)} == {expected}
    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
    counted = sum(1 for row in rows if expected != "mmad" or not row["options"])
    assert metrics["outcomes"]["questions"] == counted  # none where no reasoning was asked
