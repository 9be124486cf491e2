"""Which normal images are references, so that none shows what is evaluated.

A reference is no copy of an evaluated image: not the same file, nor mirrored, turned, re-encoded or
of another brightness, nor of the same group. Only references that a source itself gives to an image
(the template of a circuit board) may resemble that image.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from anomalyr1.data.making.clusters import cluster
from anomalyr1.data.making.examining import Examined
from anomalyr1.data.making.sources.item import Item
from anomalyr1.data.seeding import seeded_order
from anomalyr1.data.turned_copies import copies

Product = tuple[str, str]  # dataset, category
Examine = Callable[[list[Item]], list[Examined]]


def product_of(item: Item) -> Product:
    """The images that references are chosen among."""
    return item.dataset, item.category


def set_aside(asked: Sequence[Examined], reserve: float, seed: int, near_bits: int) -> set[str]:
    """Keys of the normal images of one product to become references, in whole groups of copies.

    Args:
        asked: all images of the product.
        reserve: share of the normal images.
        seed: of the choice.
        near_bits: copies are within this distance; below 0 only equal files are.
    """
    normals = [e.item.key for e in asked if e.item.normal]
    if not reserve or len(normals) < 2:
        return set()
    prints = {e.item.key: e.print for e in asked}
    groups = {e.item.key: e.item.group for e in asked if e.item.group is not None}
    parts = {key: part for part in cluster(list(prints), prints, groups, near_bits) for key in part}
    defective = {e.item.key for e in asked if not e.item.normal}
    number = max(1, round(reserve * len(normals)))
    chosen: set[str] = set()
    for key in seeded_order(normals, seed, "references"):
        part = set(parts[key])
        fits = len(chosen | part) <= number or not chosen
        if key not in chosen and fits and not part & defective and chosen | part < set(normals):
            chosen |= part
        if len(chosen) >= number:
            break
    return chosen


def fill_pools(
    candidates: Mapping[Product, Sequence[Item]],
    evaluated: Iterable[Examined],
    examine: Examine,
    pool: int,
    near_bits: int,
    paired: bool = False,
) -> tuple[dict[Product, list[Examined]], int]:
    """Up to `pool` references a product, in the order of the candidates, and how many were copies.

    Candidates are examined in batches, only as many as are needed. `paired` is the source's word
    that the images of one group are no copies of each other (`Source.paired`).
    """
    asked: dict[Product, list[Examined]] = defaultdict(list)
    for one in evaluated:
        asked[product_of(one.item)].append(one)
    own = {file for members in asked.values() for one in members for file in one.item.references}
    pools: dict[Product, list[Examined]] = {product: [] for product in candidates}
    waiting = {product: list(items) for product, items in candidates.items()}
    dropped = 0
    while True:
        batch: list[Item] = []
        for product, items in waiting.items():
            room = max(0, pool - len(pools[product]))
            first = items[:room]
            given = [item for item in items[room:] if item.file in own]
            batch += first + given
            waiting[product] = [] if not room else [i for i in items[room:] if i not in given]
        if not batch:
            return pools, dropped
        fresh: dict[Product, list[Examined]] = defaultdict(list)
        for one in examine(batch):
            fresh[product_of(one.item)].append(one)
        for product, members in fresh.items():
            kept = without_copies(members, asked[product], near_bits, paired)
            dropped += len(members) - len(kept)
            pools[product] += kept


def without_copies(
    references: Sequence[Examined],
    evaluated: Sequence[Examined],
    near_bits: int,
    paired: bool = False,
) -> list[Examined]:
    """The references that neither look like an evaluated image nor belong to its group."""
    own = {file for one in evaluated for file in one.item.references}
    hashes = {one.print.sha256 for one in evaluated}
    groups = set() if paired else {one.item.group for one in evaluated} - {None}
    copied = set()
    if near_bits >= 0:
        pairs = copies([r.print for r in references], [e.print for e in evaluated], near_bits)
        for row, column, *_ in pairs:
            group = references[row].item.group
            if not (paired and group is not None and group == evaluated[column].item.group):
                copied.add(row)
    return [
        one
        for index, one in enumerate(references)
        if one.print.sha256 not in hashes
        and (one.item.file in own or (index not in copied and one.item.group not in groups))
    ]


def as_reference(one: Examined) -> Examined:
    """The same image, no longer asked about."""
    return replace(one, item=replace(one.item, reference=True))
