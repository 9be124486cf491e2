"""Which weights a policy has, told by a hash."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path


def weights_digest(folder: Path) -> str | None:
    """Hash of samples of a local checkpoint's weight files; None for a hub id."""
    files = sorted(folder.glob("*.safetensors")) if folder.is_dir() else []
    if not files:
        return None
    digest = hashlib.sha256()
    for file in files:
        size = file.stat().st_size
        digest.update(json.dumps([file.name, size]).encode())
        with file.open("rb") as content:
            for offset in range(0, size, max(1, size // 64)):
                content.seek(offset)
                digest.update(content.read(1 << 16))
    return digest.hexdigest()
