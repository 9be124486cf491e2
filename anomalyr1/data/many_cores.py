"""One function over many files, on all cores."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from anomalyr1.data.image_files import quietly
from anomalyr1.errors import InputError

T = TypeVar("T")
R = TypeVar("R")
Progress = Callable[[Iterable[T]], Iterable[T]]

_AHEAD = 8  # items a core may be ahead of the loop that takes them


def over_files(
    function: Callable[[T], R], items: Sequence[T], progress: Progress[T] = iter
) -> Iterator[tuple[T, R | InputError]]:
    """Each item with what `function` makes of it, or with the InputError it raised, in order.

    In threads: reading, decoding, resizing and hashing an image happen outside of the
    interpreter's lock. A forked process may wait for ever for a lock that a thread of OpenCV's or
    torch's held, and a fresh one runs a user's script again that does not expect it.

    Args:
        function: changes nothing that two threads share.
        items: what it is given, one by one.
        progress: wraps the loop over the items, for a progress bar.
    """
    caught = partial(_caught, function)
    with quietly(), ThreadPoolExecutor(cores()) as pool:
        ahead = _AHEAD * cores()
        pending = [pool.submit(caught, item) for item in items[:ahead]]
        try:
            for number, item in enumerate(progress(items)):
                yield item, pending[number % ahead].result()
                if number + ahead < len(items):
                    pending[number % ahead] = pool.submit(caught, items[number + ahead])
        finally:
            for future in pending:
                future.cancel()


def cores() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _caught(function: Callable[[T], R], item: T) -> R | InputError:
    try:
        return function(item)
    except InputError as error:
        return error
