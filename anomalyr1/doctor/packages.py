"""Versions: what is installed, new enough, and importable."""

from __future__ import annotations

import importlib.util
import platform
from collections.abc import Mapping
from importlib import metadata

from packaging.requirements import Requirement

from anomalyr1.doctor.lines import Line
from anomalyr1.doctor.probe import Facts
from anomalyr1.doctor.vllm_lines import distribution, vllm_line

CORE = ("torch", "transformers", "trl", "peft", "accelerate")

# Package -> what it is for, the command that installs it, and whether only a GPU has a use for it.
OPTIONAL: Mapping[str, tuple[str, str, bool]] = {
    "deepspeed": ("ZeRO over several GPUs", "pip install -e '.[deepspeed]' (in the clone)", True),
    "sam2": (
        "masks from boxes; grabcut does without",
        "SAM2_BUILD_CUDA=0 pip install --no-build-isolation -e '.[sam2]' (in the clone)",
        False,
    ),
    "flash-attn": (
        "flash_attention_2",
        "pip install flash-attn --no-build-isolation",
        True,
    ),
}

# Tried for real, because each is built against one version of torch and breaks with another. What
# is there but broken breaks its users: trl imports vllm, transformers flash_attn, when installed.
IMPORTS: Mapping[str, str] = {
    "deepspeed": "import deepspeed",
    "sam2": "import sam2.build_sam",
    "vllm": "from vllm import LLM",
    "flash-attn": "import flash_attn",
}


def installed(package: str) -> str | None:
    """The version of an installed package; None where it is not there.

    >>> installed("no-such-package") is None
    True
    """
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        # Installed under another name: sam2 from its repository calls itself SAM-2.
        module = package.replace("-", "_")
        name = distribution(module)
        if name is not None:
            return metadata.version(name)
        return None if importlib.util.find_spec(module) is None else "of unknown version"


def package_lines(facts: Facts | str, broken: Mapping[str, str]) -> list[Line]:
    """A line a package.

    Args:
        facts: what torch sees, or why it does not run.
        broken: package -> what its import says.
    """
    wanted = _wanted()
    lines = [Line("python", "ok", platform.python_version())]
    for package in CORE:
        line = _version_line(package, wanted.get(package))
        if package == "torch" and line.status == "ok":
            line = _torch_line(line.found, facts)
        lines.append(line)
    gpu = isinstance(facts, Facts) and bool(facts.gpus)
    for package, (purpose, install, for_gpu) in OPTIONAL.items():
        if installed(package) is None:
            if for_gpu and not gpu:
                lines.append(Line(package, "ok", f"not installed; of use with a GPU ({purpose})"))
            else:
                lines.append(Line(package, "note", f"not installed ({purpose})", install))
        elif package in broken and broken[package] == facts:
            lines.append(Line(package, "note", "import fails as that of torch does", "torch first"))
        elif package in broken:
            advice = f"install it again for this torch, or pip uninstall {package}"
            lines.append(Line(package, "problem", f"import fails: {broken[package]}", advice))
        else:
            lines.append(_version_line(package, wanted.get(package)))
    vllm = vllm_line(broken)
    return lines if vllm is None else [*lines, vllm]


def _torch_line(version: str, facts: Facts | str) -> Line:
    if isinstance(facts, str):
        advice = "install torch again, as pytorch.org says for this machine"
        return Line("torch", "problem", f"{version} does not run: {facts}", advice)
    return Line("torch", "ok", f"{version}, built for {facts.build or 'the CPU'}")


def _version_line(package: str, wanted: Requirement | None) -> Line:
    version = installed(package)
    if version is None:
        return Line(package, "problem", "not installed", f"pip install '{wanted or package}'")
    known = version[:1].isdigit()
    if wanted and known and not wanted.specifier.contains(version, prereleases=True):
        advice = f"pip install --upgrade '{package}{wanted.specifier}'"
        return Line(package, "problem", f"{version}, {wanted.specifier} is needed", advice)
    return Line(package, "ok", version)


def _wanted() -> dict[str, Requirement]:
    """What this package itself requires, extras included; nothing where it is not installed."""
    try:
        texts = metadata.requires("anomalyr1") or []
    except metadata.PackageNotFoundError:
        return {}
    requirements = [Requirement(text) for text in texts]
    return {requirement.name: requirement for requirement in requirements}
