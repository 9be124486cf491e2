"""From a RewardConfig to the terms that TRL calls, and their weights."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from anomalyr1.config.reward import RewardConfig
from anomalyr1.errors import InputError
from anomalyr1.parsing import Gate
from anomalyr1.rewards.accuracy import accuracy
from anomalyr1.rewards.format import format_score
from anomalyr1.rewards.iou import Localization
from anomalyr1.rewards.penalties import Repetition, SoftOverlong
from anomalyr1.rewards.reading import Reading, read_batch
from anomalyr1.rewards.roam import PAPER_TABLE, Consistency
from anomalyr1.rewards.telemetry import log_batch
from anomalyr1.schema import OUTCOMES

TERMS = ("accuracy", "consistency", "format", "iou", "length", "repetition")


@dataclass(frozen=True)
class Preset:
    """Weights of the terms, and the gate that a completion must pass."""

    weights: Mapping[str, float]
    gate: Gate = "strict"


PRESETS: Mapping[str, Preset] = {
    "paper": Preset({"accuracy": 1.0, "consistency": 1.0}, gate="released"),
    "paper-strict": Preset({"accuracy": 1.0, "consistency": 1.0}),
    "roam": Preset({"accuracy": 1.0, "consistency": 1.0, "format": 0.5, "iou": 1.0}),
    "accuracy-only": Preset({"accuracy": 1.0}),
    "no-consistency": Preset({"accuracy": 1.0, "format": 0.5, "iou": 1.0}),
    "no-iou": Preset({"accuracy": 1.0, "consistency": 1.0, "format": 0.5}),
    "format-only": Preset({"format": 1.0}),
}


@dataclass(frozen=True)
class RewardTerm:
    """One term of the reward, in the form TRL calls: a batch in, a number or None a completion out.

    Attributes:
        name: what TRL logs the term under.
        score: one completion's value; None where the term does not apply.
        gate: what a completion must look like to count as well formed.
        logs: True for the one term of a reward that logs the batch's telemetry.
    """

    name: str
    score: Callable[[Reading], float | None]
    gate: Gate = "strict"
    logs: bool = False

    @property
    def __name__(self) -> str:
        """TRL names a reward after its `__name__`."""
        return self.name

    def __call__(self, completions: Sequence[Any], **columns: Any) -> list[float | None]:
        """Score a batch.

        Args:
            completions: plain texts, or conversations whose contents are joined.
            **columns: the dataset's columns, a list over rows each, and TRL's `completion_ids`,
                `log_metric` and `log_extra`. Unknown ones are passed over.
        """
        readings = read_batch(completions, columns, self.gate)
        if self.logs:
            log_batch(readings, columns)
        return [self.score(reading) for reading in readings]


def build_rewards(config: RewardConfig) -> tuple[list[RewardTerm], list[float]]:
    """The terms of a reward and their weights, in the order of `TERMS`; weight 0 builds no term.

    The first term logs the telemetry, whichever preset is used.

    Raises:
        InputError: an unknown preset, term or outcome (the nearest name is given), an option out of
            its range, or no term with a weight.

    >>> terms, weights = build_rewards(RewardConfig(preset="paper"))
    >>> [term.__name__ for term in terms], weights
    (['accuracy', 'consistency'], [1.0, 1.0])
    """
    preset = PRESETS[_known("reward.preset", config.preset, PRESETS)]
    given = {
        _known("a term in reward.weights", name, TERMS): w for name, w in config.weights.items()
    }
    weights = {**preset.weights, **given}
    names = [name for name in TERMS if weights.get(name)]
    if not names:
        raise InputError(
            f"expected a term with a weight other than 0, found none in preset {config.preset!r} "
            f"with weights {config.weights}; give one of {', '.join(TERMS)} a weight"
        )
    scores = _scores(config)
    gate = config.gate or preset.gate
    terms = [
        RewardTerm(name, scores[name], gate, logs=index == 0) for index, name in enumerate(names)
    ]
    return terms, [float(weights[name]) for name in names]


def _scores(config: RewardConfig) -> dict[str, Callable[[Reading], float | None]]:
    for name in config.table:
        _known("an outcome in reward.table", name, OUTCOMES)
    table = tuple((o, float(config.table.get(o, PAPER_TABLE[o]))) for o in OUTCOMES)
    return {
        "accuracy": accuracy,
        "consistency": Consistency(table),
        "format": format_score,
        "iou": Localization(config.iou),
        "length": SoftOverlong(config.length.max_tokens, config.length.soft_tokens),
        "repetition": Repetition(config.repetition.ngram, config.repetition.max_penalty),
    }


def _known(what: str, name: str, known: Iterable[str]) -> str:
    names = list(known)
    if name in names:
        return name
    nearest = difflib.get_close_matches(name, names, n=1, cutoff=0.0)[0]
    raise InputError(
        f"expected {what} to be one of {', '.join(names)}, found {name!r}; "
        f"did you mean {nearest!r}?"
    )
