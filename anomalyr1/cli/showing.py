"""What the data verbs show: tables and notes; and settings read from KEY=VALUE."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from anomalyr1.errors import InputError, unknown
from anomalyr1.terminal import results


def read_settings(pairs: list[str], known: tuple[str, ...] | None = None) -> dict[str, str]:
    """The settings of --set KEY=VALUE; a key given twice, or not among `known`, is refused."""
    values: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise InputError(f"expected --set KEY=VALUE, found {pair!r}; write both")
        if key in values:
            raise InputError(
                f"expected --set {key}=... once, found it twice; give all values at once"
            )
        if known is not None and key not in known:
            raise unknown("a key of --set", key, known)
        values[key] = value
    return values


def show_counts(file: Path, notes: bool = True) -> None:
    """One line of what a benchmark holds, and one for each thing its building noted."""
    from anomalyr1.data.mmad import load_benchmark

    manifest = load_benchmark(file).manifest or {}
    counts = manifest.get("counts", {})
    names = ("images", "normal", "abnormal", "boxes", "questions", "references")
    for note in manifest.get("notes", ()) if notes else ():
        print(note)
    print(f"{file}: " + ", ".join(f"{counts.get(name, 0)} {name}" for name in names))


def print_table(title: str, columns: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """A table without a frame; what stands in its cells is text."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(*columns, title=title, title_justify="left", box=box.SIMPLE)
    for row in rows:
        table.add_row(*(escape(str(cell)) for cell in row))
    results().print(table)
