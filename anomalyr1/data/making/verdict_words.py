"""Labels that say "in order", and labels that say "defective" without naming a type."""

from __future__ import annotations

import re

_NORMAL = frozenset(
    "good normal ok okay pass passed fine intact perfect qualified healthy nodefect nodefects "  # noqa: SIM905
    "nondefective notdefective defectfree nodamage noanomaly nonanomalous undamaged".split()
)
_NAMELESS = frozenset(
    "bad ng nok ko notok fail failed reject rejected anomaly anomalous anomalies abnormal defect "  # noqa: SIM905
    "defects defective faulty fault combined multiple mixed".split()
)


def says_normal(label: str) -> bool:
    """True for a label that calls the product in order.

    >>> says_normal("Non-Defective"), says_normal("OK"), says_normal("ok_mark_missing")
    (True, True, False)
    """
    return _plain(label) in _NORMAL


def names_no_type(label: str) -> bool:
    """True for a label that calls the product defective and names no type of defect.

    >>> names_no_type("NG"), names_no_type("scratch")
    (True, False)
    """
    return _plain(label) in _NAMELESS


def _plain(label: str) -> str:
    return re.sub(r"[\s_.-]+", "", label).casefold()
