"""A fault of a run in one line: what was seen, since which step, and which key to change."""

from __future__ import annotations

from typing import Any

from anomalyr1.rewards.telemetry import FAULT, LETTER, NO_LETTER
from anomalyr1.training.collapse import Fault
from anomalyr1.training.watch import RIGHT

# From this share of right answers on, groups are flat because nothing is left to learn.
_SOLVED = 0.9


def warning(fault: Fault, arguments: Any) -> str:
    """What the user is told.

    Args:
        fault: as it was noticed.
        arguments: TRL's, for what the keys are set to now.

    >>> from types import SimpleNamespace
    >>> now = SimpleNamespace(learning_rate=1e-3, beta=0.0)
    >>> warning(Fault("kl", "kl", since=7, step=16, value=1.25), now)  # doctest: +ELLIPSIS
    'since step 7: the policy is 1.2 nats a token away from the reference policy; lower ...'
    """
    seen, remedy = _SAID[fault.kind](fault, arguments)
    return f"since step {fault.since}: {seen}; {remedy}"


def _sampler(fault: Fault, _: Any) -> tuple[str, str]:
    seen = f"log-probabilities of vLLM and of the trainer are {fault.value:.2g} nats a token apart"
    return seen, (
        "let both compute in one dtype (policy.dtype, grpo.bf16), leave quantization out of "
        "sampler.engine, or sample with transformers (grpo.use_vllm=false)"
    )


def _kl(fault: Fault, arguments: Any) -> tuple[str, str]:
    seen = f"the policy is {fault.value:.2g} nats a token away from the reference policy"
    return seen, _gently(arguments)


def _cut(fault: Fault, arguments: Any) -> tuple[str, str]:
    seen = f"{fault.value:.0%} of the completions end at grpo.max_completion_length"
    longer = f"raise it ({_now(arguments, 'max_completion_length')})"
    if fault.from_start:
        return seen, f"{longer}, or run `anomalyr1 sft` first where they have no end"
    return seen, f"{_gently(arguments)}, or {longer} where they grow for a reason"


def _unreadable(fault: Fault, arguments: Any) -> tuple[str, str]:
    of = "answers to choice questions" if fault.key == NO_LETTER else "completions"
    faults = {key: value for key, value in fault.beside.items() if key.startswith(FAULT)}
    most = max(faults, key=lambda key: faults[key], default=None)
    often = f" (most often {most.removeprefix(FAULT)}: {faults[most]:.0%})" if most else ""
    seen = f"{fault.value:.0%} of the {of} cannot be read{often}"
    if not fault.from_start:
        return seen, _gently(arguments)
    cut = fault.beside.get("completions/clipped_ratio", 0.0)
    longer = f"raise grpo.max_completion_length ({_now(arguments, 'max_completion_length')})"
    return seen, f"run `anomalyr1 sft` first, or {longer}: {cut:.0%} are cut off"


def _letter(fault: Fault, arguments: Any) -> tuple[str, str]:
    letter, right = fault.key.removeprefix(LETTER), fault.beside.get(RIGHT, 0.0)
    seen = (
        f"{letter} is the answer to {fault.value:.0%} of the choice questions "
        f"({right:.0%} of all answers are right)"
    )
    if fault.from_start:
        return seen, "run `anomalyr1 sft` first, or set data.shuffle_options if letters are uneven"
    return seen, _gently(arguments)


def _short(fault: Fault, arguments: Any) -> tuple[str, str]:
    is_reasoning = fault.key.startswith("reasoning")
    what, unit = ("the reasoning", "characters") if is_reasoning else ("completions", "tokens")
    verb = "has" if is_reasoning else "have"
    seen = f"{what} {verb} {fault.value:.0f} {unit}, {fault.before:.0f} at the start"
    penalised = "rewards/length/mean" in fault.beside
    return seen, _gently(arguments) + (", or lower reward.weights.length" if penalised else "")


def _entropy(fault: Fault, arguments: Any) -> tuple[str, str]:
    seen = f"the entropy is {fault.value:.2g} nats a token, so that all completions are alike"
    hotter = f"raise grpo.temperature ({_now(arguments, 'temperature')})"
    return seen, hotter if fault.from_start else f"{_gently(arguments)}, or {hotter}"


def _flat(fault: Fault, arguments: Any) -> tuple[str, str]:
    seen = f"in {fault.value:.0%} of the groups no completion earns more than another"
    right = fault.beside.get(RIGHT, 0.0)
    if right >= _SOLVED:
        return seen, f"{right:.0%} of the answers are right: take harder questions, or stop here"
    hotter = f"raise grpo.temperature ({_now(arguments, 'temperature')})"
    more = f"grpo.num_generations ({_now(arguments, 'num_generations')})"
    return seen, f"{hotter} or {more}, or set signal.zero_variance=resample"


def _boxes(fault: Fault, arguments: Any) -> tuple[str, str]:
    right = fault.beside.get(RIGHT, 0.0)
    seen = (
        f"boxes have lost their place: set IoU {fault.value:.2f}, before {fault.before:.2f} "
        f"({right:.0%} of all answers are right)"
    )
    return seen, f"{_gently(arguments)}, or raise reward.weights.iou"


def _gently(arguments: Any) -> str:
    rate, beta = _now(arguments, "learning_rate"), _now(arguments, "beta")
    return f"lower grpo.learning_rate ({rate}) or raise grpo.beta ({beta})"


def _now(arguments: Any, key: str) -> str:
    return f"now {getattr(arguments, key):g}"


_SAID = {
    "sampler": _sampler,
    "kl": _kl,
    "cut": _cut,
    "unreadable": _unreadable,
    "letter": _letter,
    "short": _short,
    "entropy": _entropy,
    "flat": _flat,
    "boxes": _boxes,
}
