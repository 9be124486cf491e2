"""Several runs at once: places, order, failures, and what happens to them when the head dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import deque
from pathlib import Path

import psutil
import pytest
from commands import REPOSITORY
from made_runs import left, program, run
from rich.console import Console

from anomalyr1.ablation import children
from anomalyr1.ablation.devices import places
from anomalyr1.ablation.launch import execute
from anomalyr1.ablation.results import read_result, training_measures
from anomalyr1.ablation.run_answers import Answers
from anomalyr1.errors import InputError
from anomalyr1.run_folder import PROCESS
from anomalyr1.run_lock import run_lock

# Writes down when it began and ended, and what it was told to use.
RECORDED = """
import os, sys, time
began = time.time()
time.sleep(float(sys.argv[2]))
told = os.environ.get("PLACE")
open(sys.argv[1], "a").write(f"{began} {time.time()} {told}\\n")
"""


def made(runs, slots) -> tuple[list, str, list[int]]:
    """Results, what was said, and how many results there were at each writing."""
    answers = Answers({(one.variant, one.seed): one.folder for one in runs})
    written: list[int] = []
    console = Console(record=True, width=200, file=open(os.devnull, "w"))  # noqa: SIM115, PTH123
    results = execute(runs, slots, answers, console, lambda so_far: written.append(len(so_far)))
    return results, console.export_text(), written


def test_one_run_is_left_what_it_has_and_several_divide_it(monkeypatch):
    monkeypatch.setattr("anomalyr1.ablation.devices.cores", lambda: 8)
    assert places(1, 0, {}) == places(1, 1, {}) == places(1, 4, {}, launched=True) == [{}]
    assert places(1, 4, {}) == [{"CUDA_VISIBLE_DEVICES": "0"}]  # a training may see no more
    assert places(1, 4, {}, on_cpu=True) == [{}]
    hidden = {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "4"}
    assert places(2, 1, {}, on_cpu=True) == [hidden] * 2
    assert places(2, 4, {}) == [{"CUDA_VISIBLE_DEVICES": "0"}, {"CUDA_VISIBLE_DEVICES": "1"}]
    assert places(2, 2, {"CUDA_VISIBLE_DEVICES": "3, 5"})[1] == {"CUDA_VISIBLE_DEVICES": "5"}
    assert places(3, 0, {}) == [{"OMP_NUM_THREADS": "2"}] * 3
    assert places(2, 0, {"OMP_NUM_THREADS": "1"}) == [{"OMP_NUM_THREADS": "1"}] * 2
    assert places(20, 0, {})[0] == {"OMP_NUM_THREADS": "1"}


@pytest.mark.parametrize(
    ("jobs", "gpus", "launched", "expected"),
    [
        (0, 0, False, "at least 1, found 0"),
        (3, 2, False, "at most 2, a GPU each, found 3"),
        (2, 8, True, "expected --jobs 1 beside the `launch`"),
    ],
)
def test_places_that_are_not_there_are_refused(jobs, gpus, launched, expected):
    with pytest.raises(InputError, match=expected):
        places(jobs, gpus, {}, launched=launched)


def test_runs_share_the_places_and_never_more_than_there_are(tmp_path):
    log = tmp_path / "log"
    runs = []
    for seed in range(4):
        left(tmp_path / f"v-{seed}", right=seed)
        runs.append(run(tmp_path, "v", seed, ("train", program(RECORDED, log, 0.3))))
    results, said, written = made(runs, [{"PLACE": "x"}, {"PLACE": "y"}])
    assert [result.seed for result in results] == [0, 1, 2, 3]
    assert [result.measures["strict accuracy"] for result in results] == [0, 10, 20, 30]
    assert "[4/4] v, seed 3: finished in" in said and written == [0, 1, 2, 3, 4]
    rows = [line.split() for line in log.read_text().splitlines()]
    spans = [(float(began), float(ended), place) for began, ended, place in rows]
    for began, _, place in spans:
        others = [span for span in spans if span[0] <= began < span[1]]
        assert len(others) <= 2 and sum(other[2] == place for other in others) == 1
    assert {place for *_, place in spans} == {"x", "y"}
    assert any(one[0] < other[0] < one[1] for one in spans for other in spans)  # two at once


def test_a_failure_is_told_and_the_next_attempt_begins_where_it_stopped(tmp_path):
    """The evaluation fails once: the training is not repeated, and its time counts on."""
    left(tmp_path / "v-0", right=5)
    log, gone = tmp_path / "log", tmp_path / "gone"
    fails = "import sys, pathlib\nif pathlib.Path(sys.argv[1]).exists(): sys.exit('no | room')"
    gone.touch()
    runs = [
        run(tmp_path, "v", 0, ("train", program(RECORDED, log, 0)), ("eval", program(fails, gone))),
        run(tmp_path, "w", 0, ("train", ("no-such-program",))),
    ]
    (first, second), said, _ = made(runs, [{}])
    assert (first.stage, first.message) == ("eval", "no | room") and first.measures == {}
    assert second.stage == "train" and "no-such-program" in second.message
    assert "eval failed: no | room" in said
    gone.unlink()
    (again, _), _, _ = made(runs, [{}])
    assert again.stage is None and again.seconds >= first.seconds
    assert len(log.read_text().splitlines()) == 1
    assert read_result(runs[0].folder, runs[0].digest) == again
    (same, _), said, _ = made(runs, [{}])
    assert same == again and "v, seed 0: finished before" in said


def test_runs_that_share_a_folder_are_made_once(tmp_path):
    left(tmp_path / "start-0", right=4)
    log = tmp_path / "log"
    first = run(tmp_path, "start", 0, ("eval", program(RECORDED, log, 0)))
    second = type(first)("start", 1, first.folder, first.digest, first.commands)
    results, said, _ = made([first, second], [{}, {}])
    assert [(result.seed, result.measures["box F1@0.5"]) for result in results] == [
        (0, results[0].measures["box F1@0.5"]),
        (1, results[0].measures["box F1@0.5"]),
    ]
    assert len(log.read_text().splitlines()) == 1 and "same run as an earlier seed's" in said


def test_the_rewards_are_those_of_the_last_ten_steps(tmp_path):
    entries = [
        {"step": step, "reward": float(step), "rewards/iou/mean": 1.0 if step == 7 else None,
         "rewards/iou/std": 9.0, "outcome/malformed": 1.0}
        for step in range(1, 16)
    ]  # fmt: skip
    entries.append({"step": 15, "train_runtime": 3.0})
    text = "".join(json.dumps(entry) + "\n" for entry in entries)
    (tmp_path / "log_history.jsonl").write_text(text)
    mean = sum(range(6, 16)) / 10
    assert training_measures(tmp_path) == {"reward": mean, "iou": 1.0, "steps": 15}
    assert training_measures(tmp_path / "none") == {}


def test_rewards_that_are_logged_rarely_are_those_of_the_last_log(tmp_path):
    entries = [{"step": 50, "reward": 1.0}, {"step": 100, "reward": 2.0}, {"step": 120}]
    text = "".join(json.dumps(entry) + "\n" for entry in entries)
    (tmp_path / "log_history.jsonl").write_text(text)
    assert training_measures(tmp_path) == {"reward": 2.0, "steps": 120}


def test_a_run_that_was_killed_is_not_told_by_its_last_progress(tmp_path):
    dies = "import os\nprint('step 12/50', flush=True)\nos.kill(os.getpid(), 9)"
    runs = [run(tmp_path, "v", 0, ("train", program(dies)))]
    (result,), _, _ = made(runs, [{}])
    assert result.message == "ended by signal 9 after: step 12/50"


def start_ablation(folder: Path) -> tuple[psutil.Popen, list[psutil.Process]]:
    """An ablation with two runs at work, and their processes, each with one of its own."""
    paths = ("", "tests", "tests/evaluation")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(str(REPOSITORY / p) for p in paths)}
    head = psutil.Popen(
        [sys.executable, str(REPOSITORY / "tests/launched/ablation_at_work.py"), str(folder)],
        env=environment, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    logs = [folder / f"{name}-0/train.log" for name in ("a", "b")]
    deadline = time.monotonic() + 60
    while not all(log.exists() and log.read_text().strip() for log in logs):
        assert head.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    inner = [psutil.Process(int(log.read_text())) for log in logs]
    return head, [*inner, *(process.parent() for process in inner)]


def gone(processes: list[psutil.Process]) -> bool:
    psutil.wait_procs(processes, timeout=20)
    return not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in processes)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_ends_the_ablation_ends_all_that_it_started(tmp_path, number):
    head, processes = start_ablation(tmp_path)
    head.send_signal(number)
    assert head.wait(30) != 0 and gone(processes)
    assert not (tmp_path / "c-0").exists()  # the next was not begun
    assert read_result(tmp_path / "a-0", "a0") is None  # what was cut off is no failure


def test_a_killed_ablation_goes_on_and_ends_what_it_left_behind(tmp_path):
    head, processes = start_ablation(tmp_path)
    with pytest.raises(InputError, match="no other run at work"), run_lock(tmp_path):
        pass
    head.kill()
    head.wait(30)
    assert all(process.is_running() for process in processes)
    with run_lock(tmp_path):  # the dead hold nothing
        pass
    # All before the first run begins, whether it is planned any more or not.
    assert children.end_all_left_behind(tmp_path) == [tmp_path / "a-0", tmp_path / "b-0"]
    assert gone(processes)
    for name in ("a", "b"):
        left(tmp_path / f"{name}-0", right=3)
    runs = [run(tmp_path, name, 0, ("train", program(""))) for name in ("a", "b")]
    results, _, _ = made(runs, deque([{}]))
    assert [result.stage for result in results] == [None, None]


def test_a_number_that_another_process_has_now_is_left_alone(tmp_path):
    here = psutil.Process()
    begun = here.create_time() - psutil.boot_time() - 60
    for record in ({"pid": here.pid, "begun": begun}, {"pid": "x"}, []):
        (tmp_path / PROCESS).write_text(json.dumps(record))
        assert children.end_left_behind(tmp_path) is False
    assert children.end_left_behind(tmp_path) is False  # no record
