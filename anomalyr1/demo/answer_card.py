"""What an inspection found, in HTML of which no letter comes from outside unescaped.

File names, and what a policy writes, are anybody's text. It is escaped, and so are the braces and
dollar signs that the page's own templates would read.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

from anomalyr1.inspection.result import weighed_probability
from anomalyr1.values import in_words, printable

_TEMPLATE_SIGNS = {ord(sign): f"&#{ord(sign)};" for sign in "{}$`\\@"}
_SHOWN = 20  # boxes


def as_text(text: object) -> str:
    """A text that a browser shows as it is, whatever it holds.

    >>> as_text("<b>${1}</b>")
    '&lt;b&gt;&#36;&#123;1&#125;&lt;/b&gt;'
    """
    return html.escape(printable(str(text))).translate(_TEMPLATE_SIGNS)


def message_card(message: str) -> str:
    """A fault, told at once to who looks and to who listens; nothing where there is none."""
    return f'<p class="fault" role="alert">{as_text(message)}</p>' if message else ""


def waiting_card(doing: str) -> str:
    """What goes on while there is no verdict yet."""
    return f'<p class="verdict" role="status">{as_text(doing)}</p>'


def answer_card(row: Mapping[str, Any]) -> str:
    """The verdict with its probability, and what else was found.

    Args:
        row: what `Inspection.as_dict` gives.
    """
    verdict = row["verdict"]
    said = verdict or row["options"].get(row["answer"]) or "no verdict"
    lines = [_line(name, value) for name, value in _facts(row)]
    return (
        f'<div class="verdict {verdict or "open"}" role="status">'
        f"<strong>{as_text(said)}</strong>{_probability(row)}</div>"
        f'<dl class="facts">{"".join(lines)}</dl>'
    )


def _probability(row: Mapping[str, Any]) -> str:
    shown = weighed_probability(row)
    if shown is None:
        return ""
    return (
        '<meter min="0" low="0.5" high="0.5" max="1" optimum="0" aria-label="P(anomalous)" '
        f'value="{shown:.4f}"></meter>'
        f"<span>P(anomalous) = {shown:.3f}</span>"
    )


def _facts(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Names and values, those that there are."""
    after, at_once = row["probability"], row["probability_at_once"]
    facts = [("image", row["image"]), ("question", row["question"])]
    if row["answer"] is not None:
        option = row["options"].get(row["answer"], "")
        facts.append(("answer", f"{row['answer']} {option}".strip()))
    if after is not None and at_once is not None:
        facts.append(("P(anomalous)", f"{after:.3f} after reasoning, {at_once:.3f} at once"))
    if row["decided_by"] is not None:
        by = row["decided_by"]
        facts.append(("decided by", f"{by} {row['threshold']:.3f}" if by == "threshold" else by))
    for name in ("defect_type", "description"):
        if row[name] is not None:
            facts.append((in_words(name), row[name]))
    facts += _boxes(row["boxes"])
    if not row["well_formed"]:
        facts.append(("form", "not the one that was asked for"))
    return [*facts, ("seconds", f"{row['seconds']:.1f}")]


def _boxes(boxes: list[Mapping[str, Any]] | None) -> list[tuple[str, str]]:
    if boxes is None:
        return [("boxes", "none that can be read")]
    shown = [
        ("box", f"{box['label'] or 'defect'}: {', '.join(f'{side:.0f}' for side in box['box'])}")
        for box in boxes[:_SHOWN]
    ]
    if len(boxes) > _SHOWN:
        shown.append(("boxes", f"and {len(boxes) - _SHOWN} more"))
    return shown or [("boxes", "none")]


def _line(name: str, value: str) -> str:
    return f"<dt>{as_text(name)}</dt><dd>{as_text(value)}</dd>"
