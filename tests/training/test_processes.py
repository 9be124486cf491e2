"""Two processes (gloo) give what one gives at the same global batch."""

from __future__ import annotations

import json

import pytest
from commands import completed, torchrun


def run(policy, out, processes: int, rows: int, kind: str) -> dict:
    out.mkdir()
    script = ("tests/launched/processes.py", policy, out, rows, kind)
    completed(torchrun(*script, processes=processes))
    return json.loads((out / "record.json").read_text())


@pytest.fixture(scope="module")
def alone(tiny_policy, tmp_path_factory) -> dict:
    return run(tiny_policy, tmp_path_factory.mktemp("processes") / "alone", 1, 6, "stock")


@pytest.mark.parametrize(("kind", "rows"), [("shared", 3), ("stock", 3)])
def test_two_processes_equal_one(alone, tiny_policy, tmp_path, kind, rows):
    # Three rows a process: the middle group of two lies across both.
    two = run(tiny_policy, tmp_path / kind, 2, rows, kind)
    assert two["processes"] == 2 and alone["processes"] == 1
    assert two["shared"] is (kind == "shared")
    assert max(alone["kl"]) > 0 and len(set(alone["loss"])) == 3
    for key in ("loss", "grad_norm", "kl"):
        assert two[key] == pytest.approx(alone[key], rel=1e-4, abs=1e-6), key
    assert two["weights"] == pytest.approx(alone["weights"], rel=1e-5, abs=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["fsdp2", "zero2", "zero3"])
def test_sharded_weights_give_the_same_numbers(kind, tiny_policy, tmp_path):
    if kind.startswith("zero"):
        pytest.importorskip("deepspeed")
    done = completed(torchrun("tests/launched/sharded.py", tiny_policy, tmp_path, kind))
    assert done.stdout.count("as expected") == 2
