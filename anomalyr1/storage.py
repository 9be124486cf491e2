"""Files that are either whole or absent: atomic writes, appended and resumed JSON lines."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from anomalyr1.errors import InputError


def write_text(path: Path, text: str) -> None:
    """Write under a temporary name beside `path`, then rename: readers never see half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically. NaN is refused: JSON has none."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path, expected: str = "a JSON file") -> Any:
    """Read JSON.

    Raises:
        InputError: the file is missing, or is not JSON (line and column are named).
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise InputError(
            f"expected {expected} at {path}, found no such file; check the path"
        ) from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(
            f"expected {expected} at {path}, found broken JSON ({error}); mend the file"
        ) from None


def write_jsonl(path: Path, rows: Iterable[Any]) -> None:
    """Write one JSON object a line, atomically."""
    write_text(
        path, "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
    )


def read_jsonl(path: Path, expected: str = "a JSON-lines file") -> list[dict[str, Any]]:
    """Read one JSON object a line; blank lines are passed over.

    Raises:
        InputError: the file is missing or a line is not a JSON object (its number is named).
    """
    return list(_iterate(path, expected, torn_tail=False))


def resume_jsonl(path: Path, expected: str = "a JSON-lines file") -> list[dict[str, Any]]:
    """Read the lines an interrupted run left and cut a torn last line off the file.

    A process killed while appending can leave half a line at the end, and only there.
    """
    if not path.exists():
        return []
    rows = list(_iterate(path, expected, torn_tail=True))
    with path.open("rb+") as file:
        content = file.read()
        if content and not content.endswith(b"\n"):
            file.truncate(content.rfind(b"\n") + 1)
    return rows


def append_jsonl(path: Path, rows: Iterable[Any]) -> None:
    """Append whole lines and flush them to the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(
            "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
        )
        file.flush()
        os.fsync(file.fileno())


def _iterate(path: Path, expected: str, torn_tail: bool) -> Iterator[dict[str, Any]]:
    try:
        lines = path.read_bytes().split(b"\n")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise InputError(
            f"expected {expected} at {path}, found no such file; check the path"
        ) from None
    if torn_tail:
        lines = lines[:-1]  # whatever follows the last newline was never finished
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise InputError(
                f"expected {expected}, found broken JSON at {path}:{number} ({error}); "
                "mend the line"
            ) from None
        if not isinstance(row, dict):
            raise InputError(
                f"expected a JSON object a line, found {type(row).__name__} at "
                f"{path}:{number}; mend the line"
            )
        yield row
