"""Text in one plain form, so that every reader matches against the same thing."""

from __future__ import annotations

import re
import unicodedata

_MARKUP = str.maketrans({"*": None, "`": None, "$": None, "’": "'", "‘": "'", "“": '"', "”": '"'})
_WRAPPED = re.compile(r"\\(?:boxed|text|textbf|mathrm|mathbf) ?\{([^{}]{0,200})\}")
_IS = re.compile(r"\b(it|that|this|there|answer|choice|option)'s\b", re.IGNORECASE)
_NOT = re.compile(r"n't\b", re.IGNORECASE)
_CANNOT = re.compile(r"\bcan ?not\b|\bca not\b", re.IGNORECASE)
_ARTICLE = re.compile(r"^(?:the|an?) ")
_EDGES = " \t\n.,;:!?。，；：！？、\"'()[]{}<>《》「」【】“”‘’-"


def tidy(text: str) -> str:
    r"""One plain form: compatibility characters folded, no markup, single spaces.

    Full-width letters become plain ones, `**B**` and `\boxed{B}` become `B`, contractions are
    spelt out. A line break stays (it ends a sentence) unless a colon stands before it.

    >>> tidy("It's  **Ｂ**,\n\nisn't it: \n\\boxed{C}")
    'It is B,\nis not it: C'
    """
    text = unicodedata.normalize("NFKC", text).translate(_MARKUP)
    if "\\" in text:
        text = _WRAPPED.sub(r"\1", _WRAPPED.sub(r"\1", text))
    lines = (" ".join(line.split()) for line in text.splitlines())
    text = "\n".join(line for line in lines if line).replace(":\n", ": ")
    if "'" in text:
        text = _NOT.sub(" not", _IS.sub(r"\1 is", text))
    return _CANNOT.sub("can not", text) if "ca" in text or "Ca" in text else text


def plain(text: str) -> str:
    """For comparing an answer with an option's text: tidy, caseless, bare of edges and article.

    >>> plain(" **The  rim.** ") == plain("rim")
    True
    """
    return _ARTICLE.sub("", tidy(text).replace("\n", " ").casefold().strip(_EDGES))
