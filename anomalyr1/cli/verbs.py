"""What every verb has: --quiet and --verbose, and an end that says how to go on."""

from __future__ import annotations

import functools
import inspect
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, NoReturn

import typer

from anomalyr1.errors import InputError
from anomalyr1.stopping import exit_status, is_first_process, undisturbed
from anomalyr1.terminal import Loudness, is_verbose, speaking, take_down_bars

# name -> option of every verb
EVERYWHERE = {
    "quiet": Annotated[
        bool, typer.Option("--quiet", "-q", help="Say results, warnings and errors only.")
    ],
    "verbose": Annotated[
        bool,
        typer.Option("--verbose", "-v", help="Libraries speak too, errors show their code."),
    ],
}


def equip(app: typer.Typer) -> None:
    """Give all verbs of an app, and of the apps in it, what every verb has."""
    for command in app.registered_commands:
        if command.callback is not None:
            command.callback = _equipped(command.callback)
    for group in app.registered_groups:
        if group.typer_instance is not None:
            equip(group.typer_instance)


@contextmanager
def resumable(*more: str) -> Iterator[None]:
    """What is stopped inside goes on where its command is given again.

    Args:
        more: words that the command needs then, beside those that were typed.
    """
    try:
        yield
    except KeyboardInterrupt as stop:
        _leave(stop, "what is written is whole; go on", more)


def _equipped(verb: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(verb)
    def equipped(*args: Any, quiet: bool, verbose: bool, **kwargs: Any) -> None:
        with speaking(_loudness(quiet, verbose)):
            started = time.monotonic()
            try:
                verb(*args, **kwargs)
            except KeyboardInterrupt as stop:
                _leave(stop, "nothing is half-written; start over", ())
            except (InputError, OSError):
                if is_verbose():
                    traceback.print_exc()
                raise
            finally:
                if is_verbose() and is_first_process():
                    print(f"{time.monotonic() - started:.1f} seconds", file=sys.stderr)

    signature = inspect.signature(verb, eval_str=True)
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=option)
        for name, option in EVERYWHERE.items()
    ]
    signature = signature.replace(parameters=[*signature.parameters.values(), *added])
    equipped.__signature__ = signature  # type: ignore[attr-defined]
    equipped.__annotations__ = {**verb.__annotations__, **EVERYWHERE}
    return equipped


def _loudness(quiet: bool, verbose: bool) -> Loudness:
    if quiet and verbose:
        raise InputError("expected --quiet or --verbose, found both; leave one out")
    return Loudness.QUIET if quiet else Loudness.VERBOSE if verbose else Loudness.NORMAL


def _leave(stop: KeyboardInterrupt, how: str, more: tuple[str, ...]) -> NoReturn:
    from anomalyr1.provenance import command_line

    with undisturbed():
        take_down_bars()
        launched = " under the same launcher" if "RANK" in os.environ else ""
        if is_first_process():
            print(f"stopped: {how}{launched} with\n{command_line(*more)}", file=sys.stderr)
    raise typer.Exit(exit_status(stop))
