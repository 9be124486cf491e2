"""Values as a user's file holds them: which are numbers, and which no other file could hold."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

_SURROGATE = re.compile("[\ud800-\udfff]")

_CONTROL = re.compile("[\x00-\x1f\x7f]")
_UNSAFE = re.compile(r"[^\w.-]+")
_LONGEST = 60  # letters of a name that are kept


def is_number(value: object) -> bool:
    """A finite number that fits into a float; true and false are none.

    >>> is_number(3), is_number(True), is_number(float("nan")), is_number(10**400)
    (True, False, False, False)
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def has_half_character(text: str) -> bool:
    r"""Whether a text has a lone surrogate, which JSON can hold and UTF-8 cannot.

    >>> has_half_character("\ud83d"), has_half_character("\U0001f600")
    (True, False)
    """
    return not text.isascii() and _SURROGATE.search(text) is not None


def is_plain_path(path: str) -> bool:
    r"""Whether a text can be the path of a file and be shown in one line.

    >>> is_plain_path("a/b.png"), is_plain_path("a\nb.png"), is_plain_path("\ud800.png")
    (True, False, False)
    """
    return not has_half_character(path) and _CONTROL.search(path) is None


def is_below(path: str, root: str) -> bool:
    """Whether a path is a folder or lies in it, by their names; both normalised and absolute.

    >>> is_below("/a/b", "/a"), is_below("/a", "/a"), is_below("/ab", "/a"), is_below("/a", "/")
    (True, True, False, True)
    """
    return path == root or path.startswith(root.rstrip(os.sep) + os.sep)


def whole_characters(text: str) -> str:
    """A text whose half characters are U+FFFD, the sign for what could not be read."""
    return _SURROGATE.sub("\ufffd", text)


def printable(text: str) -> str:
    r"""A text in one line that any screen or file can take: no control or half characters.

    >>> printable("a\nb\x1b[2J"), printable("\ud83d")
    ('a b [2J', '\ufffd')
    """
    return " ".join(_CONTROL.sub(" ", whole_characters(text)).split())


def in_words(name: str) -> str:
    """A name, of a folder, a label or an outcome, as it is written for people: one spelling.

    >>> in_words("loose_thread"), in_words("loose thread")
    ('loose thread', 'loose thread')
    """
    return name.replace("_", " ")


def file_stem(text: str, identity: object, unnamed: str = "image") -> str:
    r"""A name for a file, safe on any file system, that is that of no other.

    Args:
        text: what it is of; what any system could refuse becomes "_".
        identity: what tells it from all others, in values of JSON.
        unnamed: where nothing of the text is left.

    >>> file_stem("../a b\n", 1), file_stem("...", 1), file_stem("a", 2) == file_stem("a", 1)
    ('_a_b-6b86b273ff', 'image-6b86b273ff', False)
    """
    digest = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:10]
    stem = _UNSAFE.sub("_", printable(text))[:_LONGEST].strip(".")
    return f"{stem or unnamed}-{digest}"


def places(value: Any, wrong: Callable[[Any], bool], place: str = "") -> Iterator[tuple[str, Any]]:
    """What is wrong inside nested lists and mappings, and where; keys are looked at as well.

    >>> list(places({"a": [1, {"b": None}]}, lambda value: value is None))
    [('a[1].b', None)]
    """
    if isinstance(value, Mapping):
        for key, item in value.items():
            if wrong(key):
                yield place or "a key", key
            yield from places(item, wrong, f"{place}.{key}" if place else str(key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from places(item, wrong, f"{place}[{index}]")
    elif wrong(value):
        yield place, value
