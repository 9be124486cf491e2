"""The parts of a packed pass: what an image's questions share, the questions, the completions."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from anomalyr1.shared_prefix.packed_attention import Siblings, siblings
from anomalyr1.shared_prefix.packing import Path

_DEVICE = torch.device("cpu")


@dataclass(frozen=True)
class Parts:
    """A tree of a packed pass: an image, its questions, and the completions of each.

    Attributes:
        prompt: tokens of a question, without the last, which its completions repeat; where nothing
            is shared between prompts, all of the prompt's but the last.
        count: completions of a question; 0 for what stands before completions alone.
        size: tokens of each, the prompt's last token included.
        image: tokens that the questions share.
        questions: that share them.
    """

    prompt: int
    count: int
    size: int
    image: int = 0
    questions: int = 1

    @property
    def trunk(self) -> int:
        """Tokens before the completions."""
        return self.image + self.questions * self.prompt

    @property
    def tokens(self) -> int:
        """All of its tokens."""
        return self.trunk + self.questions * self.count * self.size

    @property
    def seen(self) -> int:
        """Tokens before a completion that it sees."""
        return self.image + self.prompt

    @property
    def pairs(self) -> int:
        """Entries of its masks for one query head a key head.

        One mask serves all stretches that see the same; a stretch before which nothing stands is
        causal and needs none.
        """
        asked = self.prompt * self.seen if self.image else 0
        answered = self.questions * self.size * (self.seen + self.size) if self.count else 0
        return asked + answered

    def layout(self, trees: int) -> list[Siblings]:
        """What attention is told of so many of them in a sequence."""
        roots: list[Siblings] = []
        questions: list[Siblings] = []
        at = 0
        for _ in range(trees):
            size = self.image or self.prompt
            roots.append(siblings([size], _DEVICE, at))
            at += size
        paths: list[Path] = [((root.start, root.end),) for root in roots]
        if self.image:
            for path in list(paths):
                sizes = [self.prompt] * self.questions
                questions.append(siblings(sizes, _DEVICE, at, path))
                at += sum(sizes)
            paths = [
                (*asked.seen, (start, start + self.prompt))
                for asked in questions
                for start in range(asked.start, asked.end, self.prompt)
            ]
        ends = []
        for path in paths if self.count else ():
            ends.append(siblings([self.size] * self.count, _DEVICE, at, path))
            at = ends[-1].end
        return [*roots, *questions, *ends]

    def ends(self, count: int, trees: int) -> list[Siblings]:
        """What attention is told of so many completions in a chunk behind so many trees."""
        found, at, asked = [], trees * self.trunk, trees * self.image
        seen = (0, self.image or self.prompt), (asked, asked + self.prompt)
        while count > 0:
            family = min(count, self.count)
            path = seen if self.image else seen[:1]
            found.append(siblings([self.size] * family, _DEVICE, at, path))
            at, count = found[-1].end, count - family
        return found
