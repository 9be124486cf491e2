"""The one error a user's mistake raises: how much it names, and what libraries say in it."""

from __future__ import annotations

from collections.abc import Sequence

SHOWN = 10  # names or faults written out; the others are counted


class InputError(ValueError):
    """A file, option or record the user gave cannot be used.

    The message is one line that says what was expected, what was found and what to do next.
    The command line prints it without a traceback and exits with status 2.
    """


def one_line(error: Exception) -> str:
    """What a library says, without its line breaks."""
    if isinstance(error, RecursionError):
        return "values nested too deeply, or inside themselves"
    return " ".join(str(error).split())


def listed(names: Sequence[str], shown: int = SHOWN, separator: str = ", ") -> str:
    """The first names and how many follow.

    >>> listed(["a", "b", "c"], 2)
    'a, b and 1 more'
    >>> listed(["a", "b", "c"], 2, separator="; ")
    'a; b; and 1 more'
    """
    more = len(names) - shown
    last = " and" if separator == ", " else f"{separator}and"
    return separator.join(names[:shown]) + (f"{last} {more} more" if more > 0 else "")
