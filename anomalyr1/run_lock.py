"""One run a folder: the second is refused while the first lives."""

from __future__ import annotations

import functools
import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeVar, cast

from anomalyr1.errors import InputError
from anomalyr1.file_lock import Held, Taken, take
from anomalyr1.run_folder import LOCK
from anomalyr1.stopping import is_first_process
from anomalyr1.storage import writing
from anomalyr1.terminal import notes

Work = TypeVar("Work", bound=Callable[..., Any])

_BOOT = Path("/proc/sys/kernel/random/boot_id")  # of Linux, one for all containers of a machine


def alone_in_its_folder(work: Work) -> Work:
    """Work on a config that begins only where no other run is at work in its run folder."""

    @functools.wraps(work)
    def guarded(config: Any, *args: Any, **kwargs: Any) -> Any:
        with run_lock(Path(config.run_dir)):
            return work(config, *args, **kwargs)

    return cast(Work, guarded)


@contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Hold `<folder>/run.lock`, which says who is at work: process, host, and since when.

    The system takes the lock back when its holder ends, however that happens. So no clock is read
    to tell whether a holder lives, nor the number of a process, which another may have by now; what
    a dead run left is taken over with a line. Where the file names another machine the system may
    know nothing of it, because a network folder need not carry locks from one to the other.

    Of the processes of a launch the first holds it for all.

    Args:
        folder: the run folder; made where it is not there.

    Raises:
        InputError: a run is at work there, or may be on another machine; or the folder cannot be
            written.
    """
    if not is_first_process():
        yield
        return
    path = folder / LOCK
    with writing(path):
        folder.mkdir(parents=True, exist_ok=True)
        held = _take(path)
    try:
        _claim(held, path)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
    finally:
        held.close()


def _take(path: Path) -> Held:
    """The open and locked file."""
    try:
        held = take(path)
    except Taken as taken:
        raise InputError(
            f"expected no other run at work in {path.parent}, found {_named(_read(taken.said))}; "
            "wait for its end, or choose another run_dir"
        ) from None
    if not held.locked:
        notes().print(f"{path}: no lock, the file system has none; start one run at a time")
    return held


def _claim(held: Held, path: Path) -> None:
    """Write into the file who holds it now."""
    here = {"host": socket.gethostname(), "boot": _boot()}
    before = _read(held.said())
    if before:
        if all(before.get(key) != value for key, value in here.items()):
            raise InputError(
                f"expected no other run at work in {path.parent}, found {_named(before)}, which "
                f"cannot be looked for from here; if it has ended, take {path} away"
            )
        notes().print(f"{path}: taken over from {_named(before)}, which has ended")
    since = datetime.now(timezone.utc).isoformat(timespec="seconds")
    with writing(path):
        held.say(json.dumps({"pid": os.getpid(), **here, "since": since}).encode())


def _read(said: bytes) -> dict[str, Any]:
    """What the file says; nothing where it says nothing yet."""
    try:
        found = json.loads(said)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _named(holder: dict[str, Any]) -> str:
    if not holder:
        return "one that has just begun"
    pid, host, since = (holder.get(key, "?") for key in ("pid", "host", "since"))
    return f"process {pid} on {host}, begun {since}"


def _boot() -> str | None:
    return _BOOT.read_text().strip() if _BOOT.exists() else None
