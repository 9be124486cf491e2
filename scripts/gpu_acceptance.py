"""The parts of gpu_acceptance.sh, one process each, and the pages that say what was seen.

A part that fails, hangs or cannot start stops no other. acceptance.json and acceptance.md are
written again after each part, and the lines of a benchmark stand in a file of their own as soon as
they are known. This script itself needs the standard library alone.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from acceptance_page import page

REPOSITORY = Path(__file__).resolve().parent.parent
TRL = ("trl", "datasets", "peft", "pydantic", "omegaconf")
NO_VLLM = "vLLM is not installed: ./scripts/setup.sh --vllm makes an environment with it"
VLLM_TEST = ("tests/training/test_vllm_for_real.py", "-k", "weights")
# Seconds that it may take to ask the machine what it is.
LOOK_SECONDS = 40
# Seconds that a benchmark is told to stop before it would be stopped.
SPARE = 10
LOOK = """
import json
from importlib import metadata
found = {}
for name in ("torch", "triton", "transformers", "trl", "peft", "accelerate", "datasets", "vllm"):
    try:
        found[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
        pass
import torch
gpus = []
for number in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
    properties = torch.cuda.get_device_properties(number)
    gpus.append({"name": properties.name, "memory_mib": properties.total_memory // 2**20})
print(json.dumps({"gpus": gpus, "cuda": torch.version.cuda, "versions": found}))
"""


@dataclass(frozen=True)
class Part:
    """Something to be seen.

    Attributes:
        name: by which it is chosen and its files are called.
        about: what it shows.
        command: given the seconds it has and the file for its lines.
        seconds: at most.
        quick: the same with --quick; None leaves it out then.
        needs: modules without which it is not begun.
        never: why it cannot be begun here; None where it can.
    """

    name: str
    about: str
    command: Callable[[int, Path], list[str]]
    seconds: int
    quick: int | None
    needs: tuple[str, ...]
    never: str | None = None


def parts(options: argparse.Namespace) -> list[Part]:
    """What is run, in this order."""
    small = ["--tiny"] if options.tiny else []
    quick = ["--quick"] if options.quick else []
    return [
        Part(
            "passes",
            "stock against shared prefix, whole architecture: equality, seconds, memory",
            lambda seconds, out: script("bench_passes.py", seconds, out, [*small, *quick]),
            220,
            105,
            ("torch", "transformers", "typer"),
        ),
        Part(
            "steps",
            "whole GRPO steps, stock TRL against shared prefix: seconds, and peak memory "
            "against `anomalyr1 plan`",
            lambda seconds, out: script("bench_steps.py", seconds, out, [*small, *quick]),
            230,
            None,
            ("torch", "typer", *TRL),
        ),
        Part(
            "commands",
            "sft, train, a killed train that goes on, eval: the whole architecture, random weights",
            lambda seconds, out: script("whole_commands.py", seconds, out, small),
            300,
            None,
            ("torch", "typer", "cv2", *TRL),
        ),
        Part(
            "tests",
            "pytest -m gpu",
            lambda *_: [sys.executable, "-m", "pytest", "-m", "gpu", "-rs", *files_of_gpu_tests()],
            80,
            45,
            ("pytest", "psutil", *TRL),
        ),
        Part(
            "vllm",
            "two steps with vLLM beside the trainer, its log-probabilities against the trainer's",
            lambda *_: [vllm_python() or "", "-m", "pytest", "-m", "vllm", "-rs", "-s", *VLLM_TEST],
            90,
            None,
            ("pytest", *TRL),
            None if vllm_python() else NO_VLLM,
        ),
    ]


def vllm_python() -> str | None:
    """The interpreter that has vLLM: this one, or that of the environment made for it."""
    if importlib.util.find_spec("vllm") is not None:
        return sys.executable
    made = REPOSITORY / ".venv-vllm"
    return str(made / "bin/python") if (made / "installed").is_file() else None


def script(name: str, seconds: int, out: Path, options: list[str]) -> list[str]:
    """A benchmark that stops by itself before its time is up."""
    limits = ["--seconds", str(max(1, seconds - SPARE)), "--out", str(out)]
    return [sys.executable, f"scripts/{name}", *limits, *options]


def files_of_gpu_tests() -> list[str]:
    """Those that name the mark: collecting all others would take most of the time."""
    found = sorted((REPOSITORY / "tests").rglob("test_*.py"))
    return [str(p.relative_to(REPOSITORY)) for p in found if "mark.gpu" in p.read_text("utf-8")]


def run(part: Part, seconds: int, out: Path, small: bool) -> dict[str, Any]:
    """One part from its start to its end, or to the end of its time."""
    lines, log = out / f"{part.name}.jsonl", out / f"{part.name}.log"
    lines.unlink(missing_ok=True)
    command = part.command(seconds, lines)
    started = time.monotonic()
    status, reason = follow(command, log, seconds, small)
    return {
        "status": status,
        "reason": reason,
        "command": " ".join(command),
        "seconds": round(time.monotonic() - started, 1),
        "limit": seconds,
        "results": read_lines(lines),
        "said": tail(log),
    }


def follow(
    command: list[str], log: Path, seconds: int, small: bool, all_gpus: bool = False
) -> tuple[str, str]:
    """Status and reason of a command that is killed, with all it started, when its time is up.

    It sees one GPU unless CUDA_VISIBLE_DEVICES says otherwise: a training of one process is refused
    beside several.
    """
    variables = dict(os.environ, HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
    paths = [str(REPOSITORY), *filter(None, [variables.get("PYTHONPATH")])]
    variables |= {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}
    if not all_gpus:
        variables.setdefault("CUDA_VISIBLE_DEVICES", "0")
    if small:  # models too small for a second thread
        variables |= {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(
            command,
            cwd=REPOSITORY,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=variables,
            start_new_session=True,
        )
        try:
            code = process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            return "stopped", f"no end after {seconds} s"
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    return ("done", "") if code == 0 else ("failed", f"exit status {code}")


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The results so far; a line that was being written when it was killed is left out."""
    if not path.is_file():
        return []
    found = []
    for line in path.read_text("utf-8").splitlines():
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return found


def tail(log: Path, count: int = 12) -> list[str]:
    """The end of what it said."""
    return log.read_text("utf-8", errors="replace").splitlines()[-count:]


def look_at_machine(out: Path) -> dict[str, Any]:
    """GPUs and versions, asked in a process of its own: a broken driver must not stop the rest."""
    log = out / "machine.log"
    _, reason = follow([sys.executable, "-c", LOOK], log, LOOK_SECONDS, small=False, all_gpus=True)
    said = tail(log, 1)
    log.unlink()
    if reason:
        return {"gpus": [], "versions": {}, "reason": f"{reason}: {' '.join(said)}"}
    return dict(json.loads(said[0]))


def obstacle(part: Part, options: argparse.Namespace, machine: dict[str, Any]) -> str | None:
    """Why a part is not begun, or None."""
    if part.never:
        return part.never
    if options.only and part.name not in options.only:
        return "another part was asked for (--only)"
    if options.quick and part.quick is None and not options.only:
        return "left out by --quick"
    if not machine["gpus"] and not options.tiny:
        return machine.get("reason") or "torch sees no GPU"
    if options.tiny and part.name == "tests":
        return "torch sees no GPU with --tiny"
    missing = [name for name in part.needs if importlib.util.find_spec(name) is None]
    return f"not installed: {', '.join(missing)}" if missing else None


def write(out: Path, record: dict[str, Any]) -> None:
    """Both pages, whole."""
    for name, text in (
        ("acceptance.json", json.dumps(record, indent=1) + "\n"),
        ("acceptance.md", page(record)),
    ):
        fresh = out / f"{name}.new"
        fresh.write_text(text, "utf-8")
        fresh.replace(out / name)


def commit() -> str | None:
    """The commit of this code; None outside a checkout."""
    asked = ["git", "-C", str(REPOSITORY), "rev-parse", "HEAD"]
    try:
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def main() -> None:
    """Run every part and write what was seen; status 1 where one did not end well."""
    names = [part.name for part in parts(argparse.Namespace(tiny=False, quick=False))]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the first results: 2.5 minutes")
    parser.add_argument("--only", nargs="+", choices=names, help="these parts alone")
    parser.add_argument("--tiny", action="store_true", help="a tiny policy on the CPU")
    default = REPOSITORY / "runs" / "gpu-acceptance"
    parser.add_argument("--out", type=Path, default=default, help="folder of the pages")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    record: dict[str, Any] = {
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "commit": commit(),
        "arguments": sys.argv[1:],
        "machine": look_at_machine(options.out),
        "parts": [],
    }
    for part in parts(options):
        about = {"name": part.name, "about": part.about}
        reason = obstacle(part, options, record["machine"])
        if reason is not None:
            about |= {"status": "skipped", "reason": reason}
        else:
            print(f"{part.name}: {part.about}", flush=True)
            seconds = part.quick if options.quick and part.quick else part.seconds
            about |= run(part, seconds, options.out, options.tiny)
        record["parts"].append(about)
        record["seconds"] = round(time.monotonic() - started, 1)
        write(options.out, record)
        print(f"{part.name}: {about['status']} {about['reason']}", flush=True)
    print((options.out / "acceptance.md").read_text("utf-8"))
    sys.exit(any(part["status"] in ("failed", "stopped") for part in record["parts"]))


if __name__ == "__main__":
    main()
