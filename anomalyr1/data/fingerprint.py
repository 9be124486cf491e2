"""What an image is recognised by: the SHA-256 of its file, and a perceptual hash of its look.

The perceptual hash is the signs of the low frequencies of the 64 x 64 grey image's cosine transform
(after Zauner, "Implementation and benchmarking of perceptual image hash functions", 2010), with 256
bits instead of 64, because normal images of one product look alike. Two things make it hold: a
frequency too weak to survive JPEG is not compared, and since a crop moves many signs, those of nine
crops stand beside those of the whole image.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from anomalyr1.data.images import open_image
from anomalyr1.errors import InputError
from anomalyr1.text_files import read_bytes

BITS = 256
_DIGITS = BITS // 4
NEAR_BITS = 15
"""Two images of which at most this many of 256 compared signs differ are near-duplicates.

Measured on circuit boards, magnetic tiles, solar cells and synthetic images: JPEG at quality 70
with half the size or with a crop of 2 % on one side, on two, or 1 % all round moves hardly any
sign; a crop of up to 2 % on each of the four sides stays below in most images. Different images
come as near in about 1 of 10,000 pairs (boards, synthetic), or 3 (solar cells, and tiles, where
these are the same tile photographed twice)."""

_SIDE = 64
_CHUNK = 1024
_CROP = 0.02
_WEAK = 2.0  # coefficients this near the median (grey levels of 0 to 255) are not compared
_ENOUGH = 40  # compared signs, below which two images cannot be called alike
# Shares cut off the left, top, right and bottom.
_CROPS = (
    (_CROP / 2, _CROP / 2, _CROP / 2, _CROP / 2),
    (_CROP, _CROP, 0.0, 0.0),
    (0.0, _CROP, _CROP, 0.0),
    (_CROP, 0.0, 0.0, _CROP),
    (0.0, 0.0, _CROP, _CROP),
    (_CROP, 0.0, 0.0, 0.0),
    (0.0, _CROP, 0.0, 0.0),
    (0.0, 0.0, _CROP, 0.0),
    (0.0, 0.0, 0.0, _CROP),
)


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """`sha256` of the file; `phash`, the signs, and `sure`, which of them count; in hex.

    `crops` are the signs of nine crops, compared where `sure` says so.
    """

    sha256: str
    phash: str
    sure: str
    crops: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """The form it has in manifest.json."""
        return {
            "sha256": self.sha256,
            "phash": self.phash,
            "sure": self.sure,
            "crops": "".join(self.crops),
        }

    @classmethod
    def from_json(cls, value: Any, where: str) -> Fingerprint:
        """Read it back.

        Raises:
            InputError: a hash is missing or is not in hex of the right length.
        """
        entry = value if isinstance(value, dict) else {}
        lengths = {"sha256": 64, "phash": _DIGITS, "sure": _DIGITS, "crops": _DIGITS * len(_CROPS)}
        if not all(_is_hex(entry.get(name), digits) for name, digits in lengths.items()):
            raise InputError(
                f"expected {', '.join(lengths)} in hex for {where}, found {value!r}; "
                "write the manifest again"
            )
        crops = str(entry["crops"])
        parts = tuple(crops[i : i + _DIGITS] for i in range(0, len(crops), _DIGITS))
        return cls(entry["sha256"], entry["phash"], entry["sure"], parts)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes.

    Raises:
        InputError: the file cannot be read.
    """
    return hashlib.sha256(read_bytes(path, "a file")).hexdigest()


def fingerprint(path: Path) -> Fingerprint:
    """Both hashes of an image file.

    Raises:
        InputError: the file is missing or is not an image.
    """
    return fingerprint_of(open_image(path), file_sha256(path))


def fingerprint_of(image: Image.Image, sha256: str) -> Fingerprint:
    """Both hashes, of an image that is open already."""
    grey = np.asarray(image.convert("L"))
    height, width = grey.shape
    low = _frequencies(grey)
    crops = []
    for left, top, right, bottom in _CROPS:
        rows = slice(round(top * height), height - round(bottom * height))
        columns = slice(round(left * width), width - round(right * width))
        crops.append(_hex(_frequencies(grey[rows, columns]) > 0))
    return Fingerprint(sha256, _hex(low > 0), _hex(np.abs(low) > _WEAK), tuple(crops))


def near_pairs(
    first: Sequence[Fingerprint], second: Sequence[Fingerprint], bits: int = NEAR_BITS
) -> list[tuple[int, int, int]]:
    """(index in `first`, index in `second`, signs of 256 that differ) of the pairs within `bits`.

    The distance of a pair is the smallest over whole against whole, and whole against each crop,
    either way round.
    """
    if not first or not second:
        return []
    whole, crops = signs(second, None), [signs(second, i) for i in range(len(_CROPS))]
    pairs = []
    for start in range(0, len(first), _CHUNK):
        part = first[start : start + _CHUNK]
        rows = signs(part, None)
        best = rows @ whole.T
        for other in crops:
            np.maximum(best, rows @ other.T, out=best)
        for index in range(len(_CROPS)):
            np.maximum(best, signs(part, index) @ whole.T, out=best)
        differ = differing(best, comparable(rows, whole))
        for row, column in np.argwhere(differ <= bits).tolist():
            pairs.append((start + row, column, round(float(differ[row, column]))))
    return pairs


def nearest(image: Fingerprint, others: Sequence[Fingerprint]) -> list[int]:
    """Indices of the others, the most similar first; equals in their given order."""
    if not others:
        return []
    rows, one = signs(others, None), signs([image], None)
    differ = differing(rows @ one.T, comparable(rows, one))[:, 0]
    return [int(index) for index in np.argsort(differ, kind="stable")]


def comparable(rows: NDArray[np.float32], columns: NDArray[np.float32]) -> NDArray[np.float32]:
    """How many signs count in both, for each row against each column."""
    return np.asarray(np.abs(rows) @ np.abs(columns).T)


def differing(agreement: NDArray[np.float32], compared: NDArray[np.float32]) -> NDArray[np.float32]:
    """Differing signs, scaled to 256 compared ones; too few compared count as all differing."""
    share = (compared - agreement) / (2 * np.maximum(compared, 1))
    return np.asarray(np.where(compared < _ENOUGH, BITS, BITS * share), dtype=np.float32)


def _frequencies(grey: NDArray[np.uint8]) -> NDArray[np.float32]:
    small = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    low = cv2.dct(small)[:17, :17].ravel()[1 : BITS + 1]
    return np.asarray(low - np.median(low), dtype=np.float32)


def _hex(bits: NDArray[np.bool_]) -> str:
    return np.packbits(bits).tobytes().hex()


def signs(prints: Sequence[Fingerprint], crop: int | None) -> NDArray[np.float32]:
    """Of shape (len(prints), 256): -1 or 1, and 0 where a sign does not count."""
    hashes = [p.phash if crop is None else p.crops[crop] for p in prints]
    return (_bits(hashes) * 2 - 1) * _bits([p.sure for p in prints])


def _bits(hashes: Sequence[str]) -> NDArray[np.float32]:
    data = np.frombuffer(bytes.fromhex("".join(hashes)), np.uint8).reshape(len(hashes), BITS // 8)
    return np.unpackbits(data, axis=1).astype(np.float32)


def _is_hex(value: Any, digits: int) -> bool:
    return (
        isinstance(value, str)
        and len(value) == digits
        and all(c in "0123456789abcdef" for c in value)
    )
