"""Files that are either whole or absent: atomic writes, appended and resumed JSON lines."""

from __future__ import annotations

import codecs
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from anomalyr1.errors import InputError

# A file's first bytes name its encoding; the longer marks first, because they begin alike.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def write_text(path: Path, text: str) -> None:
    """Write under a temporary name beside `path`, then rename: readers never see half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_text(path: Path, expected: str = "a text file", encoding: str | None = None) -> str:
    """The text of a file: UTF-8, or what its byte order mark says (UTF-8, UTF-16, UTF-32).

    Other encodings are never guessed: cp1252 reads any byte, and turns the labels of a file in
    Chinese or Japanese into others without a word.

    Args:
        path: the file.
        expected: what it should be, for the error.
        encoding: the encoding of a file without a byte order mark; None for UTF-8.

    Raises:
        InputError: the file is missing, or holds bytes that its encoding does not have.
    """
    try:
        content = path.read_bytes()
    except OSError:
        raise InputError(
            f"expected {expected} at {path}, found no such file; check the path"
        ) from None
    named = next((name for mark, name in _MARKS if content.startswith(mark)), None)
    used = named or encoding or "utf-8"
    try:
        text = content.decode(used)
    except LookupError:
        raise InputError(
            f"expected an encoding like utf-8, cp1252 or gbk, found {encoding!r}"
        ) from None
    except UnicodeDecodeError as error:
        raise InputError(
            f"expected {expected} in {used} at {path}, found other bytes at {error.start} "
            f"({content[error.start : error.start + 4].hex()}); save it as UTF-8"
        ) from None
    if "\0" in text:
        raise InputError(
            f"expected {expected} in {used} at {path}, found zero bytes; save it as UTF-8"
        )
    return text


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically. NaN is refused: JSON has none."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path, expected: str = "a JSON file", encoding: str | None = None) -> Any:
    """Read JSON in an encoding that `read_text` reads.

    Raises:
        InputError: the file is missing, or is not JSON (line and column are named).
    """
    text = read_text(path, expected, encoding)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: no JSON, or a number too long
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
        except (ValueError, RecursionError) as error:
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
