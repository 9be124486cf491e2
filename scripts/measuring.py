"""What every benchmark does: hold two sides equal, time them, count the memory they take."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from anomalyr1.planning.live import LiveBytes


def check_equal(name: str, a: torch.Tensor, b: torch.Tensor, limit: float) -> None:
    """Stop where the two sides disagree: a faster wrong number is worth nothing."""
    difference = (a - b).float().norm() if name == "gradients" else (a - b).abs().max()
    if float(difference) > limit:
        raise SystemExit(f"{name} differ by {float(difference):.1e}, more than {limit:.0e}")


def alternate(
    runs: dict[str, Callable[[], Any]],
    repeats: int,
    slow: dict[str, int] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Median seconds of each, in turns, so that both meet the same weather.

    Args:
        runs: what is timed, by name.
        repeats: how often.
        slow: how often those are timed that take long; they are not run once before.
        clock: seconds; `time.process_time` leaves out what the machine does for others.
    """
    taken: dict[str, list[float]] = {name: [] for name in runs}
    times = {name: (slow or {}).get(name, repeats) for name in runs}
    for name, run in runs.items():
        if name not in (slow or {}):
            run()  # the first time pays for memory that the others find ready
    finish()
    for turn in range(max(times.values())):
        for name, run in runs.items():
            if turn >= times[name]:
                continue
            start = clock()
            run()
            finish()
            taken[name].append(clock() - start)
    return {name: round(statistics.median(seconds), 4) for name, seconds in taken.items()}


def finish() -> None:
    """Wait until a GPU, where there is one, has done what it was told."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def peak_memory(run: Callable[[], Any], model: torch.nn.Module) -> int:
    """Bytes that a forward and backward pass holds at its peak beyond what is held before it."""
    model.zero_grad(set_to_none=True)
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        return torch.cuda.max_memory_allocated() - before
    with LiveBytes() as live:
        run()
    return live.peak
