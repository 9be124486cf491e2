"""One of several runs that share the work on a list, each started by itself."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from anomalyr1.errors import InputError

T = TypeVar("T")

_FORM = re.compile(r"([0-9]{1,6})/([0-9]{1,6})")


@dataclass(frozen=True, slots=True)
class Shard:
    """The share of a run: `number`, from 1, out of `of`."""

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read "2/8".

        Raises:
            InputError: it is not of this form, or the number is not among them.

        >>> Shard.parse("2/8")
        Shard(number=2, of=8)
        """
        read = _FORM.fullmatch(text)
        number, of = (int(read[1]), int(read[2])) if read else (0, 0)
        if not 1 <= number <= of:
            raise InputError(
                f"expected a shard like 1/4, the first of four, found {text!r}; give a number "
                "from 1 to that of all shards"
            )
        return cls(number, of)

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """Every item is in the share of one shard, and shares differ by one item at most.

        >>> [list(Shard(number, 2).share("abcde")) for number in (1, 2)]
        [['a', 'c', 'e'], ['b', 'd']]
        """
        return items[self.number - 1 :: self.of]
