"""One line of the examination, and the table of all lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

Status = Literal["ok", "note", "problem"]

_COLOURS: Mapping[Status, str] = {"ok": "green", "note": "yellow", "problem": "bold red"}


@dataclass(frozen=True)
class Line:
    """What was looked at and found.

    Attributes:
        name: what was looked at.
        status: `note` is worth knowing, `problem` is in the way of a run.
        found: what is there.
        advice: what to do; empty where there is nothing to do.
    """

    name: str
    status: Status
    found: str
    advice: str = ""


def refused(name: str, error: Exception, status: Status = "problem") -> Line:
    """The line of an error: ours end in what to do, after the last semicolon.

    >>> refused("policy", ValueError("expected a folder, found none; check the path"))
    Line(name='policy', status='problem', found='expected a folder, found none', advice='check the path')
    """  # noqa: E501
    message = str(error).strip() or type(error).__name__
    first, *rest = message.splitlines()
    found, separator, advice = first.rstrip(":").rpartition("; ")
    if not separator:
        found, advice = advice, ""
    if rest:  # a benchmark's faults stand one a line below the sum
        found += f" (the first: {rest[0]})"
    return Line(name, status, found, advice)


def problems(parts: Mapping[str, Sequence[Line]]) -> int:
    """How many lines are in the way of a run."""
    return sum(line.status == "problem" for lines in parts.values() for line in lines)


def print_report(parts: Mapping[str, Sequence[Line]], console: Console) -> None:
    """Print a table, a section a part, and a sentence that counts."""
    table = Table(box=box.SIMPLE, show_edge=False, pad_edge=False)
    table.add_column("", no_wrap=True)
    table.add_column("status", no_wrap=True)
    table.add_column("found, and what to do", overflow="fold")
    for title, lines in parts.items():
        table.add_row(f"[bold]{escape(title)}[/]")
        for line in lines:
            text = escape(line.found)
            if line.advice:
                text += f"\n[{_COLOURS[line.status]}]->[/] {escape(line.advice)}"
            status = f"[{_COLOURS[line.status]}]{line.status}[/]"
            table.add_row(f"  {escape(line.name)}", status, text)
        table.add_section()
    console.print(table)
    notes = sum(line.status == "note" for lines in parts.values() for line in lines)
    console.print(f"{count(problems(parts), 'problem')}, {count(notes, 'note')}", highlight=False)


def count(number: int, word: str) -> str:
    """Number and word.

    >>> count(1, "note"), count(0, "problem")
    ('1 note', 'no problems')
    """
    return f"{number or 'no'} {word}{'' if number == 1 else 's'}"
