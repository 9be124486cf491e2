"""A checkpoint that brings code of its own is refused: not run, and not replaced in silence."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from anomalyr1.errors import InputError, listed
from anomalyr1.storage import read_json

_FILES = (
    "config.json",
    "processor_config.json",
    "preprocessor_config.json",
    "video_preprocessor_config.json",
    "tokenizer_config.json",
    "adapter_config.json",
)
_GENERATE = "custom_generate/generate.py"


def refuse_own_code(folder: Path) -> None:
    """Stop at a local checkpoint whose files ask for a class or a way to generate of their own.

    The library would load its own class instead, which may be another model. Of a hub id nothing is
    here to be looked at; its code is not run either.

    Raises:
        InputError: the files are named.
    """
    found = list(_own_code(folder)) if folder.is_dir() else []
    if found:
        raise InputError(
            f"expected a checkpoint without code of its own at {folder}, found {listed(found)}; "
            "take one that the library knows, or take that out if its own class is what is meant"
        )


def _own_code(folder: Path) -> Iterator[str]:
    for name in _FILES:
        file = folder / name
        if not file.is_file():
            continue
        try:
            content = read_json(file)
        except InputError:  # whoever loads it says what is wrong with it
            continue
        if isinstance(content, dict) and content.get("auto_map"):
            yield f"auto_map in {name}"
    if (folder / _GENERATE).exists():
        yield _GENERATE
