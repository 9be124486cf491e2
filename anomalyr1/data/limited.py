"""A part that looks like the whole: stratified by data set, class and label, or taken evenly."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import TypeVar

from anomalyr1.data.seeding import seeded_order
from anomalyr1.schema import Sample

T = TypeVar("T")


def stratified(samples: Sequence[Sample], limit: int, seed: int) -> list[Sample]:
    """So many images, in the benchmark's order; with one seed the fewer are among the more.

    First comes one image of each (data set, label), then of each (data set, class, label), as far
    as the limit goes: no cell stays empty that it can fill. What is left is shared out in the
    proportions of the whole.

    Args:
        samples: of the benchmark.
        limit: images kept; all where there are fewer.
        seed: of the choice.
    """
    by_key = {sample.image: sample for sample in samples}
    strata: dict[tuple[str, str, bool], list[str]] = defaultdict(list)
    for key in seeded_order(by_key, seed, "limit"):
        sample = by_key[key]
        strata[sample.dataset, sample.category, sample.is_normal].append(key)
    place: dict[str, tuple[int, float]] = {}
    begun: Counter[tuple[str, bool]] = Counter()
    for (dataset, _, normal), keys in strata.items():
        place |= {key: (1, (number + 0.5) / len(keys)) for number, key in enumerate(keys)}
        place[keys[0]] = (0, begun[dataset, normal])
        begun[dataset, normal] += 1
    kept = set(sorted(place, key=lambda key: place[key])[:limit])
    return [sample for sample in samples if sample.image in kept]


def evenly(items: Sequence[T], most: int) -> list[T]:
    """At most so many, as far apart as they go from the first to the last.

    >>> evenly("abcdefgh", 3), evenly("ab", 3)
    (['a', 'c', 'f'], ['a', 'b'])
    """
    count = min(most, len(items))
    return [items[number * len(items) // count] for number in range(count)]
