"""Label Studio's brush: run lengths of RGBA bytes, packed by the bit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from anomalyr1.data.images import Mask
from anomalyr1.errors import InputError

CHANNELS = 4  # red, green, blue, alpha; a pixel is brushed where alpha is above 0


def decode_brush(code: Sequence[int], size: tuple[int, int], where: str) -> Mask:
    """The pixels (height, width) of a brush region.

    The bytes hold: 32 bits the number of values, 5 bits the bits of a value less 1, four times 4
    bits a width of lengths less 1. Then blocks: 1 bit "one value repeated", 2 bits which of the
    four widths, a length less 1, and the value once or as many values as the length says.

    Args:
        code: the bytes.
        size: (width, height) of the image.
        where: how an error names the region.

    Raises:
        InputError: the bytes end early or hold another number of values than the image has.
    """
    width, height = size
    total = width * height * CHANNELS
    if not all(isinstance(v, int) and not isinstance(v, bool) and 0 <= v < 256 for v in code):
        raise InputError(f"expected the bytes of a brush at {where}, found other values; mend it")
    bits = np.unpackbits(np.asarray(code, dtype=np.uint8))
    reader = _Bits(bits, where)
    if len(bits) < 53 or (count := reader.take(32)) != total:
        found = "too few bytes" if len(bits) < 53 else f"{count} values"
        raise InputError(
            f"expected the {total} values of {width} x {height} pixels at {where}, found {found}; "
            "mend the annotation"
        )
    word = reader.take(5) + 1
    widths = [reader.take(4) + 1 for _ in range(4)]
    values = np.zeros(total, dtype=np.uint32)
    place = 0
    while place < total:
        repeated = reader.take(1)
        length = reader.take(widths[reader.take(2)]) + 1
        end = min(place + length, total)
        if repeated:
            values[place:end] = reader.take(word)
        else:
            values[place:end] = reader.take_many(word, length)[: end - place]
        place = end
    mask: Mask = values.reshape(height, width, CHANNELS)[:, :, 3] > 0
    return mask


class _Bits:
    """Whole numbers out of bits, the highest first."""

    def __init__(self, bits: np.ndarray, where: str) -> None:
        self._bits = bits
        self._place = 0
        self._where = where

    def take(self, width: int) -> int:
        """One number of `width` bits."""
        return int(self.take_many(width, 1)[0])

    def take_many(self, width: int, count: int) -> np.ndarray:
        """`count` numbers of `width` bits each."""
        end = self._place + width * count
        if end > len(self._bits):
            raise InputError(
                f"expected a whole brush region at {self._where}, found one that ends early; "
                "export it again"
            )
        taken = self._bits[self._place : end].reshape(count, width).astype(np.int64)
        self._place = end
        powers: np.ndarray = taken @ (1 << np.arange(width - 1, -1, -1, dtype=np.int64))
        return powers
