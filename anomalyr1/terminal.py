"""What is said while work is done: how much of it, and in which form.

Results go to standard output whatever was asked for. Notes and progress can be kept quiet. A
terminal gets a bar, everything else plain lines; colours are rich's business: none in a pipe, none
where NO_COLOR is set.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import AbstractContextManager, contextmanager
from enum import IntEnum
from types import TracebackType
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

T = TypeVar("T")

_FEWEST = 50  # items of a piece of work that is worth plain lines


class Loudness(IntEnum):
    """How much is said beside results, warnings and errors."""

    QUIET = 0
    NORMAL = 1
    VERBOSE = 2


class _Voice:
    loudness = Loudness.NORMAL
    bars: list[Bar] = []  # noqa: RUF012


@contextmanager
def speaking(loudness: Loudness) -> Iterator[None]:
    """Say so much inside; bars that an error left standing are taken down at the end."""
    before, _Voice.loudness = _Voice.loudness, loudness
    try:
        yield
    finally:
        take_down_bars()
        _Voice.loudness = before


def take_down_bars() -> None:
    """Give the terminal back, its cursor with it, before somebody has the last word."""
    for bar in list(_Voice.bars):
        bar.close()


def is_quiet() -> bool:
    """Whether notes and progress are left out."""
    return _Voice.loudness == Loudness.QUIET


def is_verbose() -> bool:
    """Whether libraries may speak as well."""
    return _Voice.loudness == Loudness.VERBOSE


def notes(*, quiet: bool = False) -> Console:
    """Where lines about the work go: standard output, as they are; nowhere if quiet."""
    return Console(quiet=quiet or is_quiet(), soft_wrap=True, highlight=False, markup=False)


def results(width: int = 200) -> Console:
    """Where tables go: as wide as the terminal; a pipe, which has no width, gets this one."""
    return Console(width=None if sys.stdout.isatty() else width)


def waiting(label: str) -> AbstractContextManager[object]:
    """A sign on a terminal that work without a measure is going on."""
    return Console(stderr=True, quiet=is_quiet()).status(label)


class Bar:
    """How far a piece of work is.

    On a terminal a bar that is gone when done; elsewhere a plain line every tenth of the work.

    Args:
        label: what is being done.
        total: how much there is to do; None where nobody knows.
        done: how much of it is done already.
        console: where; standard error by default. Lines printed to it stand above the bar.
        plain: False where the work says by itself how far it is, other than on a terminal.
    """

    def __init__(
        self,
        label: str,
        total: int | None,
        done: int = 0,
        *,
        console: Console | None = None,
        plain: bool = True,
    ) -> None:
        console = console or Console(stderr=True, soft_wrap=True, highlight=False)
        self._label, self._total, self._done = label, total, done
        self._progress: Progress | None = None
        shown = not (is_quiet() or console.quiet)
        self._lines = console if shown and plain and not console.is_terminal else None
        if shown and console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
            self._progress = Progress(
                *columns, TimeRemainingColumn(), console=console, transient=True
            )
            self._progress.add_task(label, total=total, completed=done)
            self._progress.start()
            _Voice.bars.append(self)

    def to(self, done: int) -> None:
        """So much is done now."""
        before, self._done = self._done, done
        if self._progress is not None:
            self._progress.update(self._progress.task_ids[0], completed=done)
        elif self._lines is not None and self._total is not None and self._total > _FEWEST:
            step = -(-self._total // 10)
            if done // step != before // step:
                self._lines.print(f"{self._label}: {done}/{self._total}", markup=False)

    def close(self) -> None:
        """Take the bar down."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
            _Voice.bars.remove(self)

    def __enter__(self) -> Bar:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def progress(label: str, total: int | None = None) -> Callable[[Iterable[T]], Iterable[T]]:
    """A `Bar` around a loop: what it gives back is wrapped around the items.

    Args:
        label: what is being done.
        total: how many items there are, where they do not tell it themselves.
    """

    def wrap(items: Iterable[T]) -> Iterator[T]:
        with Bar(label, len(items) if isinstance(items, Sized) else total) as bar:
            for number, item in enumerate(items, start=1):
                yield item
                bar.to(number)

    return wrap
