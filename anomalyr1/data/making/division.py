"""Which sample goes to which side of a split.

Images that belong together (views of one part, equal files, near-duplicates) stay on one side.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from anomalyr1.data.fingerprint import NEAR_BITS, Fingerprint
from anomalyr1.data.making.clusters import cluster
from anomalyr1.data.seeding import seeded_order
from anomalyr1.data.shots import few_shot, stratum_of
from anomalyr1.errors import InputError, unknown
from anomalyr1.schema import Sample

Holdout = Literal["image", "category", "dataset", "recorded"]
HOLDOUTS: tuple[Holdout, ...] = ("image", "category", "dataset", "recorded")
Parts = list[list[Sample]]


@dataclass(frozen=True, slots=True)
class SplitOptions:
    """What decides a split.

    Attributes:
        holdout: `image` divides the images of every (category, defect); `category` and `dataset`
            hold whole ones out, so that the test side is of products never trained on; `recorded`
            takes the sides that the records have (train; test, or valid without one), whole or, of
            train, `k_shot` images.
        k_shot: training images for each (category, defect), with as many normals as defective
            images in the category; None divides by `test_fraction`.
        test_fraction: share of the images (or categories, or data sets) in test.
        seed: of all choices.
        near_bits: near-duplicates within this distance stay on one side; -1 looks at equal files
            only.
        references: references kept for each image, at most, of either kind.
        group: names groups of images by their keys, a regular expression or FILE.csv:COLUMN
            (`making.grouping`); they win over those on record.
    """

    holdout: Holdout = "image"
    k_shot: int | None = None
    test_fraction: float = 0.3
    seed: int = 0
    near_bits: int = NEAR_BITS
    references: int = 4
    group: str | None = None

    def __post_init__(self) -> None:
        if self.holdout not in HOLDOUTS:
            raise unknown("a holdout", self.holdout, HOLDOUTS)
        if self.k_shot is not None and self.k_shot < 1:
            raise InputError(f"expected k-shot of at least 1, found {self.k_shot}; raise it")
        if not 0 < self.test_fraction < 1:
            raise InputError(
                f"expected a test fraction between 0 and 1, found {self.test_fraction}; change it"
            )


def assign(
    samples: Sequence[Sample],
    prints: Mapping[str, Fingerprint],
    groups: Mapping[str, str],
    options: SplitOptions,
) -> tuple[list[Sample], list[Sample]]:
    """Training and test samples; in a few-shot split some belong to neither.

    Args:
        samples: all of them.
        prints: fingerprint of every sample's image.
        groups: group of the images that have one.
        options: how to divide.

    Raises:
        InputError: a side would be empty.
    """
    by_key = {s.image: s for s in samples}

    def clusters(chosen: Sequence[Sample], together: Mapping[str, str] | None) -> Parts:
        keys = [s.image for s in chosen]
        found = cluster(keys, prints, groups, options.near_bits, together)
        return [[by_key[key] for key in part] for part in found]

    if options.holdout == "recorded":
        train, test = _recorded(samples)
        if options.k_shot is not None:
            train, _ = _few_shot(clusters(train, None), options)
    elif options.holdout != "image":
        units = {s.image: _unit(s, options.holdout) for s in samples}
        train, test = _hold_out(clusters(samples, units), options)
        if options.k_shot is not None:
            train, _ = _few_shot(clusters(train, None), options)
    elif options.k_shot is not None:
        train, test = _few_shot(clusters(samples, None), options)
    else:
        train, test = _by_fraction(clusters(samples, None), options)
    if not train or not test:
        raise InputError(
            f"expected images on both sides, found {len(train)} for train and {len(test)} for "
            "test; lower k-shot, change the test fraction or the holdout"
        )
    return train, test


def lacking(
    samples: Sequence[Sample], train: Sequence[Sample], test: Sequence[Sample]
) -> list[tuple[str, str]]:
    """(side, kind of image) for what one side has none of, though there are two or more.

    A kind is "normal image of <product>" or "defective image of <product>".
    """
    kinds = Counter(map(_kind, samples))
    sides = (("train", set(map(_kind, train))), ("test", set(map(_kind, test))))
    return [
        (side, kind)
        for kind, number in sorted(kinds.items())
        for side, had in sides
        if number > 1 and kind not in had
    ]


def _kind(sample: Sample) -> str:
    kind = "normal" if sample.is_normal else "defective"
    return f"{kind} image of {_unit(sample, 'category')}"


def _recorded(samples: Sequence[Sample]) -> tuple[list[Sample], list[Sample]]:
    sides: dict[str | None, list[Sample]] = defaultdict(list)
    for sample in samples:
        sides[sample.split].append(sample)
    return sides["train"], sides["test"] or sides["valid"]


def _unit(sample: Sample, holdout: Holdout) -> str:
    return sample.dataset if holdout == "dataset" else f"{sample.dataset}/{sample.category}"


def _hold_out(parts: Parts, options: SplitOptions) -> tuple[list[Sample], list[Sample]]:
    if len(parts) < 2:
        raise InputError(
            f"expected at least two separate {options.holdout} units to hold one out, "
            f"found {len(parts)}; use --holdout image"
        )
    named = {min(_unit(s, options.holdout) for s in part): part for part in parts}
    order = seeded_order(named, options.seed, "holdout")
    number = min(max(1, round(options.test_fraction * len(order))), len(order) - 1)
    test = [s for name in order[:number] for s in named[name]]
    return [s for name in order[number:] for s in named[name]], test


def _by_fraction(parts: Parts, options: SplitOptions) -> tuple[list[Sample], list[Sample]]:
    """Every (category, defect) of two images or more has one on each side where clusters allow."""
    sizes = Counter(stratum_of(s) for part in parts for s in part)
    wanted = {
        stratum: min(max(1, round(options.test_fraction * n)), n - 1)
        for stratum, n in sizes.items()
    }
    train: list[Sample] = []
    test: list[Sample] = []
    for part in _ordered(parts, options.seed):
        gains = sum(wanted[stratum_of(s)] > 0 for s in part)
        if 2 * gains > len(part) or (2 * gains == len(part) and len(test) < len(train)):
            test += part
            wanted = {
                stratum: n - sum(stratum_of(s) == stratum for s in part)
                for stratum, n in wanted.items()
            }
        else:
            train += part
    return train, test


def _few_shot(parts: Parts, options: SplitOptions) -> tuple[list[Sample], list[Sample]]:
    """K images a (category, defect), one a cluster; the rest of it belongs to neither side."""
    ordered = _ordered(parts, options.seed)
    cluster_of = {s.image: index for index, part in enumerate(ordered) for s in part}
    members = [s for part in ordered for s in part]
    train = few_shot(members, options.k_shot or 0, cluster_of, spare=1)
    taken = {cluster_of[s.image] for s in train}
    test = [s for index, part in enumerate(ordered) if index not in taken for s in part]
    return train, test


def _ordered(parts: Parts, seed: int) -> Parts:
    by_key = {part[0].image: part for part in parts}
    return [by_key[key] for key in seeded_order(by_key, seed, "split")]
