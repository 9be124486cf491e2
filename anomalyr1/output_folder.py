"""A folder that is written whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from anomalyr1.errors import InputError


def require_new(out: Path) -> None:
    """Refuse an output folder that holds something; called before any work.

    Raises:
        InputError: it holds files, or is one.
    """
    try:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            found = "files in it" if out.is_dir() else "a file"
            raise InputError(f"expected {out} to be empty or new, found {found}; choose another")
    except OSError as error:
        raise _unwritable(out, error) from None


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Make `out` and, when what is done inside fails, take it away again with all that it holds.

    Raises:
        InputError: it holds files already, or cannot be written to.
    """
    require_new(out)
    made = [folder for folder in (out, *out.parents) if not folder.exists()]
    try:
        out.mkdir(parents=True, exist_ok=True)
        yield out
    except BaseException as error:
        _take_away(out, made)
        if isinstance(error, OSError):
            raise _unwritable(out, error) from None
        raise


def _take_away(out: Path, made: list[Path]) -> None:
    for entry in out.iterdir() if out.is_dir() else ():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)
    for folder in made:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def _unwritable(out: Path, error: OSError) -> InputError:
    at = f" at {error.filename}" if error.filename else ""
    return InputError(
        f"expected to write into {out}, found {error.strerror or error}{at}; choose another folder"
    )
