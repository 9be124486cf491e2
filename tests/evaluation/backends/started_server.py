"""A server of another project, started on loopback for a while, and what is asked of it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
from commands import REPOSITORY
from tiny_runs import write_config

POLICY = REPOSITORY / "data/tiny-policy"  # it has something to say
CAPS = {"min_pixels": 3136, "max_pixels": 6272}  # of the toy images none stays as it is
# All that can be asked more than once.
AGAIN = [f"eval.consistency.{key}" for key in ("shifted=1", "reworded=true", "asked_again=true")]


def asking_config(file: Path, benchmark: Path, **options: Any) -> Path:
    """A config that asks the shipped policy about a few images, greedily unless options differ."""
    return write_config(
        file,
        policy={"path": POLICY, "dtype": "float32", **CAPS},
        prompt={"max_prompt_tokens": 1024},
        eval={
            "benchmark": benchmark,
            "max_new_tokens": 24,
            "gallery": 0,
            "bootstrap": 10,
            **options,
        },
        segmentation={"kind": "none"},
    )


def answered(run_dir: Path) -> list[dict[str, Any]]:
    """Its predictions, line by line."""
    return [json.loads(line) for line in (run_dir / "predictions.jsonl").open()]


def without_ids(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Predictions without what a server does not tell."""
    return [{**row, "completion_ids": None} for row in rows]


@contextmanager
def started(log: Path, *command: str, seconds: float = 120, **environment: str) -> Iterator[str]:
    """Where the chat completions of a server are, which is ended with the block.

    Args:
        log: file for what it prints.
        command: that starts it; its host and port are added.
        seconds: it may take until it answers.
        environment: variables that differ from those of this process.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with log.open("w") as out:
        server = psutil.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
        )
    try:
        deadline = time.monotonic() + seconds
        while True:
            try:
                httpx.get(f"http://127.0.0.1:{port}/health")
                break
            except httpx.TransportError:
                told = log.read_text()[-4000:]
                assert server.poll() is None and time.monotonic() < deadline, told
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        engines = server.children(recursive=True) if server.is_running() else []
        server.terminate()
        _, left = psutil.wait_procs([server, *engines], timeout=60)
        for process in left:
            process.kill()
