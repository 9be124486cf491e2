"""A clock put back by an hour and forward by a day: nothing is lost, done twice or negative."""

from __future__ import annotations

import io
import itertools
import json
import os
import time

import numpy as np
import pytest
from pictures import noise
from rich.console import Console
from safetensors.numpy import save_file
from tiny_runs import toy_run

from anomalyr1.inspection.file_run import FileRun
from anomalyr1.inspection.ledger import Ledger
from anomalyr1.terminal import Bar
from anomalyr1.training.checkpoints import last_whole_checkpoint
from anomalyr1.training.run_trainer import RunTrainer
from anomalyr1.training.sft import finetune

HOUR, DAY = 3600, 24 * 3600


@pytest.fixture
def jumping(monkeypatch):
    """The clock on the wall jumps between any two readings."""
    real, offsets = time.time, itertools.cycle((0, -HOUR, DAY, -DAY))
    monkeypatch.setattr(time, "time", lambda: real() + next(offsets))


def test_a_training_keeps_its_newest_checkpoint_and_its_durations(
    jumping, tiny_policy, toy_benchmark, tmp_path, monkeypatch
):
    """Each checkpoint is older than the last, by what the disk says."""
    config = toy_run(tmp_path / "run", tiny_policy, toy_benchmark)
    config.sft.update(max_steps=4, save_total_limit=1)
    save = RunTrainer._save_checkpoint

    def dated(self, model, trial):
        save(self, model, trial)
        step = self.state.global_step
        folder = tmp_path / f"run/checkpoints/checkpoint-{step}"
        os.utime(folder, (2e9 - step * HOUR, 2e9 - step * HOUR))

    monkeypatch.setattr(RunTrainer, "_save_checkpoint", dated)
    finetune(config)
    left = [folder.name for folder in (tmp_path / "run/checkpoints").glob("checkpoint-*")]
    assert left == ["checkpoint-4"]
    lines = (tmp_path / "run/log_history.jsonl").read_text().splitlines()
    closing = json.loads(lines[-1])
    assert 0 < closing["train_runtime"] < HOUR and closing["train_steps_per_second"] > 0


def test_the_last_checkpoint_is_the_one_of_the_last_step(tmp_path):
    for step in (2, 4):
        folder = tmp_path / f"checkpoints/checkpoint-{step}"
        folder.mkdir(parents=True)
        (folder / "trainer_state.json").write_text("{}")
        save_file({"weight": np.zeros(2, np.float32)}, folder / "model.safetensors")
        for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
            (folder / name).write_bytes(b"state")
        for path in (folder / "trainer_state.json", folder):
            os.utime(path, (2e9 - step * HOUR, 2e9 - step * HOUR))
    assert last_whole_checkpoint(tmp_path).name == "checkpoint-4"


def test_a_watch_inspects_nothing_twice(jumping, inspector, tmp_path):
    (tmp_path / "in").mkdir()
    for number in range(2):
        noise(number, 64, 56).save(tmp_path / f"in/{number}.png")
    run = FileRun(inspector)
    for expected in (2, 0):
        ledger = Ledger(tmp_path / "out", run.settings())
        rows = list(run.watch(tmp_path / "in", ledger, interval=0.02, idle=0.05))
        assert len(rows) == expected and all(0 < row["seconds"] < HOUR for row in rows)
    assert (tmp_path / "out/inspections.jsonl").read_text().count("\n") == 2


def test_what_is_left_to_do_takes_no_negative_time(jumping):
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, width=100)
    with Bar("inspecting", 5, console=console) as bar:
        for done in range(1, 5):
            time.sleep(0.02)
            bar.to(done)
            bar._progress.refresh()
    assert "0:00:0" in shown.getvalue()
    assert "-1 day" not in shown.getvalue() and "-0:" not in shown.getvalue()
