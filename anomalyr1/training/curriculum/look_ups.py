"""Letters: a text that the reasoning names is found among the options, and with it its letter.

Once it can copy, a policy that starts from nothing writes the text of the right option, and then
any letter: the look-up takes three steps of attention (which line a token stands in, where the text
said stands among the lines, what letter that line has), none of which is rewarded before the others
are there, and one token in fifty asks for it. So heads ask for the first two where they have to be
known, and rows of options alone ask for the whole many times over. Real checkpoints do not need it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from anomalyr1.gold_completions import concluding, fitting
from anomalyr1.prompts import option_lines
from anomalyr1.schema import OPTION_LETTERS, Sample
from anomalyr1.shared_prefix.packing import IGNORED

# Layers after which a token knows its line, and the text said its letter; the policy has five.
LINE_AFTER, TEXT_AFTER = 1, 3
SENTENCES = 4  # look-ups a row
CLOSING_WEIGHT = 5.0  # of a letter that closes a reasoning, beside other tokens of a completion

_LINE = re.compile(rf"^([{OPTION_LETTERS}])\. .*$", re.MULTILINE)
_SAID = re.compile(
    re.escape(f"{fitting('TEXT')} {concluding('LETTER')}")
    .replace("TEXT", "(?P<text>.+?)")
    .replace("LETTER", f"(?P<letter>[{OPTION_LETTERS}])")
)
Span = tuple[int, int, int]  # first character, the one after the last, number of the letter


def lines_in(text: str) -> list[Span]:
    r"""The lines of options.

    >>> lines_in("Which?\nA. Hole.\nB. Dent.")
    [(7, 15, 0), (16, 24, 1)]
    """
    return [(*found.span(), OPTION_LETTERS.index(found[1])) for found in _LINE.finditer(text)]


def said_in(text: str) -> list[tuple[Span, int]]:
    """The texts of options that a reasoning names, each with where its letter stands.

    A text begins with the space before it, which is part of its first token.

    >>> said_in("This fits: Dent. So the answer is B.")
    [((10, 15, 1), 34)]
    """
    return [
        (
            (found.start("text") - 1, found.end("text"), OPTION_LETTERS.index(found["letter"])),
            found.start("letter"),
        )
        for found in _SAID.finditer(text)
    ]


def look_ups(texts: Sequence[str], rng: random.Random) -> tuple[str, str]:
    """Options without a question, and what names some of them with their letters.

    Args:
        texts: of options, of which two to four are shown.
        rng: of which, and of what is named; any may be named again.
    """
    options = dict(zip(OPTION_LETTERS, rng.sample(texts, rng.randint(2, 4)), strict=False))
    named = [rng.choice(list(options)) for _ in range(SENTENCES)]
    said = " ".join(f"{fitting(options[letter])} {concluding(letter)}" for letter in named)
    return "\n".join(option_lines(options)) + "\n", said


def texts_of(samples: Sequence[Sample]) -> list[str]:
    """Every option of the samples' questions, once."""
    found = {t for s in samples for question in s.questions for t in question.options.values()}
    return sorted(found)


class LetterHeads(nn.Module):
    """Linear heads that read letters from the language side's layers.

    Args:
        width: of the layers.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.line = nn.Linear(width, len(OPTION_LETTERS))
        self.text = nn.Linear(width, len(OPTION_LETTERS))

    def losses(
        self, layers: Sequence[Tensor], letters: Tensor, labels: Tensor
    ) -> dict[str, Tensor]:
        """One loss for the lines of the prompts, one for the texts said.

        Args:
            layers: (rows, length, width) of the embedding, then after each layer.
            letters: (rows, length), number of the letter of the line or text that a token is of.
            labels: (rows, length), which part the completions' tokens from the prompts'.
        """
        depth, completed = len(layers) - 1, labels != IGNORED
        found = {}
        for name, head, after, asked in (
            ("line", self.line, LINE_AFTER, ~completed),
            ("text", self.text, TEXT_AFTER, completed),
        ):
            chosen = asked & (letters != IGNORED)
            logits = head(layers[min(after, depth)][chosen])
            total = cross_entropy(logits, letters[chosen], reduction="sum")
            found[name] = total / chosen.sum().clamp(min=1)
        return found
