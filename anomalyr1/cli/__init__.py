"""The command line: verbs, and one way to report a user's mistake."""

from __future__ import annotations

import io
import sys
import time
from typing import Any, NoReturn

import typer
from rich.console import Console
from typer.core import TyperGroup

from anomalyr1 import __version__
from anomalyr1.cli import (
    ablate,
    calibrating,
    comparing,
    data,
    demo,
    evaluate,
    inspecting,
    masking,
    panels,
    planning,
    policy,
    ranking,
    rewards,
    tools,
)
from anomalyr1.cli.verbs import equip
from anomalyr1.errors import InputError
from anomalyr1.stopping import is_first_process, terminable
from anomalyr1.values import printable

_PATIENCE = 60.0  # seconds by which the first of several processes may be slower than another
_LONGEST = 4_000  # characters of a line that tells of a mistake


class _Grouped(TyperGroup):
    """Verbs in the order of their panels."""

    def list_commands(self, ctx: Any) -> list[str]:
        verbs = super().list_commands(ctx)
        return panels.in_order({v: self.commands[v].rich_help_panel for v in verbs})  # type: ignore[attr-defined]


app = typer.Typer(
    cls=_Grouped,
    help="Train and evaluate a reasoning vision-language policy for industrial anomaly detection.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
app.add_typer(
    data.app,
    name="data",
    help="Build, split, check and describe benchmarks.",
    rich_help_panel=panels.DATA,
)
app.add_typer(
    rewards.app, name="reward", help="Take the reward apart.", rich_help_panel=panels.LOOK_INSIDE
)
policy.register(app)
evaluate.register(app)
masking.register(app)
comparing.register(app)
ranking.register(app)
ablate.register(app)
planning.register(app)
inspecting.register(app)
calibrating.register(app)
demo.register(app)
tools.register(app)
equip(app)


@app.callback(invoke_without_command=True)
def _root(
    version: bool = typer.Option(False, "--version", help="Print the version and stop."),
) -> None:
    if version:
        print(__version__)
        raise typer.Exit


def main() -> None:
    """Run a verb; a user's mistake prints one line and exits with status 2.

    Of the processes of a launch the first prints it.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what a terminal cannot show is no failure
            stream.reconfigure(errors="backslashreplace")
    try:
        with terminable():
            app(prog_name="anomalyr1")  # whatever launched it; completion goes by the name
    except InputError as error:
        _refuse(str(error))
    except OSError as error:
        if error.filename is None:
            raise
        _refuse(
            f"expected a file or folder that can be used at {error.filename}, found: "
            f"{error.strerror}; check the path, who may use it and the room there"
        )


def _refuse(message: str) -> NoReturn:
    if not is_first_process():
        _let_the_first_speak()
    legible = "\n".join(map(_legible, message.splitlines()))
    Console(stderr=True, soft_wrap=True).print(
        f"[bold red]error:[/] {_escape(legible)}", highlight=False
    )
    sys.exit(2)


def _legible(line: str) -> str:
    """A line that moves no cursor and fills no screen, whatever name or value it tells of."""
    line = printable(line)
    if len(line) <= _LONGEST:
        return line
    return f"{line[:_LONGEST]} [... {len(line):,} characters ...] {line[-_LONGEST // 8 :]}"


def _let_the_first_speak() -> None:
    """End in silence when the first process of the launch has met the same mistake.

    The launcher ends all others as soon as one has ended; a process that came to an end before the
    first would have it ended with its line unsaid. Where nothing of the kind happens, the mistake
    is one of this process alone (a file that its machine lacks), which nobody else can tell.
    """
    with terminable():
        try:
            time.sleep(_PATIENCE)
        except KeyboardInterrupt:
            sys.exit(2)


def _escape(text: str) -> str:
    return text.replace("[", r"\[")
