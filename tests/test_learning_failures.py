"""scripts/learning_failures.py: its table by hand, its picture, and itself on a small case."""

from __future__ import annotations

import sys

import pytest
from commands import REPOSITORY, completed

sys.path.append(str(REPOSITORY / "scripts"))
from learning_failures import CAUSES, HEALTHY, draw, ends, said, table

GRPO = {"learning_rate": 1e-4, "max_completion_length": 96}


def logged(**figures: list[float | None]) -> list[dict]:
    rows = zip(*figures.values(), strict=True)
    return [dict(zip(figures, row, strict=True), step=n) for n, row in enumerate(rows, start=1)]


def test_the_ends_of_a_curve_are_ten_steps_or_half_of_it():
    rows = logged(reward=[1.0] * 10 + [9.0] * 5 + [2.0] * 10, kl=[None] * 22 + [0.5, 1.0, 1.5])
    assert ends(rows, "reward") == "1, 2"
    assert ends(rows, "kl") == "0.5, 1.5"
    assert ends(rows, "iou") == "none"


def test_a_table_and_a_picture_of_every_cause(tmp_path):
    cut = "completions/clipped_ratio"
    rows = logged(
        **{
            "reward": [1.0, 1.5, 2.0],
            "kl": [0.0, 0.1, 0.25],
            "zero_variance": [0.5] * 3,
            cut: [0] * 3,
        }
    )
    warned = [
        {"kind": "kl", "since": 2, "step": 3, "follows": None},
        {"kind": "flat", "since": 2, "step": 3, "follows": "kl"},
    ]
    runs = {HEALTHY: (rows, []), **{cause.name: (rows, warned) for cause in CAUSES}}
    lines = table(runs, GRPO).splitlines()
    assert lines[2] == "| healthy | | 1, 2 | | | | silent |"
    assert lines[3] == (
        "| rate too high | `learning_rate` 0.01 | 1, 2 | KL | 0, 0.25 | 0, 0.25 | "
        "`kl` since 2, at 3 |"
    )
    assert len(lines) == 3 + len(CAUSES) and {line.count("|") for line in lines} == {8}
    assert said([]) == "silent"
    draw(runs, tmp_path / "pictures" / "curves.png")
    assert (tmp_path / "pictures" / "curves.png").stat().st_size > 10_000


@pytest.mark.slow
def test_the_script_runs_and_goes_on_where_it_stopped(tmp_path):
    options = ["--out", str(tmp_path / "runs"), "--plot", str(tmp_path / "curves.png")]
    small = [
        "--policy",
        "data/tiny-policy",
        "grpo.per_device_train_batch_size=8",
        "grpo.num_generations=4",
    ]
    command = [sys.executable, "scripts/learning_failures.py", *options, *small, "--steps"]
    done = completed([*command, "1"], timeout=900)
    assert done.stdout.count("| silent |") == 1 + len(CAUSES)
    again = completed([*command, "1"], timeout=900)
    assert again.stdout.count("nothing is left to train") == 1 + len(CAUSES)
    assert again.stdout.splitlines()[-8:] == done.stdout.splitlines()[-8:]
    other = completed([*command, "1", "seed=1"], timeout=900, status=2)
    assert "error: expected the settings" in other.stderr and "Traceback" not in other.stderr
