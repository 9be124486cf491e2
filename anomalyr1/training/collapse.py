"""What a GRPO run that no longer learns looks like in its logged figures.

| kind | log key | fault |
|-|-|-|
| `sampler` | `sampling/sampling_logp_difference/mean` | vLLM samples from another policy |
| `kl` | `kl` | the policy runs away from the reference policy |
| `cut` | `completions/clipped_ratio` | completions run to their limit |
| `unreadable` | `outcome/malformed`, `letter/none` | answers cannot be read |
| `letter` | `letter/<A-Z>` | one letter for all questions, and not because it is right |
| `short` | `completions/mean_length`, `reasoning/characters` | completions lose their length |
| `entropy` | `entropy` | the completions of a prompt are all the same |
| `flat` | `zero_variance` | no completion of a group earns more than another |
| `boxes` | `boxes/iou` | boxes lose their place for good |

The limits are those of the config's section `guard`; training/watch.py holds a run against them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anomalyr1.config import GuardConfig
from anomalyr1.rewards.telemetry import NO_LETTER, OUTCOME

Values = NDArray[np.float64]

# Log key of how far the sampler's log-probabilities are from the trainer's (TRL's name for it).
DIFFERENCE = "sampling/sampling_logp_difference"

# A fault has ended when its figure is back by this share of the limit: noise around a limit is one
# fault, not many.
SLACK = 0.8
# A fall has at least so many rows on each side, and so many standard errors between them. In a
# simulation of steps with some ten boxes each and no fall, a thousand steps had one in 2 runs of a
# hundred; with 3.5 errors in 10 of a hundred.
FALL_ROWS, FALL_ERRORS = 8, 4.0


@dataclass(frozen=True)
class Fault:
    """A fault, as it was when it was noticed.

    Attributes:
        kind: which (the table above).
        key: the log key that shows it.
        since: its first step.
        step: at which it was noticed.
        value: the figure over the last window.
        before: what it was at the start (`short`) or before the fall (`boxes`); else None.
        from_start: it stood before the first update already.
        beside: the other figures over the last window, by log key.
        follows: the kind of a fault that stands already and is the likelier cause.
    """

    kind: str
    key: str
    since: int
    step: int
    value: float
    before: float | None = None
    from_start: bool = False
    beside: Mapping[str, float] = field(default_factory=dict)
    follows: str | None = None


@dataclass(frozen=True)
class Level:
    """A figure that must stay on one side of a limit.

    Attributes:
        kind: of the fault.
        limit: None watches nothing.
        keys: log keys, each a figure of its own; none for the letters, which the rows name.
        low: the fault is at the limit or below.
        of_start: the figure is a share of its mean over the first window.
        typical: what a window comes to.
    """

    kind: str
    limit: float | None
    keys: tuple[str, ...] = ()
    low: bool = False
    of_start: bool = False
    typical: Callable[[Values], Any] = np.mean

    def is_beyond(self, values: Values | float, slack: float = 1.0) -> bool:
        """Whether the values are typically at the limit, or beyond it; `slack` brings it nearer."""
        assert self.limit is not None
        value = float(self.typical(np.asarray(values)))
        return value <= self.limit / slack if self.low else value >= self.limit * slack


def levels(guard: GuardConfig) -> list[Level]:
    """What is watched, the likeliest cause of the others first."""
    every = (
        Level("sampler", guard.sampler, (f"{DIFFERENCE}/mean",)),
        # k3 has a heavy tail: one rare token can make the mean of a step a hundred.
        Level("kl", guard.kl, ("kl",), typical=np.median),
        Level("cut", guard.cut_share, ("completions/clipped_ratio",)),
        Level("unreadable", guard.unreadable_share, (f"{OUTCOME}malformed", NO_LETTER)),
        Level("letter", guard.letter_share),
        Level(
            "short",
            guard.length_share,
            ("completions/mean_length", "reasoning/characters"),
            low=True,
            of_start=True,
        ),
        Level("entropy", guard.entropy, ("entropy",), low=True),
        Level("flat", guard.flat_share, ("zero_variance",)),
    )
    return [level for level in every if level.limit is not None]


def first_beyond(level: Level, values: Values) -> int:
    """Where a level was left: the first value that is beyond it and stays so on the whole.

    >>> first_beyond(Level("flat", 0.9), np.array([0.2, 1.0, 0.1, 1.0, 0.9, 1.0]))
    3
    """
    return next(
        index
        for index in range(len(values))
        if level.is_beyond(values[index]) and level.is_beyond(values[index:])
    )


def lasting_fall(values: Values, share: float, rows: int = FALL_ROWS) -> int | None:
    """Where a figure fell to a share of what it was, for good and beyond chance.

    Every split into an earlier and a later part is tried; of those whose later mean is at most
    `share` of the earlier one, the split with the most standard errors (pooled) between the means.

    Args:
        values: of shape (rows logged,).
        share: of the earlier mean that the later one comes to at most.
        rows: fewest on each side.

    Returns:
        The index of the first value after the fall; None where there is none.

    >>> lasting_fall(np.array([0.4, 0.5] * 4 + [0.1, 0.0] * 4), 0.5)
    8
    """
    count = len(values)
    if count < 2 * rows:
        return None
    split = np.arange(rows, count - rows + 1)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    squares = np.concatenate([[0.0], np.cumsum(values**2)])
    earlier, later = sums[split] / split, (sums[-1] - sums[split]) / (count - split)
    within = squares[-1] - split * earlier**2 - (count - split) * later**2
    variance = np.maximum(within, 0.0) / (count - 2)
    error = np.sqrt(variance * (1 / split + 1 / (count - split)))
    apart = (earlier - later) / np.maximum(error, 1e-12)
    fell = (earlier > 0) & (later <= share * earlier) & (apart >= FALL_ERRORS)
    return int(split[np.where(fell, apart, -np.inf).argmax()]) if fell.any() else None
