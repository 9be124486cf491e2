"""Few-shot sets: so many images of every defect of every product, and as many normal ones."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from anomalyr1.data.seeding import seeded_order
from anomalyr1.schema import Sample

NORMAL = "good"

Stratum = tuple[str, str, str]


def stratum_of(sample: Sample) -> Stratum:
    """Data set, category and defect; every normal image of a category is of one stratum."""
    return sample.dataset, sample.category, NORMAL if sample.is_normal else sample.defect


def few_shot(
    ordered: Iterable[Sample],
    shots: int,
    cluster_of: Mapping[str, int] | None = None,
    spare: int = 0,
) -> list[Sample]:
    """The first `shots` images of each (category, defect), with as many normals as these together.

    A category without a defect gives `shots` normals.

    Args:
        ordered: in the order they are taken in.
        shots: images of a defect.
        cluster_of: image -> the cluster of its like, of which one is taken at most; None takes
            every image for itself.
        spare: images of each stratum that are left where there are more than one.
    """
    strata: dict[Stratum, list[Sample]] = defaultdict(list)
    for sample in ordered:
        strata[stratum_of(sample)].append(sample)
    chosen: list[Sample] = []
    taken: set[object] = set()
    defective: Counter[tuple[str, str]] = Counter()
    for key in sorted(strata, key=lambda key: (key[2] == NORMAL, key)):
        members, category, normal = strata[key], key[:2], key[2] == NORMAL
        goal = (defective[category] or shots) if normal else shots
        goal = min(goal, max(1, len(members) - spare))
        for sample in members:
            cluster = sample.image if cluster_of is None else cluster_of[sample.image]
            if goal and cluster not in taken:
                chosen.append(sample)
                taken.add(cluster)
                defective[category] += not normal
                goal -= 1
    return chosen


def training_shots(samples: Sequence[Sample], shots: int, seed: int) -> list[Sample]:
    """The images that `data.shots` leaves of a benchmark, in the benchmark's order.

    With one seed the images of fewer shots are among those of more.

    Args:
        samples: of the benchmark.
        shots: images of each (category, defect), or all where there are fewer. Normals are as many
            as the category's defective images together, or all where there are fewer.
        seed: of the choice.
    """
    by_key = {sample.image: sample for sample in samples}
    ordered = [by_key[key] for key in seeded_order(by_key, seed, "shots")]
    chosen = {sample.image for sample in few_shot(ordered, shots)}
    return [sample for sample in samples if sample.image in chosen]


def short_of(samples: Iterable[Sample], shots: int) -> list[str]:
    """The defects that have fewer images than this, each with their number."""
    sizes = Counter(stratum_of(sample) for sample in samples)
    return [
        f"{'/'.join(key)} ({number})"
        for key, number in sorted(sizes.items())
        if key[2] != NORMAL and number < shots
    ]
