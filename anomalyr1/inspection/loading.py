"""What an inspector is made of, loaded by name: a policy at its own pixel limits, a segmenter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from anomalyr1.config import PolicyConfig
from anomalyr1.errors import InputError
from anomalyr1.policy.load import Policy, load_policy
from anomalyr1.policy.resizing import saved_pixels, trained_pixels
from anomalyr1.run_folder import THRESHOLD
from anomalyr1.segmentation.segmenter import Segmenter, load_segmenter
from anomalyr1.shared_prefix.attention import prepare

BACKENDS = ("transformers",)


def load_to_inspect(
    path: str | Path,
    *,
    backend: str,
    min_pixels: int | None,
    max_pixels: int | None,
    device: str | None,
    **section: Any,
) -> tuple[Policy, PolicyConfig]:
    """A policy on its device, with prefixes shared where it can.

    Where no pixel limits are given they are those that it was trained with. Of a base model they
    are its own as far as the config's defaults, which it goes far beyond.

    Raises:
        InputError: the backend does not exist, or nothing loadable is at `path`.
    """
    if backend not in BACKENDS:
        raise InputError(
            f"expected a backend out of {', '.join(BACKENDS)}, found {backend!r}; correct the name"
        )
    usual = PolicyConfig.min_pixels, PolicyConfig.max_pixels
    least, most = trained_pixels(Path(path)) or tuple(
        map(min, saved_pixels(Path(path)) or usual, usual)
    )
    config = PolicyConfig(
        path=str(path),
        min_pixels=min_pixels or least,
        max_pixels=max_pixels or most,
        **section,
    )
    policy = load_policy(config)
    policy.model.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    prepare(policy.model)
    return policy, config


def threshold_of(given: float | str | Path | None, policy: str | Path) -> float | Path | None:
    """The threshold that is meant: a number, the file that holds it, or None for none.

    Args:
        given: the same, or as it is typed: `saved`, `none`, a number or the path of a file.
        policy: where `saved` looks; there may be none.

    Raises:
        InputError: a text that is none of these.
    """
    if given == "saved":
        saved = Path(policy) / THRESHOLD
        return saved if saved.is_file() else None
    if given == "none":
        return None
    if not isinstance(given, str):
        return given
    try:
        return float(given)
    except ValueError:
        file = Path(given)
    if not file.is_file():
        raise InputError(
            "expected a threshold as a number from 0 to 1, a file that `calibrate` wrote, saved or "
            f"none, found {given!r}; correct it"
        )
    return file


def segmenter_of(
    chosen: str | Segmenter | None, checkpoint: str | None, device: str | None
) -> Segmenter | None:
    """The segmenter of that name, or the one given.

    Raises:
        InputError: there is none of that name, or what it needs is missing.
    """
    if chosen is None or not isinstance(chosen, str):
        return chosen
    return load_segmenter(chosen, checkpoint, device=device)
