"""scripts/gpu_acceptance.sh where there is no GPU, and the parts of it that a CPU can show."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace

import psutil
import pytest
import torch
from commands import REPOSITORY, completed

SCRIPT = REPOSITORY / "scripts" / "gpu_acceptance.sh"
NO_GPU = {"CUDA_VISIBLE_DEVICES": "", "PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(str(REPOSITORY / "scripts"))


def accept(out, *arguments, status=0, timeout=120):
    """The pages of a run."""
    completed(
        [str(SCRIPT), "--no-install", "--out", str(out), *arguments],
        status=status,
        timeout=timeout,
        **NO_GPU,
    )
    return json.loads((out / "acceptance.json").read_text()), (out / "acceptance.md").read_text()


def test_without_a_gpu_it_runs_to_its_end_and_names_what_was_skipped(tmp_path):
    from gpu_acceptance import NO_VLLM

    record, shown = accept(tmp_path)
    reasons = {part["name"]: part["reason"] for part in record["parts"]}
    assert {part["status"] for part in record["parts"]} == {"skipped"}
    assert reasons.pop("vllm") in ("torch sees no GPU", NO_VLLM)
    assert reasons == dict.fromkeys(("passes", "steps", "commands", "tests"), "torch sees no GPU")
    assert all(f"| {name} | skipped |" in shown for name in (*reasons, "vllm"))
    assert record["machine"]["versions"]["torch"] and torch.__version__.split("+")[0] in shown


def test_all_limits_together_are_those_that_are_promised():
    from argparse import Namespace

    from gpu_acceptance import LOOK_SECONDS, SPARE, parts

    chosen = parts(Namespace(tiny=False, quick=False))
    assert LOOK_SECONDS + sum(part.seconds for part in chosen) <= 16 * 60
    assert sum(part.quick or 0 for part in chosen) <= 150
    assert all(part.seconds > 2 * SPARE for part in chosen if not part.never)


def test_the_tests_for_a_gpu_are_found():
    from gpu_acceptance import files_of_gpu_tests

    assert "tests/training/test_on_a_gpu.py" in files_of_gpu_tests()


def test_vllm_is_taken_from_its_own_environment(tmp_path, monkeypatch):
    import gpu_acceptance

    monkeypatch.setattr(gpu_acceptance.importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(gpu_acceptance, "REPOSITORY", tmp_path)
    assert gpu_acceptance.vllm_python() is None
    (tmp_path / ".venv-vllm").mkdir()
    assert gpu_acceptance.vllm_python() is None  # half made
    (tmp_path / ".venv-vllm/installed").touch()
    assert gpu_acceptance.vllm_python() == str(tmp_path / ".venv-vllm/bin/python")


def test_a_part_that_hangs_is_stopped_with_all_that_it_started(tmp_path):
    from gpu_acceptance import follow, tail

    log = tmp_path / "part.log"
    started = time.monotonic()
    command = ["bash", "-c", "sleep 300 & echo $!; wait"]
    assert follow(command, log, 1, small=True) == ("stopped", "no end after 1 s")
    assert time.monotonic() - started < 20
    [child] = tail(log)
    deadline = time.monotonic() + 10
    while psutil.pid_exists(int(child)) and time.monotonic() < deadline:
        if psutil.Process(int(child)).status() == psutil.STATUS_ZOMBIE:
            break
        time.sleep(0.05)
    else:
        assert not psutil.pid_exists(int(child))


@pytest.mark.parametrize(
    ("given", "all_gpus", "seen"),
    [(None, False, "0"), ("3", False, "3"), (None, True, "every one")],
)
def test_a_part_is_shown_one_gpu(tmp_path, monkeypatch, given, all_gpus, seen):
    from gpu_acceptance import follow, tail

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if given is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    log, show = tmp_path / "part.log", "echo ${CUDA_VISIBLE_DEVICES-every one}"
    follow(["bash", "-c", show], log, 10, small=False, all_gpus=all_gpus)
    assert tail(log) == [seen]


def test_a_part_that_fails_says_how_and_stops_no_other(tmp_path, monkeypatch):
    import gpu_acceptance

    def command(seconds, out):
        write = f'open({str(out)!r}, \'w\').write(\'{{"what": "a"}}\\n{{"what"\')'
        return [sys.executable, "-c", f"{write}; print('so it ends'); raise SystemExit(3)"]

    part = gpu_acceptance.Part("part", "a part", command, 60, 60, ())
    found = gpu_acceptance.run(part, 60, tmp_path, small=True)
    assert (found["status"], found["reason"]) == ("failed", "exit status 3")
    assert found["said"] == ["so it ends"]
    assert found["results"] == [{"what": "a"}]  # not the line that was being written

    machine = {"gpus": [], "versions": {}}
    monkeypatch.setattr(gpu_acceptance, "look_at_machine", lambda _: machine)
    monkeypatch.setattr(gpu_acceptance, "parts", lambda _: [part, replace(part, name="next")])
    monkeypatch.setattr(sys, "argv", ["script", "--tiny", "--out", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        gpu_acceptance.main()
    record = json.loads((tmp_path / "acceptance.json").read_text())
    assert ended.value.code == 1
    assert [(p["name"], p["status"]) for p in record["parts"]] == [
        ("part", "failed"),
        ("next", "failed"),
    ]
    assert "so it ends" in (tmp_path / "acceptance.md").read_text()


def test_a_part_whose_packages_are_missing_names_them():
    from argparse import Namespace

    from gpu_acceptance import Part, obstacle

    part = Part("part", "a part", lambda *_: [], 1, 1, ("json", "no_such_package"))
    options = Namespace(only=None, quick=True, tiny=False)
    machine = {"gpus": [{"name": "a GPU"}]}
    assert obstacle(replace(part, quick=None), options, machine) == "left out by --quick"
    assert obstacle(part, options, machine) == "not installed: no_such_package"
    assert obstacle(replace(part, needs=("json",)), options, machine) is None
    assert obstacle(replace(part, needs=()), options, {"gpus": []}) == "torch sees no GPU"


def test_what_fails_is_a_line_and_the_rest_goes_on(tmp_path, capsys):
    from result_lines import Book

    out = tmp_path / "lines.jsonl"
    book = Book(out, time.monotonic() + 60)

    def fails(error):
        raise error

    full = torch.OutOfMemoryError("CUDA out of memory. Tried\nmore")
    assert book.attempt(lambda: fails(full)) == {
        "failed": "out of memory: CUDA out of memory. Tried"
    }
    book.check("exactness", "shared", lambda side: {"agrees": side == "shared"})
    assert not book.disagreed
    book.check("exactness", "flex", lambda side: {"agrees": side == "shared"})
    assert book.disagreed
    late = Book(out, time.monotonic() - 1)
    late.check("exactness", "shared", lambda _: fails(AssertionError))
    assert not late.disagreed
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line.get("agrees") for line in lines] == [True, False, None]
    assert lines[2]["skipped"] == "no time was left"
    assert len(capsys.readouterr().out.splitlines()) == 3


@pytest.mark.parametrize("wrong", [False, True])
def test_the_comparison_sees_a_wrong_attention(wrong, monkeypatch):
    """Completions that see what comes after them: only then do the sides differ."""
    from bench_passes import Bench

    from anomalyr1.shared_prefix import attention

    if wrong:
        right = attention.packed_attention

        def all_seeing(query, key, value, layout, **options):
            seen = [
                replace(part, mask=None if part.mask is None else torch.ones_like(part.mask))
                for part in layout
            ]
            return right(query, key, value, seen, **options)

        monkeypatch.setattr(attention, "packed_attention", all_seeing)
    bench = Bench(torch.device("cpu"), tiny=True, repeats=1, kernels=("stock", "shared"))
    found = bench.exactness("shared")
    assert found["agrees"] is not wrong
    assert (found["logps"] > 0.01) is wrong and (found["gradients"] > 0.01) is wrong


def test_the_page_names_commands_that_went_wrong():
    from acceptance_page import page

    results = [
        {"what": "sft", "side": "", "seconds": 47.5, "agrees": True},
        {"what": "train, killed and resumed", "side": "", "seconds": 46.1}
        | {"apart_by_step": [0.0, 0.0, 1.5, 0.25], "agrees": False},
        {"what": "eval", "side": "", "failed": "RuntimeError: exit status 2"},
    ]
    part = {"name": "commands", "about": "it", "status": "failed", "reason": "", "said": []}
    shown = page(
        {"started": "now", "commit": "c", "seconds": 1, "machine": {"gpus": [], "versions": {}}}
        | {"parts": [part | {"results": results}]}
    )
    assert "| sft | yes | 47.5 |  |" in shown
    assert "| train, killed and resumed | NO | 46.1 | 1.5 |" in shown
    assert "| eval | failed: RuntimeError: exit status 2 |  |  |" in shown


def test_the_page_counts_ratios_from_what_was_measured():
    from acceptance_page import page

    load = {"prompts": 1, "images": 2, "side": 448, "generations": 8, "completion": 128}
    measured = {
        "stock": {"seconds": {"forward": 1.0, "forward_backward": 3.0}, "peak_mib": 400},
        "shared": {"seconds": {"forward": 0.25, "forward_backward": 1.0}, "peak_mib": 100},
        "flex": {"failed": "out of memory: CUDA | out"},
    }
    step = {"what": "step", "learns": "lora", **load}
    names, peaks = ("step", "rollout", "forward_backward"), ("peak_mib", "planned_mib")
    steps = [
        {**step, "variant": side, "seconds": dict(zip(names, taken, strict=True))}
        | {name: {"rollout": size} for name, size in zip(peaks, sizes, strict=True)}
        for side, taken, sizes in (
            ("stock", (8.0, 5.0, 2.0), (50, 60)),
            ("shared", (2.0, 1.0, 0.5), (40, 50)),
        )
    ]
    lines = [{"what": "pass", "learns": "full", **load, "sides": measured}, *steps]
    part = {"name": "passes", "about": "it", "status": "done", "reason": "", "results": lines}
    machine = {"gpus": [{"name": "A GPU", "memory_mib": 80000}], "versions": {"torch": "2.11"}}
    shown = page(
        {"started": "now", "commit": "c", "seconds": 1, "machine": machine, "parts": [part]}
    )
    load_shown = "1 prompt(s) of 2 x 448 px, G 8, C 128"
    assert "GPU: A GPU (80000 MiB). torch 2.11." in shown
    assert f"| full | {load_shown} | stock | 1 | 3 | 1 | 400 | 1 |  |" in shown
    assert f"| full | {load_shown} | shared | 0.25 | 1 | 3 | 100 | 0.25 |  |" in shown
    assert "failed: out of memory: CUDA / out" in shown  # no new column
    assert "| lora | shared | 2 | 1 | 0.5 | 4 |" in shown
    assert "| lora | stock | rollout | 50 | 60 | 1.2 |" in shown


@pytest.mark.slow
def test_the_tiny_policy_runs_every_line_that_needs_no_gpu(tmp_path):
    record, shown = accept(tmp_path, "--tiny", timeout=800)
    status = {part["name"]: part["status"] for part in record["parts"]}
    assert status == {
        **dict.fromkeys(("passes", "steps", "commands"), "done"),
        **dict.fromkeys(("tests", "vllm"), "skipped"),
    }
    results = [line for part in record["parts"] for line in part.get("results", ())]
    assert not [line for line in results if "failed" in json.dumps(line)]
    assert {"exactness", "bfloat16", "pass", "update", "rollout", "step"} <= {
        line["what"] for line in results
    }
    [again] = [line for line in results if line["what"] == "train, killed and resumed"]
    assert again["apart_by_step"] == [0.0] * 4
    for title in (
        "Log-probabilities",
        "Rollouts",
        "Whole steps",
        "Peak memory against",
        "Commands",
    ):
        assert f"## {title}" in shown
