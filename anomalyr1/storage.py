r"""Reading and writing a user's files: whole or absent, and what is wrong with one in one line.

Text is UTF-8. Half a character (a lone surrogate: JSON can hold one, UTF-8 cannot) is written as
`\udXXX`, which in JSON is its own escape, so that nothing is lost.
"""

from __future__ import annotations

import codecs
import io
import json
import math
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from anomalyr1.errors import InputError, listed, one_line
from anomalyr1.file_lock import take, write_all

Row = TypeVar("Row")

_HANDED_OVER = ("/dev/fd/", "/dev/stdin", "/proc/self/fd/")

_MOST_VALUES = 100_000  # of a YAML file; ten aliases of ten aliases of ten grow without end

# A file's first bytes name its encoding; the longer marks first, because they begin alike.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def read_bytes(path: Path, expected: str) -> bytes:
    """Read a file.

    Raises:
        InputError: the file is missing or may not be read.
    """
    special = special_file(path)
    if special:
        raise InputError(
            f"expected {expected} at {path}, found {special}; copy what it gives to a file"
        )
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError):
        # ValueError: a null character in the path.
        raise InputError(
            f"expected {expected} at {path}, found no such file; check the path"
        ) from None
    except OSError as error:
        raise InputError(
            f"expected {expected} at {path}, found that it cannot be read ({error.strerror}); "
            "check the path and who may read it"
        ) from None


def special_file(path: Path) -> str | None:
    """What a path names, in words, where it is neither file nor folder nor missing.

    Reading a pipe that nobody writes to never ends, and reading a device may not. What a shell
    hands over, as `<(zcat a.gz)` and /dev/stdin, is read like a file.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # whoever opens it says so
        return None
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode) or str(path).startswith(_HANDED_OVER):
        return None
    return "a pipe" if stat.S_ISFIFO(mode) else "a device or socket"


def read_text(path: Path, expected: str = "a text file", encoding: str | None = None) -> str:
    """The text of a file: UTF-8, or what its byte order mark says (UTF-8, UTF-16, UTF-32).

    Other encodings are never guessed: cp1252 reads any byte, and turns the labels of a file in
    Chinese or Japanese into others without a word.

    Args:
        path: the file.
        expected: what it should be, for the error.
        encoding: the encoding of a file without a byte order mark; None for UTF-8.

    Raises:
        InputError: the file is missing, may not be read, or holds bytes its encoding does not have.
    """
    text = _decode(read_bytes(path, expected), path, expected, encoding)
    if "\0" in text:
        raise InputError(
            f"expected {expected} at {path}, found zero bytes, as in UTF-16 without its mark; "
            "save the file as UTF-8"
        )
    return text


def read_json(path: Path, expected: str = "a JSON file", encoding: str | None = None) -> Any:
    """Read JSON in an encoding that `read_text` reads; NaN, infinity and a key twice are refused.

    Raises:
        InputError: the file is missing, or is not JSON (line and column are named).
    """
    try:
        return _DECODER.decode(read_text(path, expected, encoding))
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
    rows = _read_lines(read or _as_it_is, _decode(whole, path, expected), path, expected)
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


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for name, _ in pairs if [n for n, _ in pairs].count(name) > 1)
        raise ValueError(f"the key {twice[:80]!r} is given twice in one object")
    return found


def _finite(number: str) -> float:
    value = float(number)
    if math.isinf(value):
        raise ValueError(f"the number {number[:20]} is too large")
    return value


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number of JSON; write null")


_DECODER = json.JSONDecoder(
    parse_float=_finite, parse_constant=_no_constant, object_pairs_hook=_once
)


def _decode(content: bytes, path: Path, expected: str, encoding: str | None = None) -> str:
    marked = next((name for mark, name in _MARKS if content.startswith(mark)), None)
    used = marked or encoding or "utf-8"
    try:
        return content.decode(used)
    except LookupError:
        raise InputError(
            f"expected an encoding like utf-8, cp1252 or gbk, found {encoding!r}; name another"
        ) from None
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        found = f"byte 0x{content[error.start]:02x} in line {line}"
        if marked and marked != "utf-8-sig":
            found = f"{marked.upper()} that is cut off or damaged"
        wanted = (encoding or "utf-8").upper()
        raise InputError(
            f"expected {expected} in {wanted} at {path}, found {found}; save the file as UTF-8"
        ) from None


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
            row = _DECODER.decode(line)
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
