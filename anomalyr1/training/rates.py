"""Learning rates of the policy's parts."""

from __future__ import annotations

from typing import Any

import torch

from anomalyr1.config import LearningRates
from anomalyr1.errors import InputError
from anomalyr1.policy.family import family_of


def set_part_rates(optimizer: torch.optim.Optimizer, model: Any, rates: LearningRates) -> None:
    """Give the vision tower and the projector rates of their own, where they have any.

    The schedule multiplies every part's rate by the same factor.

    Args:
        optimizer: fresh; its groups are changed in place.
        model: whose parameters it holds.
        rates: of the parts; None is the optimiser's own.

    Raises:
        InputError: a part with a rate has nothing that learns.
    """
    own = {"vision": rates.vision, "projector": rates.projector}
    part_of = family_of(model.config.model_type).part_of
    parts = {id(p): part_of(name) for name, p in model.named_parameters()}
    split_groups(optimizer, parts, {part: rate for part, rate in own.items() if rate is not None})


def split_groups(
    optimizer: torch.optim.Optimizer, parts: dict[int, str], rates: dict[str, float]
) -> None:
    """Move the parameters of each part in `rates` into groups of their own.

    Args:
        optimizer: fresh; its groups are changed in place.
        parts: id of a parameter -> its part.
        rates: part -> learning rate.

    Raises:
        InputError: a part with a rate has nothing that learns.
    """
    groups = []
    found: set[str | None] = set()
    for group in optimizer.param_groups:
        by_rate: dict[str | None, list[torch.nn.Parameter]] = {}
        for parameter in group["params"]:
            part = parts[id(parameter)]
            by_rate.setdefault(part if part in rates else None, []).append(parameter)
        for key, parameters in by_rate.items():
            own = {} if key is None else {"lr": rates[key]}
            groups.append({**group, **own, "params": parameters})
            found.add(key)
    # The trainer logs the rate of the first group: that of all that has none of its own.
    groups.sort(key=lambda group: group["lr"] in rates.values())
    for part in rates:
        if part not in found:
            raise InputError(
                f"expected a {part} that learns beside policy.learning_rates.{part}, found none of "
                f"its weights in training; set policy.freeze_{part}=false, let "
                "policy.lora.target_modules reach it, or leave the rate out"
            )
    optimizer.param_groups[:] = groups
