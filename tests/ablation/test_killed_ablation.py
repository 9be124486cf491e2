"""A real ablation that is killed in the middle of two trainings goes on to the same figures."""

from __future__ import annotations

import subprocess
import time

import psutil
import pytest
from commands import REPOSITORY, command
from made_runs import ablation

from anomalyr1.ablation.grid import plan
from anomalyr1.ablation.launch import ablate

TEXT = """
seeds: [0, 1]
set: {grpo.max_steps: 60, grpo.save_steps: 2, grpo.save_total_limit: 2}
list: {whole: {}}
"""


@pytest.mark.slow
def test_a_killed_ablation_goes_on_to_the_same_figures(ablation_configs):
    path = ablation(ablation_configs, TEXT)
    runs = plan(path).runs
    head = psutil.Popen(
        [*command("ablate", path, "--jobs", 2)], cwd=REPOSITORY, stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 300
    while not all(list(run.folder.glob("checkpoints/checkpoint-*")) for run in runs):
        assert head.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    head.kill()
    head.wait(30)
    _, resumed, _ = ablate(path, jobs=2)
    assert all("going on from it" in (run.folder / "train.log").read_text() for run in runs)

    path.write_text(
        path.read_text().replace(str(ablation_configs / "runs"), str(ablation_configs / "unbroken"))
    )
    _, unbroken, _ = ablate(path, jobs=2)
    for one, other in zip(resumed, unbroken, strict=True):
        assert one.stage is None and one.measures == other.measures
