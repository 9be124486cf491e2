"""scripts/sight_probe.py: what linear heads read from a tower."""

import json
import sys

import numpy as np
import pytest
import typer
from commands import REPOSITORY
from typer.testing import CliRunner

from anomalyr1.config import PolicyConfig
from anomalyr1.data.making.synthetic import synthesize
from anomalyr1.data.mmad import load_benchmark
from anomalyr1.policy.load import load_policy

sys.path.append(str(REPOSITORY / "scripts"))
import sight_probe

TINY = REPOSITORY / "data/tiny-policy"


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory):
    out = tmp_path_factory.mktemp("seen") / "bench"
    synthesize(out, train=48, test=24, seed=11, size=112)
    return out


def test_auroc_counts_pairs():
    gold = np.array([True, False, True, False])
    assert sight_probe.auroc(gold, np.array([3.0, 2.0, 1.0, 1.0])) == (1 + 1 + 0 + 0.5) / 4


def test_a_fit_finds_the_direction_that_decides():
    inputs = np.random.default_rng(0).normal(size=(400, 6)).astype(np.float32)
    gold = inputs[:, 2] > 0.8
    score = sight_probe.fit(inputs[:300], gold[:300], 1e-3)(inputs[300:])
    assert sight_probe.auroc(gold[300:], score) > 0.98


def test_covered_tokens_lie_under_the_box(benchmark):
    policy = load_policy(PolicyConfig(path=str(TINY), max_pixels=112 * 112))
    sample = next(s for s in load_benchmark(benchmark / "train").samples if s.boxes)
    covered = sight_probe.covered_by(sample, policy, (112, 112), (4, 4))
    box = sample.boxes[0]
    middle = int((box.y1 + box.y2) / 2 // 28), int((box.x1 + box.x2) / 2 // 28)
    assert covered[middle] and not covered.all()


def test_the_shipped_tower_sees_the_defects_it_was_taught(benchmark):
    app = typer.Typer()
    app.command()(sight_probe.main)
    result = CliRunner().invoke(app, [str(TINY), str(benchmark), "--side", "112"])
    figures = json.loads(result.stdout.splitlines()[-1])
    assert figures["images"] == [48, 24]
    assert figures["token"]["AUROC"] > 85 and figures["image"]["AUROC"] > 85
