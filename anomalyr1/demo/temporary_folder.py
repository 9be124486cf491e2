"""One folder for all that the page keeps for a while: gone when it ends, however it ends."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from anomalyr1.file_lock import Held, Taken, take
from anomalyr1.stopping import undisturbed
from anomalyr1.storage import writing

PREFIX = "anomalyr1-demo-"
_LOCK = "held"


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder in which all temporary files of this process lie as long as the block runs.

    What pages that were killed had left beside it is taken away first.

    Raises:
        InputError: there is no place for temporary files.
    """
    beside = Path(tempfile.gettempdir())
    _take_away_left_behind(beside)
    with writing(beside):
        folder, held = _own()
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        yield folder
    finally:
        with undisturbed():
            tempfile.tempdir = before
            shutil.rmtree(folder, ignore_errors=True)
            held.close()


def _own() -> tuple[Path, Held]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        # Another page that begins may have taken it for one left behind in between.
        with suppress(Taken, FileNotFoundError):
            return folder, take(folder / _LOCK)


def _take_away_left_behind(beside: Path) -> None:
    """Folders of this user that no living page holds."""
    for folder in beside.glob(f"{PREFIX}*"):
        with suppress(OSError, Taken):
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
            held = take(folder / _LOCK)
            if held.locked:
                shutil.rmtree(folder, ignore_errors=True)
            held.close()
