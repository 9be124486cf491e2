"""Verbs of the command line, each in a process of its own that has the libraries already.

A process that is forked from this one starts at once, where a new one imports for seconds: dozens
of runs are killed in a minute. Each request on standard input is a line of JSON, and so is its
answer:

    {"argv": ["data", "build", ...], "folder": OUT, "log": FILE, "after": 0.7, "at": null}

`after` kills the run (SIGKILL) so many seconds after its start, `at` at its n-th writing step below
`folder`: before a file is opened to be written, renamed, linked or removed, a folder made or taken
away. The answer has the exit `status` (-9 of a killed run), `seconds` and the writing `steps`.

    python tests/launched/forked_verbs.py [torch]
"""

from __future__ import annotations

import json
import mmap
import os
import signal
import struct
import sys
import time
from typing import Any

_STEPS = frozenset(
    {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate", "shutil.rmtree"}
)
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def imported(torch: bool) -> None:
    """All that the verbs import, once."""
    import anomalyr1.cli
    import anomalyr1.data.making.builder
    import anomalyr1.data.making.sources.catalogue

    if torch:
        import anomalyr1.evaluation.pipeline
        import anomalyr1.inspection.file_run
        import anomalyr1.training.grpo
        import anomalyr1.training.sft  # noqa: F401


class Steps:
    """Counts the writing steps of a process below a folder, and ends it at one of them."""

    def __init__(self, folder: str, at: int | None, count: mmap.mmap) -> None:
        self.folder, self.at, self.count, self.seen = folder, at, count, 0

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            written = isinstance(arguments[2], int) and arguments[2] & _WRITES
        else:
            written = event in _STEPS
        if not written or not any(self._is_below(argument) for argument in arguments[:2]):
            return
        self.seen += 1
        self.count[:8] = struct.pack("q", self.seen)
        if self.seen == self.at:
            os.kill(os.getpid(), signal.SIGKILL)

    def _is_below(self, path: Any) -> bool:
        if isinstance(path, bytes):
            path = os.fsdecode(path)
        return isinstance(path, (str, os.PathLike)) and os.fspath(path).startswith(self.folder)


def run(argv: list[str], folder: str, log: str, after: float | None, at: int | None) -> Any:
    """Fork a verb and see it to its end."""
    count = mmap.mmap(-1, 8)
    begun = time.monotonic()
    child = os.fork()
    if child == 0:
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        sys.addaudithook(Steps(folder, at, count))
        sys.argv = ["anomalyr1", *argv]
        from anomalyr1.cli import main

        status = 70  # of a traceback
        try:
            main()
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        except BaseException:
            import traceback

            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    while True:
        found, ended = os.waitpid(child, os.WNOHANG)
        if found:
            break
        if after is not None and time.monotonic() - begun >= after:
            os.kill(child, signal.SIGKILL)
            _, ended = os.waitpid(child, 0)
            break
        time.sleep(0.001)
    return {
        "status": os.waitstatus_to_exitcode(ended),
        "seconds": time.monotonic() - begun,
        "steps": struct.unpack("q", count[:8])[0],
    }


if __name__ == "__main__":
    imported("torch" in sys.argv[1:])
    print(json.dumps({"threads": len(os.listdir("/proc/self/task"))}), flush=True)  # noqa: PTH208
    for line in sys.stdin:
        print(json.dumps(run(**json.loads(line))), flush=True)
