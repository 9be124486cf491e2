"""Processors, memory, GPUs, attention kernels and disk."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import psutil

from anomalyr1.doctor.lines import Line
from anomalyr1.doctor.probe import Facts

GIB = 2**30


def machine_lines(facts: Facts | None, run_dir: Path, asked: str, room: int = 0) -> list[Line]:
    """What the machine has.

    Args:
        facts: what torch sees; None where it does not run.
        run_dir: where a run would write.
        asked: the attention kernel of the config.
        room: bytes that the checkpoints of a training take; 0 where nothing is trained.
    """
    cpus = usable_cpus()
    seen = []
    if facts is not None:
        seen = [threads(facts.threads, cpus, os.environ), *_gpus(facts), attention(facts, asked)]
    return [_processor(cpus), *seen, disk(run_dir, room)]


def usable_cpus() -> float:
    """CPUs that this process may use: its affinity, and the quota of its container if lower."""
    cpus = float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0)
    cpus = cpus or float(psutil.cpu_count() or 1)
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return min(cpus, int(quota) / int(period))
    except (OSError, ValueError):  # no cgroup of version 2, or no limit in it
        return cpus


def threads(started: int, cpus: float, environment: Mapping[str, str]) -> Line:
    """Whether the threads of all processes find a CPU each.

    >>> threads(8, 4.0, {"WORLD_SIZE": "1"}).advice
    'OMP_NUM_THREADS=4, in front of the command'
    """
    processes = int(environment.get("LOCAL_WORLD_SIZE", environment.get("WORLD_SIZE", "1")))
    asked = environment.get("OMP_NUM_THREADS", "")
    found = f"torch starts {started}, OMP_NUM_THREADS is {asked or 'not set'}"
    if processes > 1:
        found += f", {processes} processes"
    wanted = max(started, int(asked) if asked.isdecimal() else 1) * processes
    if wanted <= max(1.0, cpus):
        return Line("threads", "ok", found)
    found += f": {wanted} threads for {cpus:g} CPUs wait for each other"
    share = max(1, int(cpus / processes))
    return Line("threads", "note", found, f"OMP_NUM_THREADS={share}, in front of the command")


def attention(facts: Facts, asked: str) -> Line:
    """The kernels that ran on a tiny Qwen2.5-VL, and the one asked for."""
    runs = [name for name, error in facts.attention.items() if error is None]
    found = f"{', '.join(runs) or 'no kernel'} {'runs' if len(runs) == 1 else 'run'} here"
    error = facts.attention[asked]
    if error is None:
        return Line("attention", "ok", f"{found}; asked for: {asked}")
    found += f"; asked for: {asked}, but: {error}"
    if asked == "flex_attention" and "sdpa" in runs:
        return Line("attention", "note", f"{found}; sdpa takes over")
    advice = "install torch again"
    if runs:
        advice = f"policy.attention={'sdpa' if 'sdpa' in runs else runs[-1]}"
    return Line("attention", "problem", found, advice)


def disk(run_dir: Path, room: int) -> Line:
    """Whether a run can write, and how much."""
    folder = run_dir.absolute()
    while not folder.exists():
        folder = folder.parent
    if not (folder.is_dir() and os.access(folder, os.W_OK)):
        advice = "choose another run_dir"
        return Line("run folder", "problem", f"{run_dir} cannot be written to", advice)
    free = shutil.disk_usage(folder).free
    found = f"{run_dir}: {free / GIB:.0f} GiB free"
    advice = "make room, or choose a run_dir on another disk"
    if free < GIB:
        return Line("run folder", "problem", f"{run_dir}: {free / GIB:.2f} GiB free", advice)
    if free < room:
        found += f", checkpoints take about {room / GIB:.0f} GiB"
        return Line("run folder", "note", found, f"{advice}, or lower save_total_limit")
    return Line("run folder", "ok", found)


def _processor(cpus: float) -> Line:
    memory = psutil.virtual_memory()
    cores, logical = psutil.cpu_count(logical=False), psutil.cpu_count()
    found = f"{cores or '?'} cores, {logical} threads"
    if cpus < (logical or 1):
        found += f" ({cpus:g} for this process)"
    found += f"; {memory.total / GIB:.0f} GiB of memory, {memory.available / GIB:.0f} free"
    return Line("processor", "ok", found)


def _gpus(facts: Facts) -> list[Line]:
    lines = []
    for number, gpu in enumerate(facts.gpus):
        memory = f"{gpu.memory / GIB:.0f} GiB, {gpu.free / GIB:.0f} free"
        found = f"{gpu.name}, {memory}, {'with' if gpu.bf16 else 'without'} bfloat16"
        lines.append(Line(f"GPU {number}", "ok", found))
    if lines:
        return lines
    found = "none for torch; a CPU will do for the tiny policy"
    if facts.build is None and shutil.which("nvidia-smi"):
        advice = "this torch is a CPU build: install the CUDA build, as pytorch.org says"
        return [Line("GPU", "note", found, advice)]
    if facts.build is not None and shutil.which("nvidia-smi"):
        advice = "see whether nvidia-smi lists one, and whether its driver fits torch's CUDA"
        return [Line("GPU", "note", found, advice)]
    return [Line("GPU", "note", found, "the 3B policy wants one of 24 GB or more")]
