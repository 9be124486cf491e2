"""HTML that escapes by default: only `Markup` goes into a page as it is.

Completions, questions and paths are plain strings, so there is no way to forget to escape one; an
f-string around `Markup` is plain again, and shows up as escaped text rather than as a hole. Half a
character (a lone surrogate), which no page can hold, is shown as U+FFFD.
"""

from __future__ import annotations

import base64
import hashlib
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


def scrolling(content: Child, label: str) -> Markup:
    """What may be wider than the screen: it scrolls sideways by finger, or focused by arrow keys.

    >>> scrolling("wide", "Boxes")
    '<div class="scroll" role="region" tabindex="0" aria-label="Boxes">wide</div>'
    """
    return tag("div", content, class_="scroll", role="region", tabindex=0, aria_label=label)


def join(parts: Iterable[Child], separator: str = "") -> Markup:
    """The parts in a row, each escaped unless it is `Markup`; None is nothing."""
    return Markup(escape(separator).join(escape(part) for part in parts if part is not None))


def asset(name: str) -> str:
    """The text of a style sheet or script that lies beside this file."""
    return resources.files("anomalyr1.evaluation.report").joinpath(name).read_text(encoding="utf-8")


def document(title: str, body: Iterable[Child], style: str, script: str) -> str:
    """A whole page that loads nothing: a content policy allows its own style and script alone.

    Args:
        title: of the window.
        body: its parts.
        style: CSS, trusted.
        script: JavaScript, trusted.
    """
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; "
        f"script-src '{_digest(script)}'; base-uri 'none'; form-action 'none'"
    )
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("style", Markup(style)),
    )
    whole = tag("html", head, tag("body", *body, tag("script", Markup(script))), lang="en")
    return f"<!doctype html>\n{whole}\n"


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def _attribute(name: str, value: object) -> str:
    if value is None or value is False:
        return ""
    name = name.rstrip("_").replace("_", "-")
    if value is True:
        return f" {name}"
    return f' {name}="{_text(value)}"'


def _text(value: object) -> str:
    return html.escape(whole_characters(str(value)))
