"""A text as it is written, from work that tells of it by a call."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")


class _Left(Exception):
    """Nobody reads any more."""


def streamed(work: Callable[[Callable[[str], None]], Result]) -> Generator[str, None, Result]:
    """Yield all that has been written so far, as often as there is more; return what work returns.

    The work runs in a thread of its own. Where the generator is closed before its end, the work is
    ended at its next piece of text, and closing waits for that.

    Args:
        work: called with what it is to call with each piece.

    >>> def work(tell):
    ...     tell("no ")
    ...     tell("defect")
    ...     return 1
    >>> list(streamed(work))[-1]
    'no defect'
    """
    pieces: queue.Queue[str | None] = queue.Queue()
    left = threading.Event()

    def tell(piece: str) -> None:
        if left.is_set():
            raise _Left
        pieces.put(piece)

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(work, tell)
        future.add_done_callback(lambda _: pieces.put(None))
        written = ""
        try:
            while (piece := pieces.get()) is not None:
                written += piece
                yield written
        finally:
            left.set()
    return future.result()
