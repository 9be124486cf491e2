"""A config: what is wrong in it, and what it asks of the machine and its packages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from anomalyr1.config import Config, ConfigFaults, load_config, refuse_without_effect, verbs_of
from anomalyr1.config.effects import SECTIONS
from anomalyr1.doctor.lines import Line, refused
from anomalyr1.doctor.packages import OPTIONAL, installed
from anomalyr1.doctor.probe import Facts
from anomalyr1.doctor.vllm_lines import use_lines
from anomalyr1.errors import InputError

# What depends on the machine has lines of its own; TRL is asked about all the rest.
_ANY_MACHINE = {
    "bf16": False, "fp16": False, "tf32": None, "use_cpu": True, "deepspeed": None,
    "report_to": "none",
}  # fmt: skip


def read_config(path: Path, overrides: Sequence[str]) -> tuple[Config | None, list[Line]]:
    """The config, None where it cannot be read, and all that is wrong inside it."""
    from accelerate.utils import clear_environment
    from trl import GRPOConfig, SFTConfig

    from anomalyr1.rewards.build import build_rewards
    from anomalyr1.training.arguments import trl_arguments, trl_defaults, trl_keys

    kinds = {"grpo": GRPOConfig, "sft": SFTConfig}
    try:
        config = load_config(path, overrides, {name: trl_keys(kinds[name]) for name in kinds})
    except InputError as error:
        if not isinstance(error, ConfigFaults):  # there is no such file, or it is not YAML
            return None, [refused("file", error)]
        found = "\n".join(error.faults)
        return None, [Line("file", "problem", found, f"correct {path}; nothing more was read")]
    lines = []
    terms: list[str] | None = None
    try:
        terms = [term.__name__ for term in build_rewards(config.reward)[0]]
    except InputError as error:
        lines.append(refused("reward", error))
    for verb in verbs_of(config):
        kind = kinds.get(SECTIONS.get(verb, ""))
        try:
            refuse_without_effect(config, verb, kind and trl_defaults(kind), terms)
        except InputError as error:
            lines.append(refused(verb, error))
    for name, given in training_sections(config).items():
        fixed: dict[str, Any] = {"max_length": None} if name == "sft" else {}
        try:
            with clear_environment():  # a launcher's variables would start a process group
                trl_arguments(kinds[name], name, {**given, **_ANY_MACHINE}, config, **fixed)
        except InputError as error:
            lines.append(refused(name, error))
    lines = lines or [Line("file", "ok", f"{path}: every key and value is known")]
    return config, [*lines, *_verb_lines(config)]


def need_lines(config: Config, facts: Facts, broken: Mapping[str, str]) -> list[Line]:
    """What the config asks of this machine: precision, packages, trackers.

    Args:
        config: as read.
        facts: what torch sees.
        broken: package -> what its import says.
    """
    lines = []
    for name, given in training_sections(config).items():
        lines += [_precision(name, given, facts), *_packages(name, given, broken)]
        lines += _trackers(name, given)
    lines += use_lines(config, _ANY_MACHINE, broken)
    dtype = config.policy.dtype
    if dtype in ("bfloat16", "float16") and not facts.gpus:
        advice = "policy.dtype=float32 where memory allows"
        lines.append(Line("policy.dtype", "note", f"{dtype} is slow on a CPU", advice))
    if config.segmentation.kind == "sam2" and installed("sam2") is None:
        lines.append(_absent("segmentation.kind=sam2", "sam2", "segmentation.kind=grabcut"))
    return lines


def _verb_lines(config: Config) -> list[Line]:
    """Which verbs the config was looked at for, and what one of them would refuse at once."""
    verbs = verbs_of(config)
    if not verbs:
        found = "no key in grpo or sft, no eval.benchmark: looked at for no verb"
        return [Line("verb", "note", found, "give one of them")]
    lines = [Line("verb", "ok", f"looked at for {' and '.join(verbs)}")]
    trained = [verb for verb in verbs if verb != "eval"]
    if trained and config.data.benchmark is None and config.data.mixture is None:
        found = f"{' and '.join(trained)} without data.benchmark or data.mixture"
        lines.append(Line("verb", "problem", found, "data.benchmark=FOLDER"))
    return lines


def training_sections(config: Config) -> dict[str, dict[str, Any]]:
    """The sections for TRL that hold something."""
    return {name: given for name in ("grpo", "sft") if (given := getattr(config, name))}


def _precision(section: str, given: Mapping[str, Any], facts: Facts) -> Line:
    """TRL computes in bfloat16 unless told otherwise, which transformers refuses without a GPU."""
    fp16, on_cpu = bool(given.get("fp16")), bool(given.get("use_cpu"))
    bf16 = not fp16 if given.get("bf16") is None else bool(given["bf16"])
    default = " (TRL's default)" if given.get("bf16") is None else ""
    no_gpu = on_cpu or not facts.gpus
    if bf16 and not on_cpu and not facts.bf16:
        found = f"{section}.bf16=true{default}, and no GPU here computes in bfloat16"
        advice = f"{section}.bf16=false" + (f" {section}.use_cpu=true" if no_gpu else "")
        return Line("precision", "problem", found, advice)
    if fp16 and no_gpu:
        found = f"{section}.fp16=true, which needs a GPU"
        return Line("precision", "problem", found, f"{section}.fp16=false {section}.bf16=false")
    if bf16 and no_gpu:
        found = f"{section}.bf16=true{default} on a CPU, which is slow"
        return Line("precision", "note", found, f"{section}.bf16=false")
    name = "bfloat16, mixed" if bf16 else "float16, mixed" if fp16 else "that of the weights"
    return Line("precision", "ok", f"{name} ({'CPU' if no_gpu else 'GPU'})")


def _packages(section: str, given: Mapping[str, Any], broken: Mapping[str, str]) -> list[Line]:
    value, name = given.get("deepspeed"), f"{section}.deepspeed"
    instead = f"leave {name} out"
    if not value:
        return []
    if installed("deepspeed") is None:
        return [_absent(name, "deepspeed", instead)]
    if "deepspeed" in broken:
        return [Line(name, "problem", "deepspeed cannot be imported", instead)]
    if isinstance(value, str) and not Path(value).is_file():
        return [Line(name, "problem", f"no file at {value}", "correct the path")]
    return [Line(name, "ok", f"deepspeed {installed('deepspeed')}")]


def _trackers(section: str, given: Mapping[str, Any]) -> list[Line]:
    from transformers.integrations import get_available_reporting_integrations
    from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

    asked = given.get("report_to") or []
    asked = [asked] if isinstance(asked, str) else list(asked)
    lines = []
    for tracker in asked:
        if tracker in ("none", "all"):
            continue
        name = f"{section}.report_to"
        if tracker not in INTEGRATION_TO_CALLBACK:
            known = ", ".join(sorted(INTEGRATION_TO_CALLBACK))
            lines.append(Line(name, "problem", f"{tracker} is no tracker", f"one of {known}"))
        elif tracker not in get_available_reporting_integrations():
            advice = f"pip install {tracker.replace('_', '-')}, or {name}=none"
            lines.append(Line(name, "problem", f"{tracker} is not installed", advice))
        else:
            lines.append(Line(name, "ok", f"{tracker} is installed"))
    return lines


def _absent(name: str, package: str, instead: str) -> Line:
    _, install, _ = OPTIONAL[package]
    return Line(name, "problem", f"{package} is not installed", f"{install}, or {instead}")
