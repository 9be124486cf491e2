"""What the data verbs show: progress, tables, notes, and settings read from KEY=VALUE."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sized
from pathlib import Path
from typing import TypeVar

from anomalyr1.errors import InputError

T = TypeVar("T")


def read_settings(pairs: list[str], known: tuple[str, ...] | None = None) -> dict[str, str]:
    """The settings of --set KEY=VALUE; a key given twice, or not among `known`, is refused."""
    values: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise InputError(f"expected --set KEY=VALUE, found {pair!r}")
        if key in values:
            raise InputError(f"expected --set {key}=... once, found it twice; join the values")
        if known is not None and key not in known:
            raise InputError(f"expected --set with {', '.join(known)}, found {key!r}")
        values[key] = value
    return values


def show_counts(file: Path) -> None:
    """One line of what a benchmark holds, and one for each thing its building noted."""
    from anomalyr1.data.mmad import load_benchmark

    manifest = load_benchmark(file).manifest or {}
    counts = manifest.get("counts", {})
    names = ("images", "normal", "abnormal", "boxes", "questions", "references")
    for note in manifest.get("notes", ()):
        print(note)
    print(f"{file}: " + ", ".join(f"{counts.get(name, 0)} {name}" for name in names))


def progress_bar(label: str, total: int | None = None) -> Callable[[Iterable[T]], Iterable[T]]:
    """A bar on a terminal; elsewhere a plain line every tenth of the work.

    Args:
        label: what is done.
        total: how many items there will be, where they do not tell.
    """

    def wrap(items: Iterable[T]) -> Iterable[T]:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import track

            shown = Console(stderr=True)
            yield from track(items, description=label, total=total, console=shown)
        else:
            yield from _plain_progress(label, items, total)

    return wrap


def _plain_progress(label: str, items: Iterable[T], total: int | None) -> Iterator[T]:
    if total is None:
        total = len(items) if isinstance(items, Sized) else 0
    step = max(1, -(-total // 10))
    for number, item in enumerate(items, start=1):
        yield item
        if number % step == 0 and total > 50:
            print(f"{label}: {number}/{total}", file=sys.stderr, flush=True)


def print_table(title: str, columns: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """A table as wide as the terminal, or 200 characters elsewhere."""
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(*columns, title=title, title_justify="left", box=box.SIMPLE)
    for row in rows:
        table.add_row(*(escape(str(cell)) for cell in row))
    Console(width=None if sys.stdout.isatty() else 200).print(table)
