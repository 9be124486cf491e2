"""Text in one plain form, so that every reader matches against the same thing."""

from __future__ import annotations

import re
import unicodedata

_MARKUP = str.maketrans({"*": None, "`": None, "$": None, "’": "'", "‘": "'", "“": '"', "”": '"'})
_WRAPPED = re.compile(r"\\(?:boxed|text|textbf|mathrm|mathbf) ?\{([^{}]{0,200})\}")
_IS = re.compile(
    r"'s\b(?:(?<=\b[iI]t's)|(?<=\b[tT]h[ai][ts]'s)|(?<=\b[tT]here's)|(?<=\b[aA]nswer's)"
    r"|(?<=\b[cC]hoice's)|(?<=\b[oO]ption's))"
)
_NOT = re.compile(r"[nN]'[tT]\b")
_CANNOT = re.compile(r"\b([cC])a(?:nn?| n)ot\b")
_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
_SENTENCE_END = re.compile(r"[.!?](?=\s)|[。！？]")
_ENDING = 120  # characters that usually hold the closing sentences
_ARTICLE = re.compile(r"^(?:the|an?) ")
_EDGES = " \t\n.,;:!?。，；：！？、\"'()[]{}<>《》「」【】“”‘’-"


def tidy(text: str) -> str:
    r"""One plain form: compatibility characters folded, no markup, single spaces.

    Full-width letters become plain ones, `**B**` and `\boxed{B}` become `B`, contractions are
    spelt out. A line break stays (it ends a sentence) unless a heading or a colon stands before it.

    >>> tidy("It's  **Ｂ**,\n\nisn't it: \n\\boxed{C}")
    'It is B,\nis not it: C'
    """
    text = unicodedata.normalize("NFKC", text)
    if not text.isascii() or "*" in text or "`" in text or "$" in text:
        text = text.translate(_MARKUP)
    if "\\" in text:
        text = _WRAPPED.sub(r"\1", _WRAPPED.sub(r"\1", text))
    lines = [" ".join(line.split()) for line in text.split("\n")]
    if "#" in text:
        lines = [f"{line.lstrip('# ')}:" if line.startswith("#") else line for line in lines]
    text = "\n".join([line for line in lines if line]).replace(":\n", ": ")
    if "'" in text:
        text = _NOT.sub(" not", _IS.sub(" is", text))
    return _CANNOT.sub(r"\1an not", text) if "not" in text else text


def lowered(text: str) -> str:
    """Lower case with every character at its place, so that positions carry over.

    >>> lowered("The Rim"), len(lowered("İ"))
    ('the rim', 1)
    """
    lower = text.lower()
    return lower if len(lower) == len(text) else text.translate(_LOWER)


def split_ending(text: str) -> tuple[str, str]:
    """The text before the last sentences, and these: most conclusions stand at the end.

    >>> [len(part) for part in split_ending("The rim is bent. " * 50 + "So the answer is B.")]
    [764, 105]
    """
    if len(text) > _ENDING:
        cut = _SENTENCE_END.search(text, len(text) - _ENDING)
        if cut is not None:
            return text[: cut.end()], text[cut.end() :]
    return "", text


def plain(text: str) -> str:
    """For comparing an answer with an option's text: tidy, caseless, bare of edges and article.

    >>> plain(" **The  rim.** ") == plain("rim")
    True
    """
    return opening(tidy(text).replace("\n", " ")).rstrip(_EDGES)


def opening(tidied: str) -> str:
    """A tidy text caseless and without edges and article in front.

    >>> opening('"The rim, as it is bent.')
    'rim, as it is bent.'
    """
    return _ARTICLE.sub("", lowered(tidied).lstrip(_EDGES))
