"""What an image is recognised by: the SHA-256 of its file, and a perceptual hash of its look.

The perceptual hash is the sign of the low frequencies of the 64 x 64 grey image's cosine transform
(after Zauner, "Implementation and benchmarking of perceptual image hash functions", 2010), with 256
bits instead of 64, because normal images of one product look alike. Re-encoding moves few bits but
a crop moves many, so the hashes of nine crops stand beside that of the whole image.
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

BITS = 256
NEAR_BITS = 20
"""Two images whose hashes differ in at most this many bits are near-duplicates.

Measured on circuit boards, magnetic tiles and solar cells: JPEG at quality 70 together with a crop
of 2 % on one side, on two or all round moves at most 18 bits, a crop of random shares per side at
most 22 in 95 % of the images. Different images come as near in 0.003 % (boards), 0.07 % (tiles,
some photographed twice) and 0.02 % (neighbouring solar cells) of the pairs."""

_SIDE = 64
_CHUNK = 1024
_CROP = 0.02
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
    """`sha256` of the file; `phash` of the whole image and `crops` of nine crops, in hex."""

    sha256: str
    phash: str
    crops: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The form it has in manifest.json."""
        return {"sha256": self.sha256, "phash": self.phash, "crops": "".join(self.crops)}

    @classmethod
    def from_json(cls, value: Any, where: str) -> Fingerprint:
        """Read it back.

        Raises:
            InputError: a hash is missing or is not in hex of the right length.
        """
        entry = value if isinstance(value, dict) else {}
        sha256, phash, crops = (entry.get(name, "") for name in ("sha256", "phash", "crops"))
        digits = BITS // 4
        if not (_is_hex(sha256, 64) and _is_hex(phash, digits)) or not (
            crops == "" or _is_hex(crops, digits * len(_CROPS))
        ):
            raise InputError(
                f"expected sha256, phash and crops in hex for {where}, found {value!r}; "
                "write the manifest again"
            )
        parts = tuple(crops[i : i + digits] for i in range(0, len(crops), digits))
        return cls(sha256, phash, parts)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(f"expected a file at {path}, found none ({error.strerror})") from None


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
    crops = []
    for left, top, right, bottom in _CROPS:
        rows = slice(round(top * height), height - round(bottom * height))
        columns = slice(round(left * width), width - round(right * width))
        crops.append(_phash(grey[rows, columns]))
    return Fingerprint(sha256, _phash(grey), tuple(crops))


def near_pairs(
    first: Sequence[Fingerprint], second: Sequence[Fingerprint], bits: int = NEAR_BITS
) -> list[tuple[int, int, int]]:
    """(index in `first`, index in `second`, bits that differ) of the pairs within `bits`.

    The distance of a pair is the smallest over whole against whole, and whole against each crop,
    either way round.
    """
    if not first or not second:
        return []
    whole, crops = _signs([s.phash for s in second]), _crop_signs(second)
    pairs = []
    for start in range(0, len(first), _CHUNK):
        part = first[start : start + _CHUNK]
        rows = _signs([f.phash for f in part])
        agreement = rows @ whole.T
        for other in crops:
            np.maximum(agreement, rows @ other.T, out=agreement)
        for other in _crop_signs(part):
            np.maximum(agreement, other @ whole.T, out=agreement)
        for row, column in np.argwhere(agreement >= BITS - 2 * bits).tolist():
            pairs.append((start + row, column, round((BITS - agreement[row, column]) / 2)))
    return pairs


def nearest(image: Fingerprint, others: Sequence[Fingerprint]) -> list[int]:
    """Indices of the others, the most similar first; equals in their given order."""
    if not others:
        return []
    agreement = _signs([other.phash for other in others]) @ _signs([image.phash])[0]
    return [int(index) for index in np.argsort(-agreement, kind="stable")]


def _crop_signs(prints: Sequence[Fingerprint]) -> list[NDArray[np.float32]]:
    if not all(p.crops for p in prints):
        return []
    return [_signs([p.crops[index] for p in prints]) for index in range(len(_CROPS))]


def _phash(grey: NDArray[np.uint8]) -> str:
    small = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    low = cv2.dct(small)[:17, :17].ravel()[1 : BITS + 1]
    return np.packbits(low > np.median(low)).tobytes().hex()


def _signs(hashes: Sequence[str]) -> NDArray[np.float32]:
    data = np.frombuffer(bytes.fromhex("".join(hashes)), np.uint8).reshape(len(hashes), BITS // 8)
    return np.unpackbits(data, axis=1).astype(np.float32) * 2 - 1


def _is_hex(value: Any, digits: int) -> bool:
    return (
        isinstance(value, str)
        and len(value) == digits
        and all(c in "0123456789abcdef" for c in value)
    )
