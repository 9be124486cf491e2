"""Changes of a config that would save memory, each estimated anew."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from anomalyr1.config import Config, LoraSection
from anomalyr1.errors import InputError
from anomalyr1.planning.architecture import Architecture
from anomalyr1.planning.cards import CARDS, fit
from anomalyr1.planning.memory import estimate
from anomalyr1.planning.settings import read_settings
from anomalyr1.planning.sharding import REDUCE_BUCKET, Sharding
from anomalyr1.planning.tokens import PromptTokens, prompt_tokens

# Savings below this share of the peak are not worth a line.
WORTH = 0.01

Setup = tuple[Config, Sharding]


@dataclass(frozen=True)
class Change:
    """One thing to write differently.

    Attributes:
        what: overrides or options of the command line, as they are typed.
        price: what it costs, in words.
        apply: the run with it; None where it does not apply (any more).
    """

    what: str
    price: str
    apply: Callable[[Config, Sharding], Setup | None]


@dataclass(frozen=True)
class Saving:
    """What a change brings: bytes at the peak with it, on its own."""

    what: str
    price: str
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

    def peak_of(setup: Setup) -> int | None:
        changed, spread = setup
        tokens = prompt
        if changed.policy.max_pixels != config.policy.max_pixels:
            tokens = prompt_tokens(changed, architecture)
        try:
            settings = read_settings(changed, spread.processes, spread.mixed)
        except InputError:  # the rows no longer make whole groups
            return None
        return estimate(changed, architecture, settings, spread, tokens).peak

    known = []
    for change in changes(config, sharding, adapted=architecture.adapter is not None):
        setup = change.apply(config, sharding)
        found = None if setup is None else peak_of(setup)
        if found is not None and peak - found > WORTH * peak:
            known.append((peak - found, change, found))
    known.sort(key=lambda entry: -entry[0])
    single = tuple(Saving(c.what, c.price, found, saved) for saved, c, found in known)
    together: list[Together] = []
    setup, reached = (config, sharding), peak
    settings = read_settings(config, sharding.processes, sharding.mixed)
    for _, change, _ in known:
        if fit(reached, CARDS[0], settings) == "yes":
            break
        following = change.apply(*setup)
        found = None if following is None else peak_of(following)
        if following is not None and found is not None and reached - found > WORTH * reached:
            setup, reached = following, found
            together.append(Together(change.what, found))
    return Advice(single, tuple(together))


def changes(config: Config, sharding: Sharding, *, adapted: bool = False) -> list[Change]:
    """What can be changed; some of it may not apply.

    Args:
        config: the run as it is.
        sharding: who holds what.
        adapted: a trained adapter is trained further.
    """
    settings = read_settings(config, sharding.processes, sharding.mixed)
    rows, half = settings.rows, settings.rows // 2
    passes = 2 * settings.accumulation
    smaller = {"per_device_train_batch_size": half, "gradient_accumulation_steps": passes}
    if config.grpo.get("steps_per_generation"):
        smaller["steps_per_generation"] = 2 * int(config.grpo["steps_per_generation"])
    tokens = settings.completion // 2
    pixels = config.policy.max_pixels // 2
    return [
        Change(
            "grpo.gradient_checkpointing=true",
            "slower pass",
            lambda c, s: None if settings.checkpointing else _grpo(c, s, checkpointing=True),
        ),
        Change(
            "policy.lora.r=64",
            "trains an adapter",
            lambda c, s: None if adapted else _with_lora(c, s),
        ),
        Change(
            "policy.shared_prefix=true",
            "nothing",
            lambda c, s: (
                None
                if c.policy.shared_prefix
                else (replace(c, policy=replace(c.policy, shared_prefix=True)), s)
            ),
        ),
        Change(
            " ".join(f"grpo.{key}={value}" for key, value in smaller.items()),
            "slower",
            lambda c, s: None if rows % 2 else _grpo(c, s, **smaller),
        ),
        Change(
            f"grpo.max_completion_length={tokens}",
            "shorter reasoning",
            lambda c, s: _grpo(c, s, max_completion_length=tokens),
        ),
        Change(
            f"policy.max_pixels={pixels}",
            "small defects blur",
            lambda c, s: (
                None
                if pixels < c.policy.min_pixels
                else (replace(c, policy=replace(c.policy, max_pixels=pixels)), s)
            ),
        ),
        Change(
            "grpo.beta=0",
            "no reference",
            lambda c, s: None if not settings.beta else _grpo(c, s, beta=0.0),
        ),
        Change(
            "grpo.ds3_gather_for_generation=false",
            "slower sampling",
            lambda c, s: _grpo(c, s, ds3_gather_for_generation=False) if _third(s) else None,
        ),
        Change(
            "--accelerate configs/accelerate/zero3.yaml",
            "more traffic",
            _with_third,
        ),
        Change(
            "--accelerate configs/accelerate/zero3_offload.yaml",
            "much slower steps",
            _with_offload,
        ),
        Change(
            f"--gpus {2 * sharding.processes}",
            "twice the GPUs",
            lambda c, s: (c, replace(s, processes=2 * sharding.processes)) if _splits(s) else None,
        ),
    ]


def _grpo(config: Config, sharding: Sharding, **keys: Any) -> Setup:
    if keys.pop("checkpointing", False):
        keys["gradient_checkpointing"] = True
    return replace(config, grpo={**config.grpo, **keys}), sharding


def _with_lora(config: Config, sharding: Sharding) -> Setup | None:
    if config.policy.lora is not None:
        return None
    return replace(config, policy=replace(config.policy, lora=LoraSection())), sharding


def _with_third(config: Config, sharding: Sharding) -> Setup | None:
    if sharding.processes == 1 or _third(sharding):
        return None
    return config, replace(sharding, kind="ZeRO-3", reduce_bucket=REDUCE_BUCKET)


def _with_offload(config: Config, sharding: Sharding) -> Setup | None:
    if sharding.offload_optimizer and sharding.offload_weights:
        return None
    moved = replace(sharding, offload_optimizer=True, offload_weights=True)
    return config, replace(moved, kind="ZeRO-3", reduce_bucket=REDUCE_BUCKET)


def _third(sharding: Sharding) -> bool:
    return sharding.kind == "ZeRO-3"


def _splits(sharding: Sharding) -> bool:
    return sharding.deepspeed or sharding.kind == "FSDP"
