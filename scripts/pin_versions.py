#!/usr/bin/env python
"""Writes constraints.txt: the installed version of everything that scripts/setup.sh installs.

    python scripts/pin_versions.py      in a .venv with which ./scripts/test.sh has just passed

Requirements are followed from pyproject.toml through what is installed. NVIDIA's wheels and triton
are left out: torch pins those of its own build, and a build for the CPU has none.
"""

from __future__ import annotations

import argparse
import platform
from importlib import metadata
from pathlib import Path

import tomllib
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).resolve().parent.parent
EXTRAS = ("dev", "demo", "elpv", "tensorboard", "sam2", "deepspeed")
BUILDING = ("setuptools", "wheel", "ninja")  # sam2 and deepspeed
OF_TORCH = ("nvidia-", "cuda-", "triton")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=REPOSITORY / "constraints.txt")
    lines = [
        f"# The versions that ./scripts/test.sh passed with, on Python {python_version()}.",
        "# scripts/setup.sh installs them; scripts/pin_versions.py wrote them.",
    ]
    lines += [f"{name}=={version}" for name, version in sorted(installed_closure().items())]
    parser.parse_args().out.write_text("\n".join(lines) + "\n")


def python_version() -> str:
    return ".".join(platform.python_version_tuple()[:2])


def installed_closure() -> dict[str, str]:
    """Package -> version, of all that pyproject.toml needs here, directly or not."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    texts = [*project["dependencies"], *BUILDING]
    texts += [text for extra in EXTRAS for text in project["optional-dependencies"][extra]]
    waiting, seen, found = [Requirement(text) for text in texts], set(), {}
    while waiting:
        wanted = waiting.pop()
        name = canonicalize_name(wanted.name)
        if (name, frozenset(wanted.extras)) in seen or name.startswith(OF_TORCH):
            continue
        seen.add((name, frozenset(wanted.extras)))
        package = metadata.distribution(name)
        found[name] = package.version.partition("+")[0]  # torch says what it was built for
        for needed in map(Requirement, package.requires or ()):
            chosen = [{"extra": extra} for extra in wanted.extras or {""}]
            if needed.marker is None or any(map(needed.marker.evaluate, chosen)):
                waiting.append(needed)
    return found


if __name__ == "__main__":
    main()
