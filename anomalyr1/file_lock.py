"""A file that one process at a time holds, and that the system takes back however its holder ends.

So no clock and no process number is asked whether a holder lives: what can be locked is free.
"""

from __future__ import annotations

import errno
import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


class Taken(Exception):
    """Another holds the file; `said` is what stands in it."""

    def __init__(self, said: bytes) -> None:
        super().__init__()
        self.said = said


@dataclass(frozen=True)
class Held:
    """A file that is held until `handle` is closed.

    Attributes:
        handle: open for reading and writing.
        locked: False where the file system has no locks, so that nobody is kept out.
    """

    handle: int
    locked: bool = True

    def said(self) -> bytes:
        """What stands in the file; nothing in a new one."""
        return os.pread(self.handle, 4096, 0)

    def say(self, content: bytes) -> None:
        """Write the file anew.

        Raises:
            OSError: there is no room.
        """
        os.ftruncate(self.handle, 0)
        os.lseek(self.handle, 0, os.SEEK_SET)
        write_all(self.handle, content)

    def close(self) -> None:
        """Let go of it."""
        os.close(self.handle)


def take(path: Path, *, wait: bool = False) -> Held:
    """Open a file, made where it is not there, and hold it.

    Args:
        path: the file, in a folder that is there.
        wait: until it is free; otherwise one that is not is an error.

    Raises:
        Taken: another holds it.
        OSError: it cannot be opened.
    """
    how = fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB)
    while True:
        held = Held(os.open(path, os.O_RDWR | os.O_CREAT, 0o666))
        try:
            fcntl.flock(held.handle, how)
        except BlockingIOError:
            said = held.said()
            held.close()
            raise Taken(said) from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                held.close()
                raise
            return Held(held.handle, locked=False)
        except BaseException:
            held.close()
            raise
        if _stands_at(held.handle, path):
            return held
        held.close()  # the holder was just leaving and took the file with it


def is_held(path: Path) -> bool:
    """Whether another holds a file; one that is not there is held by nobody, and not made."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    finally:
        os.close(handle)
    return False


def write_all(handle: int, content: bytes) -> None:
    """Write to the last byte: the system may take less at once, as where a disk is filling up.

    Raises:
        OSError: there is no room.
    """
    left = memoryview(content)
    while left:
        left = left[os.write(handle, left) :]


def _stands_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False
