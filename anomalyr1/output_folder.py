"""A folder that is written whole or not at all.

A command that is killed cannot clear up behind itself. The folder it was writing is marked, and
held as long as it writes; the same command, started again, takes away what it left and starts over.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from anomalyr1.errors import InputError
from anomalyr1.file_lock import Held, Taken, is_held, take
from anomalyr1.terminal import notes

UNFINISHED = ".unfinished"
_MEANING = (
    b"A command is writing into this folder, or was killed while it did. Nothing here is whole; "
    b"the same command, started again, takes it away and starts over.\n"
)


def require_new(out: Path) -> None:
    """Refuse an output folder that holds something; called before any work.

    Raises:
        InputError: it holds files, or is one, or another command is writing into it.
    """
    try:
        if not out.exists():
            return
        if not out.is_dir():
            raise _in_use(out, "a file")
        if is_held(out / UNFINISHED):
            raise _at_work(out)
        if not (out / UNFINISHED).exists() and any(out.iterdir()):
            raise _in_use(out, "files in it")
    except OSError as error:
        raise _unwritable(out, error) from None


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Make `out` and, when what is done inside fails, take it away again with all that it holds.

    What a killed command left of it is taken away first.

    Raises:
        InputError: it holds files already, another command is writing into it, or it cannot be
            written to.
    """
    require_new(out)
    made = [folder for folder in (out, *out.parents) if not folder.exists()]
    try:
        out.mkdir(parents=True, exist_ok=True)
        held = take(out / UNFINISHED)
    except Taken:
        raise _at_work(out) from None
    except OSError as error:
        raise _unwritable(out, error) from None
    try:
        _claim(out, held)
        try:
            yield out
            (out / UNFINISHED).unlink()
        except BaseException:
            _take_away(out, made)
            raise
    except OSError as error:
        raise _unwritable(out, error) from None
    finally:
        held.close()


def _claim(out: Path, held: Held) -> None:
    """Mark the folder as unfinished; what stands in one that was marked before goes."""
    others = any(entry.name != UNFINISHED for entry in out.iterdir())
    if others and not held.said():  # another command has begun and ended since it was looked at
        (out / UNFINISHED).unlink()
        raise _in_use(out, "files in it")
    if others:
        _clear(out)
        notes().print(f"{out}: what a killed command had left of it is taken away")
    try:
        held.say(_MEANING)
    except OSError:
        (out / UNFINISHED).unlink()
        raise


def _clear(out: Path) -> None:
    for entry in out.iterdir() if out.is_dir() else ():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        elif entry.name != UNFINISHED:
            entry.unlink(missing_ok=True)


def _take_away(out: Path, made: list[Path]) -> None:
    _clear(out)
    (out / UNFINISHED).unlink(missing_ok=True)  # the last: what is left without it looks whole
    for folder in made:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def _in_use(out: Path, found: str) -> InputError:
    return InputError(f"expected {out} to be empty or new, found {found}; choose another")


def _at_work(out: Path) -> InputError:
    return InputError(
        f"expected no other command to write into {out}, found one at work; wait for its end, or "
        "choose another folder"
    )


def _unwritable(out: Path, error: OSError) -> InputError:
    at = f" at {error.filename}" if error.filename else ""
    return InputError(
        f"expected to write into {out}, found {error.strerror or error}{at}; choose another folder"
    )
