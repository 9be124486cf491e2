"""From a RewardConfig to the terms that TRL calls, and their weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from anomalyr1.config.reward import RewardConfig
from anomalyr1.errors import InputError, unknown
from anomalyr1.parsing import Gate
from anomalyr1.rewards.accuracy import accuracy
from anomalyr1.rewards.format import format_score
from anomalyr1.rewards.iou import Localization
from anomalyr1.rewards.own import OwnTerm, own_term
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


Term: TypeAlias = RewardTerm | OwnTerm


def build_rewards(config: RewardConfig) -> tuple[list[Term], list[float]]:
    """The terms of a reward and their weights; weight 0 builds no term.

    Built-in terms come first, in the order of `TERMS`, then the user's own in the config's order.
    The first term logs the telemetry, whichever preset is used.

    Raises:
        InputError: an unknown preset, term or outcome (the nearest name is given), an option out of
            its range, a reward of the user's own that cannot be used, or no term with a weight.

    >>> terms, weights = build_rewards(RewardConfig(preset="paper"))
    >>> [term.__name__ for term in terms], weights
    (['accuracy', 'consistency'], [1.0, 1.0])
    """
    preset = PRESETS[_known("reward.preset", config.preset, PRESETS)]
    given = {
        _known("a term in reward.weights", name, TERMS): w for name, w in config.weights.items()
    }
    own = {path: entry for path, entry in config.terms.items() if "." in path}
    weights = {**preset.weights, **given, **_built_in(config)}
    gate = config.gate or preset.gate
    scores = _scores(config)
    terms: list[Term] = [
        RewardTerm(name, scores[name], gate) for name in TERMS if weights.get(name)
    ]
    terms += [own_term(path, e.options, gate) for path, e in own.items() if e.weight]
    if not terms:
        raise InputError(
            f"expected a term with a weight other than 0, found none in preset {config.preset!r} "
            f"with weights {config.weights}; give one of {', '.join(TERMS)} a weight"
        )
    _refuse_namesakes(terms)
    terms[0] = replace(terms[0], logs=True)
    own_weights = {path: entry.weight for path, entry in own.items()}
    return terms, [
        float(own_weights[term.path] if isinstance(term, OwnTerm) else weights[term.name])
        for term in terms
    ]


def _built_in(config: RewardConfig) -> dict[str, float]:
    """The weights that `reward.terms` gives to built-in terms."""
    weights = {}
    for name, entry in config.terms.items():
        if "." in name:
            continue
        what = "a term in reward.terms (or the dotted path of a callable)"
        _known(what, name, TERMS)
        if entry.options:
            raise InputError(
                f"expected no options of the built-in {name} in reward.terms, found "
                f"{entry.options}; give them in reward.iou, reward.length or reward.repetition"
            )
        if name in config.weights:
            raise InputError(
                f"expected one weight of {name}, found one in reward.weights and one in "
                "reward.terms; remove one of them"
            )
        weights[name] = entry.weight
    return weights


def _refuse_namesakes(terms: Sequence[Term]) -> None:
    paths: dict[str, str] = {name: f"the built-in {name}" for name in TERMS}
    for term in terms:
        if isinstance(term, OwnTerm):
            if term.name in paths:
                raise InputError(
                    f"expected terms with names of their own, found {term.path} beside "
                    f"{paths[term.name]}; rename one of them"
                )
            paths[term.name] = term.path


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
    raise unknown(what, name, names)
