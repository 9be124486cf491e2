"""Copies of an image that are mirrored or turned by 90, 180 or 270 degrees.

The cosine transform of a mirrored image is that of the image with every second sign changed, and
transposing an image transposes its transform; so the hash of a turned image follows from the hash
of the image, and fingerprints on record need not be made again.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from anomalyr1.data.fingerprint import (
    BITS,
    NEAR_BITS,
    Fingerprint,
    comparable,
    differing,
    near_pairs,
    signs,
)
from anomalyr1.geometry import Turn

_CHUNK = 1024
_PLACES = np.stack(np.divmod(np.arange(1, BITS + 1), 17))  # row and column of each coefficient

TURNS = {
    "mirrored": Turn(False, True, False),
    "mirrored upside down": Turn(False, False, True),
    "turned by 180 degrees": Turn(False, True, True),
    "mirrored and turned by 90 degrees": Turn(True, False, False),
    "turned by 90 degrees": Turn(True, True, False),
    "turned by 270 degrees": Turn(True, False, True),
    "mirrored and turned by 270 degrees": Turn(True, True, True),
}
# A copy that is turned and saved anew differs by 4 bits at most; other photos of one product in any
# of seven positions by 13 or more, where they may be within `NEAR_BITS`.
SURELY_TURNED = 7
_ONE_OF_A_KIND = ("mirrored", "turned by 90 degrees")  # not transposed, and transposed


def copies(
    first: Sequence[Fingerprint],
    second: Sequence[Fingerprint],
    bits: int = NEAR_BITS,
    turned_bits: int | None = None,
) -> list[tuple[int, int, int, str]]:
    """Pairs that show one photo: (index in `first`, index in `second`, bits, what was done).

    What was done is "" for near-duplicates as they are, else a key of `TURNS`; every pair is
    given once, the smallest distance first where several fit.

    Args:
        first: photos.
        second: photos.
        bits: largest distance.
        turned_bits: of those that were turned; None for `bits`.
    """
    found = {(row, column): (n, "") for row, column, n in near_pairs(first, second, bits)}
    turned_bits = bits if turned_bits is None else turned_bits
    for row, column, n, turn in turned_pairs(first, second, turned_bits):
        if (row, column) not in found:
            found[row, column] = (n, turn)
    return [(row, column, n, turn) for (row, column), (n, turn) in found.items()]


def turned_pairs(
    first: Sequence[Fingerprint], second: Sequence[Fingerprint], bits: int = NEAR_BITS
) -> list[tuple[int, int, int, str]]:
    """Pairs of which one, mirrored or turned, is near the other as a whole."""
    if not first or not second:
        return []
    whole = signs(second, None)
    others = {name: _turned(whole, turn) for name, turn in TURNS.items()}
    pairs = []
    for start in range(0, len(first), _CHUNK):
        rows = signs(first[start : start + _CHUNK], None)
        best: dict[tuple[int, int], tuple[float, str]] = {}
        # A flip changes signs and not which of them count: two counts serve all turns.
        compared = {
            TURNS[name].transposed: comparable(rows, others[name]) for name in _ONE_OF_A_KIND
        }
        for name, other in others.items():
            differ = differing(rows @ other.T, compared[TURNS[name].transposed])
            for row, column in np.argwhere(differ <= bits).tolist():
                value = (float(differ[row, column]), name)
                best[row, column] = min(best.get((row, column), value), value)
        pairs += [(start + r, c, round(n), name) for (r, c), (n, name) in sorted(best.items())]
    return pairs


def _turned(whole: NDArray[np.float32], turn: Turn) -> NDArray[np.float32]:
    """Signs of the turned images, 0 where a coefficient has no counterpart on record."""
    rows, columns = _PLACES
    result = whole
    if turn.transposed:
        source = columns * 17 + rows - 1
        known = source < BITS
        result = np.where(known, whole[:, np.minimum(source, BITS - 1)], 0.0)
    flip = np.ones(BITS, np.float32)
    if turn.mirrored:
        flip *= np.where(columns % 2, -1, 1)
    if turn.upside_down:
        flip *= np.where(rows % 2, -1, 1)
    return np.asarray(result * flip, dtype=np.float32)
