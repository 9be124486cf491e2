"""One function over many files, on all cores."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import TypeVar

import cv2

from anomalyr1.errors import InputError

T = TypeVar("T")
R = TypeVar("R")
Progress = Callable[[Iterable[T]], Iterable[T]]

_FEW = 48  # files for which starting processes takes longer than it saves


def over_files(
    function: Callable[[T], R], items: Sequence[T], progress: Progress[T] = iter
) -> Iterator[tuple[T, R | InputError]]:
    """Each item with what `function` makes of it, or with the InputError it raised, in order.

    Args:
        function: picklable, as are its results.
        items: what it is given, one by one.
        progress: wraps the loop over the items, for a progress bar.

    Raises:
        InputError: a process was killed.
    """
    caught = partial(_caught, function)
    if len(items) < _FEW or cores() < 2 or not _may_fork():
        for item in progress(items):
            yield item, caught(item)
        return
    pool = ProcessPoolExecutor(cores(), multiprocessing.get_context("fork"), _one_thread)
    try:
        # The processes start here, before a progress bar starts a thread.
        results = pool.map(caught, items, chunksize=max(1, min(16, len(items) // (4 * cores()))))
        for item in progress(items):
            yield item, next(results)
    except BrokenProcessPool:
        raise InputError(
            f"expected {cores()} processes to read {len(items)} files, found one killed; "
            "free memory, or give fewer cores (taskset)"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def cores() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _may_fork() -> bool:
    """Forking copies what is loaded, threads' locks included: torch's are not safe in a copy."""
    return sys.platform == "linux" and "torch" not in sys.modules


def _caught(function: Callable[[T], R], item: T) -> R | InputError:
    try:
        return function(item)
    except InputError as error:
        return error


def _one_thread() -> None:
    cv2.setNumThreads(1)
