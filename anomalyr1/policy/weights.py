"""Weights on the disk: written whole or not at all, and told by a hash."""

from __future__ import annotations

import errno
import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from anomalyr1.errors import one_line
from anomalyr1.storage import unwritable

_OF_DISKS = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO),
    *(errno.EACCES, errno.EPERM, errno.EROFS),
)
_OF_RUST = re.compile(r"(?:.*I/O error: )?(.*) \(os error (\d+)\)")  # safetensors, tokenizers
_OF_TORCH = "inline_container"  # the file that torch's writer names where it finds no room


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


@contextmanager
def saving(folder: Path) -> Iterator[None]:
    """A folder that libraries save weights into; where there is no room for all, it goes again.

    Each library has an error of its own for a full disk.

    Raises:
        InputError: the folder cannot be written.
    """
    try:
        yield
    except Exception as error:
        found = _no_room(error)
        if found is None:
            raise
        shutil.rmtree(folder, ignore_errors=True)
        raise unwritable(folder, found) from error


def _no_room(error: Exception) -> str | None:
    """What the disk said; None where it was something else, a network's failure for instance."""
    if isinstance(error, OSError):
        return error.strerror if error.errno in _OF_DISKS else None
    said = _OF_RUST.fullmatch(one_line(error))
    if said and int(said[2]) in _OF_DISKS:
        return said[1]
    return "a file was cut off" if _OF_TORCH in str(error) else None
