"""Choices that depend on the seed and on what is chosen, never on the order of work.

Every "random" choice of the data tools is an order by SHA-256, so that two processes, two machines
and two Python versions make the same one, and adding an image does not change the others' choices.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import TypeVar

T = TypeVar("T")


def digest(*parts: object) -> int:
    """The SHA-256 of the parts joined by "|", as a whole number.

    >>> digest(0, "a.png") == digest("0", "a.png")
    True
    """
    text = "|".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest(), "big")


def seeded_order(items: Iterable[T], *parts: object) -> list[T]:
    """The items in an order that the parts decide; each item goes in by its text.

    >>> seeded_order("abcd", 0) == seeded_order("dcba", 0)
    True
    """
    return sorted(items, key=lambda item: (digest(*parts, item), str(item)))


def seeded_choice(items: Sequence[T], *parts: object) -> T:
    """One of the items, decided by the parts."""
    return items[digest(*parts) % len(items)]
