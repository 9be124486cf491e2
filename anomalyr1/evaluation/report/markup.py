"""HTML that escapes by default: only `Markup` goes into a page as it is.

Completions, questions and paths are plain strings, so there is no way to forget to escape one; an
f-string around `Markup` is plain again, and shows up as escaped text rather than as a hole. Half a
character (a lone surrogate), which no page can hold, is shown as U+FFFD.
"""

from __future__ import annotations

import html
from collections.abc import Iterable
from importlib import resources

from anomalyr1.values import whole_characters

_VOID = frozenset({"img", "input", "meta", "br", "hr"})


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


Child = str | None


def escape(value: object) -> Markup:
    """`value` as HTML text; `Markup` passes through.

    >>> escape("<b>")
    '&lt;b&gt;'
    """
    return value if isinstance(value, Markup) else Markup(_text(value))


def tag(element: str, /, *children: Child, **attributes: object) -> Markup:
    """One element. Attributes that are None or False are left out, True is written bare.

    A trailing underscore is dropped from an attribute's name and other underscores become hyphens.

    >>> tag("p", "1 < 2", class_="note", hidden=False)
    '<p class="note">1 &lt; 2</p>'
    """
    written = "".join(_attribute(key, value) for key, value in attributes.items())
    if element in _VOID:
        return Markup(f"<{element}{written}>")
    return Markup(f"<{element}{written}>{join(children)}</{element}>")


def join(parts: Iterable[Child], separator: str = "") -> Markup:
    """The parts in a row, each escaped unless it is `Markup`; None is nothing."""
    return Markup(escape(separator).join(escape(part) for part in parts if part is not None))


def asset(name: str) -> str:
    """The text of a style sheet or script that lies beside this file."""
    return resources.files("anomalyr1.evaluation.report").joinpath(name).read_text(encoding="utf-8")


def _attribute(name: str, value: object) -> str:
    if value is None or value is False:
        return ""
    name = name.rstrip("_").replace("_", "-")
    if value is True:
        return f" {name}"
    return f' {name}="{_text(value)}"'


def _text(value: object) -> str:
    return html.escape(whole_characters(str(value)))
