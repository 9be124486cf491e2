"""Keys that have no effect beside others: a table of rules, held against what a verb reads.

A key is set where its value is neither its default nor null: what is written down and neutral
changes nothing, and may stand. Switches that turn something off as a whole (`preflight.skip`,
`guard.enabled`, `prompt.references=0`) leave its keys alone, for they are set on top of a config
that is kept; so does `max_steps`, which cuts a long run short.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from anomalyr1.config.augmentation import AugmentConfig
from anomalyr1.config.effect_rules import RULES, TERMS, Rule
from anomalyr1.config.sections import Config, DataConfig
from anomalyr1.errors import InputError

# What each verb reads; a file may hold sections of others.
_TRAINING = ("data", "prompt", "policy", "early_stop_patience")
_READ = {
    "train": (*_TRAINING, "reward", "signal", "guard", "sampler", "grpo"),
    "sft": (*_TRAINING, "sft"),
    "eval": ("prompt", "segmentation", "eval"),
}
# Of sections that several verbs read, the keys that one reads alone.
_READ_BY = {
    "data.contradictory": "sft",
    "data.loose_boxes": "sft",
    "data.images_per_rollout": "train",
}
_NEUTRAL = Config(data=DataConfig(augment=AugmentConfig()))
SECTIONS = {"train": "grpo", "sft": "sft"}


def verbs_of(config: Config) -> list[str]:
    """The verbs that a config is for: those of which it says something."""
    asked = {"train": config.grpo, "sft": config.sft, "eval": config.eval.benchmark}
    return [verb for verb, given in asked.items() if given]


def refuse_without_effect(
    config: Config,
    verb: str,
    defaults: Mapping[str, Any] | None = None,
    terms: Collection[str] | None = None,
) -> None:
    """Stop where keys are set that change nothing, all of them at once.

    Args:
        config: of the run.
        verb: train, sft or eval.
        defaults: of the keys of TRL's section of that verb.
        terms: names of the terms that the reward has; None where that is not known.

    Raises:
        InputError: each key with what it needs and what was found there.
    """
    found = list(_without_effect(config, verb, defaults or {}, terms))
    if found:
        raise InputError(
            f"expected keys that have an effect beside the others, found {', '.join(found)}; leave "
            "them out, or set what they need"
        )


def _without_effect(
    config: Config, verb: str, defaults: Mapping[str, Any], terms: Collection[str] | None
) -> Iterator[str]:
    section = SECTIONS.get(verb, "")
    given = {f"{section}.{key}": value for key, value in getattr(config, section, {}).items()}
    neutral = {**_flat(_NEUTRAL), **{f"{section}.{key}": defaults[key] for key in defaults}}
    values = {**neutral, **_flat(config), **given, TERMS: terms}
    for key, reader in _READ_BY.items():
        if verb in SECTIONS and verb != reader and values[key] != neutral[key]:
            yield f"{key}={values[key]} (needs the verb {reader}, found {verb})"
    for rule in RULES:
        others = [name.replace("*", section) for name in rule.others]
        found = next((values[name] for name in others if values.get(name) is not None), None)
        if (rule.other == TERMS and terms is None) or rule.need.holds(found):
            continue
        for key in _matching(rule, section, values):
            read = key.split(".")[0] in _READ[verb]
            if read and _is_set(rule, values[key], neutral.get(key), key in given):
                shown = "" if rule.other == TERMS else f", found {found}"
                needed = f"{' or '.join(others)}{rule.need.words}"
                yield f"{key}={values[key]} (needs {needed}{shown})"


def _matching(rule: Rule, section: str, values: Mapping[str, Any]) -> Iterator[str]:
    for key in rule.keys:
        if key.endswith("*"):
            yield from (name for name in values if name.startswith(key[:-1]))
        elif (name := key.replace("*", section)) in values:
            yield name


def _is_set(rule: Rule, value: Any, neutral: Any, given: bool) -> bool:
    if rule.always:
        return given
    return value is not None and value != neutral and rule.only in (None, value)


def _flat(section: Any, prefix: str = "") -> dict[str, Any]:
    """Sections in sections as one level of dotted keys, with the keys of sections that are off."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(section):
        value = getattr(section, field.name)
        if dataclasses.is_dataclass(value):
            found |= _flat(value, f"{prefix}{field.name}.")
        else:
            found[f"{prefix}{field.name}"] = value
    return found
