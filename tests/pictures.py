"""Images that the tests draw."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def noise(seed: int, width: int = 112, height: int = 112) -> Image.Image:
    """Pixels drawn each by itself; every seed looks different to a policy."""
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3)).astype(np.uint8)
    return Image.fromarray(pixels)


def save(path: Path, pixels: np.ndarray) -> Path:
    """An array (height, width[, 3]) as a file, in folders made for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {"quality": 95} if path.suffix.lower() in (".jpg", ".jpeg") else {}
    Image.fromarray(pixels).save(path, **options)
    return path
