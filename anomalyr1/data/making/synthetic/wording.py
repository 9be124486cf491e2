"""What can be said about a synthetic defect beyond its place: its look and its consequence."""

from __future__ import annotations

from collections.abc import Mapping

from anomalyr1.data.making.questions import Fact
from anomalyr1.data.seeding import seeded_order

LOOKS: Mapping[str, str] = {
    "scratch": "a thin, slightly bent groove with a finer one beside it",
    "spot": "a small opaque crust of orange-red colour",
    "hole": "a black opening with a ragged, bright rim",
    "stain": "a wide translucent mark with a darker border",
    "crack": "a jagged dark line with branches",
    "loose_thread": "a pale curled fibre that casts a shadow",
    "missing_part": "an empty place where a part belongs",
}
EFFECTS: Mapping[str, str] = {
    "scratch": "the finish is damaged, but nothing is lost or open",
    "spot": "foreign matter sticks to the product and must be removed",
    "hole": "material is gone and the surface is no longer closed",
    "stain": "the colour is spoiled over an area while the material is whole",
    "crack": "the material may break further along the line",
    "loose_thread": "the thread can catch and unravel",
    "missing_part": "the product is incomplete and cannot fulfil its function",
}


def defect_facts(key: str, kind: str, seed: int) -> tuple[Fact, Fact]:
    """A description and an analysis question about a defect of this kind."""
    others = seeded_order([name for name in LOOKS if name != kind], seed, key, "facts")
    return (
        Fact(
            "Defect Description",
            "There is a defect in the object. Which description fits it?",
            LOOKS[kind],
            tuple(LOOKS[name] for name in others),
        ),
        Fact(
            "Defect Analysis",
            "There is a defect in the object. What does it mean for the product?",
            EFFECTS[kind],
            tuple(EFFECTS[name] for name in others),
        ),
    )
