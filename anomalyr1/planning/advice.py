"""Changes of a config that would save memory, each estimated anew.

Only what a measured pass (scripts/check_plan.py) or bytes counted by hand (tests/planning) stand
behind; what other launch files or more GPUs need is seen by planning with them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from anomalyr1.config import Config, LoraSection
from anomalyr1.errors import InputError
from anomalyr1.planning.architecture import Architecture
from anomalyr1.planning.cards import CARDS, fit
from anomalyr1.planning.memory import estimate
from anomalyr1.planning.settings import Settings, read_settings
from anomalyr1.planning.sharding import Sharding
from anomalyr1.planning.tokens import PromptTokens, prompt_tokens

# Savings below this share of the peak are not worth a line.
WORTH = 0.01


@dataclass(frozen=True)
class Change:
    """One thing to write differently.

    Attributes:
        what: overrides, as they are typed.
        apply: the config with it.
    """

    what: str
    apply: Callable[[Config], Config]


@dataclass(frozen=True)
class Saving:
    """What a change brings: bytes at the peak with it, on its own."""

    what: str
    peak: int
    saved: int


@dataclass(frozen=True)
class Together:
    """Changes made one after the other: the peak with all up to this one."""

    what: str
    peak: int


@dataclass(frozen=True)
class Advice:
    """Single changes, the largest saving first, and what they come to together."""

    single: tuple[Saving, ...]
    together: tuple[Together, ...]


def advise(
    config: Config,
    architecture: Architecture,
    sharding: Sharding,
    prompt: PromptTokens,
    peak: int,
) -> Advice:
    """Estimate every change alone, then all of them on top of each other in order of their saving.

    Args:
        config: the run as it is.
        architecture: of the policy.
        sharding: who holds what.
        prompt: its prompts.
        peak: bytes it needs.
    """

    def peak_of(changed: Config) -> int | None:
        tokens = prompt
        if changed.policy.max_pixels != config.policy.max_pixels:
            tokens = prompt_tokens(changed, architecture)
        try:
            settings = read_settings(changed, sharding.processes, sharding.mixed)
        except InputError:  # the rows no longer make whole groups
            return None
        return estimate(changed, architecture, settings, sharding, tokens).peak

    settings = read_settings(config, sharding.processes, sharding.mixed)
    known = []
    for change in changes(config, settings, adapted=architecture.adapter is not None):
        found = peak_of(change.apply(config))
        if found is not None and peak - found > WORTH * peak:
            known.append((peak - found, change, found))
    known.sort(key=lambda entry: -entry[0])
    single = tuple(Saving(change.what, found, saved) for saved, change, found in known)
    together: list[Together] = []
    reached = peak
    for _, change, _ in known:
        if fit(reached, CARDS[0], settings) == "yes":
            break
        following = change.apply(config)
        found = peak_of(following)
        if found is not None and reached - found > WORTH * reached:
            config, reached = following, found
            together.append(Together(change.what, found))
    return Advice(single, tuple(together))


def changes(config: Config, settings: Settings, *, adapted: bool = False) -> list[Change]:
    """What can be changed.

    Args:
        config: the run as it is.
        settings: what the plan reads from it.
        adapted: a trained adapter is trained further.
    """
    passes = {"gradient_accumulation_steps": 2 * settings.accumulation}
    if config.grpo.get("steps_per_generation"):
        passes["steps_per_generation"] = 2 * int(config.grpo["steps_per_generation"])
    pixels = config.policy.max_pixels // 2
    found = []
    if not settings.checkpointing:
        found.append(_grpo(gradient_checkpointing=True))
    if config.policy.lora is None and not adapted:
        found.append(Change("policy.lora.r=64", lambda c: _policy(c, lora=LoraSection())))
    if not config.policy.shared_prefix:
        found.append(Change("policy.shared_prefix=true", lambda c: _policy(c, shared_prefix=True)))
    if settings.rows % 2 == 0:
        found.append(_grpo(per_device_train_batch_size=settings.rows // 2, **passes))
    found.append(_grpo(max_completion_length=settings.completion // 2))
    if pixels >= config.policy.min_pixels:
        found.append(Change(f"policy.max_pixels={pixels}", lambda c: _policy(c, max_pixels=pixels)))
    if settings.beta:
        found.append(_grpo(beta=0))
    return found


def _grpo(**keys: Any) -> Change:
    typed = " ".join(f"grpo.{key}={str(value).lower()}" for key, value in keys.items())
    return Change(typed, lambda c: replace(c, grpo={**c.grpo, **keys}))


def _policy(config: Config, **fields: Any) -> Config:
    return replace(config, policy=replace(config.policy, **fields))
