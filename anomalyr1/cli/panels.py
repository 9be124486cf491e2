"""What a person does with the command line; `anomalyr1 --help` groups the verbs by it."""

from __future__ import annotations

from collections.abc import Mapping

DATA = "Data"
TRAIN = "Train"
EVALUATE = "Evaluate"
INSPECT = "Inspect"
LOOK_INSIDE = "Look inside"

PANELS = (DATA, TRAIN, EVALUATE, INSPECT, LOOK_INSIDE)  # in the order of the help


def in_order(panels: Mapping[str, str]) -> list[str]:
    """Verbs by the order of their panels, and as they came within one.

    >>> in_order({"eval": EVALUATE, "sft": TRAIN, "data": DATA, "train": TRAIN})
    ['data', 'sft', 'train', 'eval']
    """
    return sorted(panels, key=lambda verb: PANELS.index(panels[verb]))
