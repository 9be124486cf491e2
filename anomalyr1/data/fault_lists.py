"""Many faults as one error: how many, the first ten, and a file with all of them."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from anomalyr1.errors import SHOWN, InputError


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


def _kept(faults: Sequence[str]) -> str:
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="anomalyr1-faults-", suffix=".txt", delete=False, encoding="utf-8"
        ) as file:
            file.write("\n".join(faults) + "\n")
    except OSError:  # no room for it: what is shown has to do
        return ""
    return f"; all of them: {Path(file.name)}"
