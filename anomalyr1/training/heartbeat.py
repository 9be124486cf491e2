"""What each process of a run works on, for whoever looks at one that stands still."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from anomalyr1.run_folder import HEARTBEAT
from anomalyr1.storage import write_json


class Heartbeat:
    """`<run_dir>/heartbeat/rank-NNNNN.json`, rewritten whenever a process begins something else.

    A hang is a rank whose `since` is old; its `rows` are what it choked on, and the ranks that wait
    for it are those already `updating`.
    """

    def __init__(self, run_dir: Path, rank: int) -> None:
        self.path = run_dir / HEARTBEAT / f"rank-{rank:05d}.json"
        self.rank = rank
        self.rows: list[str] = []

    def beat(self, step: int, doing: str, rows: Sequence[str] | None = None) -> None:
        """Say what begins now.

        Args:
            step: optimiser steps done so far.
            doing: `sampling` or `updating`.
            rows: sample ids at work, each once; None keeps those of the last beat.
        """
        if rows is not None:
            self.rows = list(dict.fromkeys(rows))
        write_json(
            self.path,
            {
                "rank": self.rank,
                "host": socket.gethostname(),
                "pid": os.getpid(),
                "since": datetime.now(timezone.utc).isoformat(timespec="seconds"),
                "step": step,
                "doing": doing,
                "rows": self.rows,
            },
        )
