"""What `data check` passes trains and is evaluated: trees of every form, from files to metrics."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from commands import run_here
from drawn_forms import TREES, build_form, draw_form
from tiny_runs import grpo, history, typed, write_config

from anomalyr1.data.checking.check import check_benchmark
from anomalyr1.data.making.division import SplitOptions
from anomalyr1.data.making.splits import split_benchmark
from anomalyr1.data.mmad import load_benchmark

QUICK = ("coco", "yolo polygons", "label-studio brush")


def errors(benchmark: Path) -> list:
    return [finding for finding in check_benchmark(benchmark) if finding.level == "error"]


def from_tree_to_metrics(form: str, folder: Path, policy: Path, seed: int) -> None:
    """Build, check, split, two steps of GRPO on one side, an evaluation on the other."""
    tree = draw_form(form, folder / "tree", random.Random(f"{form} {seed}"))
    build_form(form.split(" ")[0], tree, folder / "bench")
    assert errors(folder / "bench") == []
    split_benchmark(
        load_benchmark(folder / "bench"), folder / "split", SplitOptions(test_fraction=0.5)
    )
    assert errors(folder / "split") == []
    train, test = (load_benchmark(folder / "split" / side).samples for side in ("train", "test"))
    shown = min(len(s.random_templates + s.similar_templates) for s in (*train, *test))
    references = f"prompt.references={min(shown, 1)}"

    trained = folder / "trained"
    options = grpo(
        policy, folder / "split/train", trained, max_steps=2, max_completion_length=16, top_k=5
    )
    run_here("train", write_config(folder / "train.yaml", seed=seed), *options, references)
    assert [entry["step"] for entry in history(trained)] == [1, 2]

    answered = {
        "run_dir": folder / "evaluated",
        "policy.path": trained / "policy",
        "policy.max_pixels": 12544,
        "eval.benchmark": folder / "split/test",
        "eval.max_new_tokens": 16,
    }
    run_here("eval", write_config(folder / "eval.yaml", seed=seed), *typed(answered), references)
    lines = (folder / "evaluated/predictions.jsonl").read_text().splitlines()
    predicted = [(row["image"], row["question_index"]) for row in map(json.loads, lines)]
    asked = [(s.image, number) for s in test for number in range(len(s.questions))]
    assert sorted(predicted) == sorted(asked) and asked
    assert (folder / "evaluated/metrics.json").is_file()


@pytest.mark.parametrize("form", QUICK)
def test_a_checked_benchmark_trains_and_is_evaluated(form, tmp_path, tiny_policy):
    from_tree_to_metrics(form, tmp_path, tiny_policy, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", (1, 2, 3))
@pytest.mark.parametrize("form", TREES)
def test_a_checked_benchmark_of_any_form_trains_and_is_evaluated(form, seed, tmp_path, tiny_policy):
    from_tree_to_metrics(form, tmp_path, tiny_policy, seed)
