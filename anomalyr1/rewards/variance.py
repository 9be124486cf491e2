"""When the completions of a group earn the same."""

from __future__ import annotations

from collections.abc import Iterable

# Rewards closer than this are equal: the rounding of a weighted sum of a few terms.
TOLERANCE = 1e-6


def has_zero_variance(rewards: Iterable[float | None]) -> bool:
    """True where no completion of the group earns more than another; None is left out.

    >>> has_zero_variance([0.8, 0.8, None]), has_zero_variance([0.8, 1.0])
    (True, False)
    """
    known = [reward for reward in rewards if reward is not None]
    return not known or max(known) - min(known) <= TOLERANCE
