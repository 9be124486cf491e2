"""Two processes (gloo) give what one gives at the same global batch."""

from __future__ import annotations

import json

import forked
import pytest
from commands import completed, torchrun
from families import in_each_family, second_slow


def run(policy, out, processes: int, rows: int, kind: str) -> dict:
    out.mkdir()
    script = ("tests/launched/processes.py", policy, out, rows, kind)
    forked.completed(script, processes=processes)
    return json.loads((out / "record.json").read_text())


@pytest.fixture(scope="module")
def alone(policy_path, tmp_path_factory) -> dict:
    return run(policy_path, tmp_path_factory.mktemp("processes") / "alone", 1, 6, "stock")


@second_slow
@pytest.mark.parametrize(
    ("kind", "rows"),
    [("trees", 3), ("stock", 3), pytest.param("shared", 3, marks=pytest.mark.slow)],
)
def test_two_processes_equal_one(alone, policy_path, tmp_path, kind, rows):
    # Three rows a process: the middle group of two, and its image, lie across both.
    two = run(policy_path, tmp_path / kind, 2, rows, kind)
    assert two["processes"] == 2 and alone["processes"] == 1
    assert two["shared"] is (kind != "stock") and two["by_image"] is (kind == "trees")
    assert max(alone["kl"]) > 0 and len(set(alone["loss"])) == 3
    for key in ("loss", "grad_norm", "kl"):
        assert two[key] == pytest.approx(alone[key], rel=1e-4, abs=1e-6), key
    assert two["weights"] == pytest.approx(alone["weights"], rel=1e-5, abs=1e-8)


@pytest.mark.slow
@in_each_family
@pytest.mark.parametrize("kind", ["fsdp2", "zero2", "zero3"])
def test_sharded_weights_give_the_same_numbers(kind, policy_path, tmp_path):
    if kind.startswith("zero"):
        pytest.importorskip("deepspeed")
    done = completed(torchrun("tests/launched/sharded.py", policy_path, tmp_path, kind))
    assert done.stdout.count("as expected") == 2


CONFIG = """
run_dir: {run_dir}
policy: {{path: {policy}, max_pixels: 12544, freeze_vision: false}}
data: {{benchmark: {benchmark}}}
preflight: {{skip: true}}
grpo:
  max_steps: 1
  save_steps: 1
  logging_steps: 1
  per_device_train_batch_size: 4
  num_generations: 4
  max_completion_length: 8
  report_to: none
  bf16: false
  use_cpu: true
"""


@pytest.mark.slow
def test_a_run_does_not_go_on_with_another_number_of_processes(
    tiny_policy, toy_benchmark, tmp_path
):
    """Its steps would have other sizes, and rows would be skipped or seen twice."""
    run_dir, config = tmp_path / "run", tmp_path / "train.yaml"
    config.write_text(CONFIG.format(run_dir=run_dir, policy=tiny_policy, benchmark=toy_benchmark))

    def train(processes: int, *overrides: str, status: int | None = None):
        verb = ("-m", "anomalyr1", "train", config, *overrides)
        return completed(torchrun(*verb, processes=processes), status=status)

    train(2, status=0)
    done = train(1, "grpo.max_steps=2")
    assert done.returncode != 0 and "exitcode  : 2" in done.stderr, done.stderr[-3000:]
    assert "processes (was 2, is 1)" in done.stderr
    assert "grpo.generation_batch_size (was 8, is 4)" in done.stderr
    assert "Traceback" not in done.stderr.split("processes (was 2, is 1)")[0]
    assert not (run_dir / "checkpoints/checkpoint-2").exists()
    runs = json.loads((run_dir / "provenance.json").read_text())["runs"]
    assert [run["feeding"]["processes"] for run in runs] == [2]
