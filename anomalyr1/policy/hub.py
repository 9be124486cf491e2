"""Telling a hub id from a path, without asking the network."""

from __future__ import annotations

from pathlib import Path


def could_be_hub_id(path: str) -> bool:
    """Whether `path`, where there is no such folder, may name a model on the hub.

    `owner/name` may; a path into a folder that is there, or a deeper one, is a folder that is not.

    >>> [could_be_hub_id(p) for p in ("Qwen/Qwen2.5-VL-3B-Instruct", "/a/b", "./a", "a/b/c")]
    [True, False, False, False]
    """
    at = Path(path)
    if at.is_absolute() or path.startswith(".") or len(at.parts) > 2:
        return False
    return len(at.parts) == 1 or not at.parent.is_dir()
