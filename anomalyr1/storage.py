r"""Reading and writing a user's files: whole or absent, and what is wrong with one in one line.

Text is UTF-8. Half a character (a lone surrogate: JSON can hold one, UTF-8 cannot) is written as
`\udXXX`, which in JSON is its own escape, so that nothing is lost.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from anomalyr1.errors import InputError, listed, one_line
from anomalyr1.file_lock import take, write_all
from anomalyr1.text_files import decode_json, decode_text, read_bytes, read_text

Row = TypeVar("Row")

_MOST_VALUES = 100_000  # of a YAML file; ten aliases of ten aliases of ten grow without end


def read_json(path: Path, expected: str = "a JSON file", encoding: str | None = None) -> Any:
    """Read JSON in an encoding that `read_text` reads; NaN, infinity and a key twice are refused.

    Raises:
        InputError: the file is missing, or is not JSON (line and column are named).
    """
    try:
        return decode_json(read_text(path, expected, encoding))
    except InputError:
        raise
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"expected {expected} at {path}, found broken JSON ({one_line(error)}); mend the file"
        ) from None


def read_yaml(path: Path, expected: str, *, resolve: bool = True) -> Any:
    """Read YAML; a key given twice is refused, and a file of nothing is an empty mapping.

    Args:
        path: the file.
        expected: what should be there, in words: a readable config.
        resolve: put values in the place of references such as `${seed}`.

    Raises:
        InputError: the file is missing, or is not YAML.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import SafeLoader, YAMLError, compose

    text = read_text(path, expected)
    try:
        if _written_out(compose(text, SafeLoader), {}) > _MOST_VALUES:
            raise ValueError(f"aliases that stand for more than {_MOST_VALUES:,} values")
        return OmegaConf.to_container(OmegaConf.load(io.StringIO(text)), resolve=resolve)
    except (OmegaConfBaseException, YAMLError, ValueError, OSError, RecursionError) as error:
        raise InputError(
            f"expected {expected} in {path}, found: {one_line(error)}; mend the file"
        ) from None


def read_jsonl(path: Path, expected: str = "a JSON-lines file") -> list[dict[str, Any]]:
    """Read one JSON object a line; blank lines are passed over.

    Raises:
        InputError: the file is missing, or lines are not JSON objects (their numbers are named).
    """
    return read_jsonl_as(_as_it_is, path, expected)


def read_jsonl_as(
    read: Callable[[dict[str, Any], int], Row], path: Path, expected: str
) -> list[Row]:
    """Read one JSON object a line, each made into a record; all lines at fault are told at once.

    Args:
        read: makes the record from the object and the number of its line, from 1; raises InputError
            where that is not possible.
        path: the file; blank lines are passed over.
        expected: what should be there.

    Raises:
        InputError: the file is missing, or lines cannot be used: their count, and the first ten.
    """
    return _read_lines(read, read_text(path, expected), path, expected)


def resume_jsonl(
    path: Path,
    expected: str = "a JSON-lines file",
    read: Callable[[dict[str, Any], int], dict[str, Any]] | None = None,
    told: Callable[[str], object] = lambda _: None,
) -> list[dict[str, Any]]:
    """Read the lines an interrupted run left and cut a torn last line off the file.

    A process killed while appending can leave half a line at the end, and only there; a machine
    that lost its power, a last line of zero bytes. `read` is that of `read_jsonl_as`; `told` is
    given a line about what was cut off.
    """
    if not path.exists():
        return []
    content = read_bytes(path, expected)
    whole = content[: content.rfind(b"\n") + 1]
    last = whole[whole.rfind(b"\n", 0, -1) + 1 :]
    if b"\0" in last:
        whole = whole[: -len(last)]
    rows = _read_lines(read or _as_it_is, decode_text(whole, path, expected), path, expected)
    if len(whole) < len(content):
        with writing(path), path.open("rb+") as file:
            file.truncate(len(whole))
        told(f"{path}: cut off a broken last line of {len(content) - len(whole)} bytes")
    return rows


def write_text(path: Path, text: str) -> None:
    """Write a text, atomically."""
    write_bytes(path, _encode(text))


def write_bytes(path: Path, content: bytes) -> None:
    """Write under a temporary name beside `path`, then rename: readers never see half a file.

    The name is always the same, and held while it is written: what a killed process left of it is
    gone when the file is written again.

    Raises:
        InputError: the system refuses to write there.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        held = take(temporary, wait=True)
        try:
            held.say(content)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        finally:
            held.close()


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically. NaN is refused: JSON has none."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_jsonl(path: Path, rows: Iterable[Any]) -> None:
    """Write one JSON object a line, atomically."""
    write_text(path, _lines(rows))


def append_jsonl(path: Path, rows: Iterable[Any]) -> None:
    """Append whole lines and flush them to the disk; where there is no room, none of them."""
    content = _encode(_lines(rows))
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab", buffering=0) as file:
            before = file.tell()
            try:
                write_all(file.fileno(), content)
                os.fsync(file.fileno())
            except BaseException:
                file.truncate(before)
                raise


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """What the system says of a place that cannot be written, as one line.

    Raises:
        InputError: the block raised an OSError.
    """
    try:
        yield
    except OSError as error:
        raise unwritable(path, error.strerror or str(error)) from None


def unwritable(path: Path, found: str) -> InputError:
    """The error of a place that cannot be written, with what was said of it."""
    return InputError(
        f"expected to write {path}, found that it cannot be written ({found}); choose another "
        "place or make room"
    )


def _as_it_is(row: dict[str, Any], _: int) -> dict[str, Any]:
    return row


def _written_out(node: Any, known: dict[int, int]) -> int:
    """How many values a node of YAML has once its aliases are written out; each is counted once."""
    if id(node) not in known:
        inside = getattr(node, "value", ())
        parts = [part for entry in inside for part in (entry if type(entry) is tuple else (entry,))]
        parts = parts if isinstance(inside, list) else []
        known[id(node)] = 1 + sum(_written_out(part, known) for part in parts)
    return known[id(node)]


def _encode(text: str) -> bytes:
    return text.encode("utf-8", errors="backslashreplace")


def _lines(rows: Iterable[Any]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)


def _read_lines(
    read: Callable[[dict[str, Any], int], Row], text: str, path: Path, expected: str
) -> list[Row]:
    rows: list[Row] = []
    faults: list[str] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = decode_json(line)
        except (ValueError, RecursionError) as error:
            faults.append(
                f"expected {expected}, found broken JSON at {path}:{number} ({one_line(error)}); "
                "mend the line"
            )
            continue
        try:
            if not isinstance(row, dict):
                raise InputError(
                    f"expected a JSON object a line, found {type(row).__name__} at "
                    f"{path}:{number}; mend the line"
                )
            rows.append(read(row, number))
        except InputError as error:
            faults.append(str(error))
    if faults:
        raise InputError(_at_once(faults, path))
    return rows


def _at_once(faults: list[str], path: Path) -> str:
    if len(faults) == 1:
        return faults[0]
    shown = listed(faults, separator="; ")
    return f"{path} has {len(faults)} lines that cannot be used: {shown}"
