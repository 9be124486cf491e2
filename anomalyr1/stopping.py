"""Ctrl-C and SIGTERM: work ends at once, or at the next good moment where it can wait for one."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_ECHO = 1.0  # seconds


class Terminated(KeyboardInterrupt):
    """SIGTERM, raised where Ctrl-C raises KeyboardInterrupt."""


class Wish:
    """Whether somebody wants the work inside `postponed` to end.

    Attributes:
        stop: what is to be raised at a good moment; None as long as nobody asked.
    """

    stop: KeyboardInterrupt | None = None


def exit_status(stop: KeyboardInterrupt) -> int:
    """What a shell is told: 128 and the number of the signal.

    >>> exit_status(KeyboardInterrupt()), exit_status(Terminated())
    (130, 143)
    """
    return 128 + (signal.SIGTERM if isinstance(stop, Terminated) else signal.SIGINT)


@contextmanager
def terminable() -> Iterator[None]:
    """Inside, SIGTERM raises `Terminated`, so that what is open is closed as after Ctrl-C."""

    def end(number: int, frame: FrameType | None) -> None:
        raise Terminated

    with _handling((signal.SIGTERM,), end):
        yield


@contextmanager
def postponed(said: str) -> Iterator[Wish]:
    """Inside, a first Ctrl-C or SIGTERM is a wish, and a second one ends the work at once.

    What follows within a second is still the first: a terminal sends Ctrl-C to all its processes,
    and a launcher among them passes it on to those that it started.

    Args:
        said: a line for the user who asked.
    """
    wish = Wish()
    heard: list[float] = []

    def ask(number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        stop = Terminated() if number == signal.SIGTERM else KeyboardInterrupt()
        if heard and now - heard[0] > _ECHO:
            raise stop
        if not heard and is_first_process():
            os.write(2, f"{said}\n".encode())  # a print may be what the signal came into
        heard.append(now)
        wish.stop = wish.stop or stop

    with _handling(_SIGNALS, ask):
        yield wish


@contextmanager
def undisturbed() -> Iterator[None]:
    """Inside, neither Ctrl-C nor SIGTERM is heard; for the last words."""
    with _handling(_SIGNALS, signal.SIG_IGN):
        yield


def is_first_process() -> bool:
    """Whether this process speaks for its launch; true where there is but one."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def _handling(
    numbers: Sequence[signal.Signals],
    handler: Callable[[int, FrameType | None], None] | signal.Handlers,
) -> Iterator[None]:
    """Signals that are ignored stay so (nohup); only the main thread of a process may set any."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {n: signal.getsignal(n) for n in numbers}
    mine = {n: old for n, old in before.items() if old not in (signal.SIG_IGN, None)}
    for number in mine:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, old in mine.items():
            signal.signal(number, old)
