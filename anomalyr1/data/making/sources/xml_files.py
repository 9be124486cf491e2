"""XML of annotation tools, read without what XML can do to a reader."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

from anomalyr1.errors import InputError
from anomalyr1.text_files import read_text

Element = ElementTree.Element
_DECLARATION = re.compile(r"\A\s*<\?xml[^>]*\?>")
_ENCODING = re.compile(rb"\A\s*<\?xml[^>]*encoding=[\"']([A-Za-z0-9._-]+)[\"']")


def read_xml(path: Path, expected: str, encoding: str | None = None) -> Element:
    """The root element.

    The encoding is the byte order mark's, else the declaration's, else `encoding`, else UTF-8. A
    document type is refused: no annotation tool writes one, and its entities can read other files
    or grow without bound.

    Raises:
        InputError: the file is missing, is not XML, or has a document type.
    """
    try:
        with path.open("rb") as file:
            stated = _ENCODING.match(file.read(200))
    except OSError:
        stated = None  # and `read_text` says why
    text = read_text(path, expected, stated[1].decode("ascii") if stated else encoding)
    text = _DECLARATION.sub("", text)
    if "<!DOCTYPE" in text.upper():
        raise InputError(f"expected {expected} at {path}, found a document type; remove it")
    try:
        return ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise InputError(
            f"expected {expected} at {path}, found broken XML ({error}); mend the file"
        ) from None


def child_text(element: Element, name: str) -> str | None:
    """The text of a child, stripped; None without one."""
    child = element.find(name)
    return None if child is None or child.text is None else child.text.strip() or None
