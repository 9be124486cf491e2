"""A user's files as text: what stands at a path, in which encoding, and strict JSON of it."""

from __future__ import annotations

import codecs
import json
import math
import stat
from pathlib import Path
from typing import Any

from anomalyr1.errors import InputError

_HANDED_OVER = ("/dev/fd/", "/dev/stdin", "/proc/self/fd/")

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
    text = decode_text(read_bytes(path, expected), path, expected, encoding)
    if "\0" in text:
        raise InputError(
            f"expected {expected} at {path}, found zero bytes, as in UTF-16 without its mark; "
            "save the file as UTF-8"
        )
    return text


def decode_json(text: str) -> Any:
    """JSON without NaN, infinity, numbers that no float holds, or a key given twice.

    Raises:
        ValueError: it is not; RecursionError where it is nested without end.
    """
    return _DECODER.decode(text)


def decode_text(content: bytes, path: Path, expected: str, encoding: str | None = None) -> str:
    """The text of bytes that were read from `path`, as `read_text` has it; zero bytes may stand.

    Raises:
        InputError: they are not text in that encoding.
    """
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
