"""Results as lines of JSON, written as soon as they are known: a run may be stopped at any time."""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch


@dataclass
class Book:
    """Where results go, a line each, and until when."""

    out: Path | None
    until: float
    disagreed: bool = False

    def write(self, **line: Any) -> None:
        """Print a result, and add it to the file."""
        text = json.dumps(line)
        print(text, flush=True)
        if self.out is not None:
            with self.out.open("a") as file:
                file.write(text + "\n")

    def attempt(self, run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What it gives, or why there is nothing."""
        if time.monotonic() > self.until:
            return {"skipped": "no time was left"}
        try:
            return run()
        except torch.OutOfMemoryError as error:
            return {"failed": f"out of memory: {first_line(error)}"}
        except Exception as error:  # one result less; the others are still wanted
            return {"failed": f"{type(error).__name__}: {first_line(error)}"}
        finally:
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def check(self, name: str, side: str, run: Callable[[str], dict[str, Any]]) -> None:
        """Write a comparison; one that does not hold makes the whole end with status 1."""
        found = self.attempt(lambda: run(side))
        self.disagreed |= not found.get("agrees", "skipped" in found)
        self.write(what=name, side=side, **found)


def first_line(error: Exception) -> str:
    """The first line of what an error says, cut to a length that a table holds."""
    return (str(error).strip().splitlines() or [""])[0][:200]
