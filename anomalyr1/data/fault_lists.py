"""Many faults as one error: how many, the first ten, and a file with all of them."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from anomalyr1.errors import InputError

SHOWN = 10


def refusal(headline: str, faults: Sequence[str]) -> InputError:
    """The error that names the faults; beyond ten, all of them are in a temporary file.

    Args:
        headline: what has them and what to do; "{}" stands for their number, and "{s}" for the s
            that more than one has.
        faults: one line each; at least one.
    """
    plural = "s" if len(faults) > 1 else ""
    first = headline.replace("{}", str(len(faults))).replace("{s}", plural)
    lines = [first, *faults[:SHOWN]]
    if len(faults) > SHOWN:
        lines.append(f"... and {len(faults) - SHOWN} more{_kept(faults)}")
    return InputError("\n".join(lines))


def listed(names: Sequence[str], shown: int = SHOWN) -> str:
    """The first names and how many follow.

    >>> listed(["a", "b", "c"], 2)
    'a, b and 1 more'
    """
    more = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {more} more" if more > 0 else "")


def _kept(faults: Sequence[str]) -> str:
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="anomalyr1-faults-", suffix=".txt", delete=False, encoding="utf-8"
        ) as file:
            file.write("\n".join(faults) + "\n")
    except OSError:  # no room for it: what is shown has to do
        return ""
    return f"; all of them: {Path(file.name)}"
