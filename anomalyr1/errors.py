"""The one error a user's mistake raises: how much it names, and what libraries say in it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

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


def unknown(what: str, found: object, known: Iterable[str]) -> InputError:
    """The error that refuses a name, with those that are known and the nearest of them.

    >>> print(unknown("a preset", "papr", ["roam", "paper"]))
    expected a preset out of roam, paper, found 'papr'; did you mean 'paper'?
    >>> print(unknown("a side", 3, ["train", "test"]))
    expected a side out of train, test, found 3; choose one
    """
    names = list(known)
    near = nearest(str(found), names)
    advice = f"did you mean {near!r}?" if near else "choose one"
    return InputError(f"expected {what} out of {', '.join(names)}, found {found!r}; {advice}")


def unknown_key(name: str, key: str, known: Iterable[str]) -> str:
    """What is found where a key is none of many; an error lists them all at once.

    >>> unknown_key("grpo.betta", "betta", ["beta", "epsilon"])
    'unknown key grpo.betta (nearest: beta)'
    """
    near = nearest(key, known, cutoff=0.0)
    return f"unknown key {name} (nearest: {near})" if near else f"unknown key {name}"


def nearest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The known word that is most like one that is not; None where none is like it.

    >>> nearest("trian", ["sft", "train"]), nearest("x", ["sft", "train"])
    ('train', None)
    """
    near = difflib.get_close_matches(word, sorted(known), n=1, cutoff=cutoff)
    return near[0] if near else None
