"""Settings cards: all that can change a number, by name, and where two cards differ.

An inspection and an evaluation have a card each. What a loaded policy gives to both, how decoding
is written down and how cards are told apart stand here.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anomalyr1.config import PolicyConfig
from anomalyr1.policy.weights import weights_digest
from anomalyr1.provenance import commit, versions

if TYPE_CHECKING:
    from anomalyr1.policy.load import Policy

BACKEND = "transformers"

_VERSIONS = ("anomalyr1", "torch", "torchvision", "transformers", "peft", "sam2")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHOWN = 48  # characters of a value; of a longer one, both ends


def policy_settings(config: PolicyConfig, policy: Policy) -> dict[str, Any]:
    """The part of a card that one loaded policy has whatever it is asked."""
    weights = next(policy.model.parameters())
    return {
        **checkpoint_settings(config),
        "backend": BACKEND,
        "dtype": str(weights.dtype).removeprefix("torch."),
        "attention": config.attention,
        "shared_prefix": config.shared_prefix,
        "device": weights.device.type,
    }


def checkpoint_settings(config: PolicyConfig) -> dict[str, Any]:
    """What is known of a policy whoever computes its answers."""
    return {
        "policy": {
            "path": config.path,
            "revision": config.revision,
            "sha256": weights_digest(Path(config.path)),
        },
        "pixels": [config.min_pixels, config.max_pixels],
        "versions": code_versions(versions()),
        "commit": commit(),
    }


def code_versions(installed: Mapping[str, str]) -> dict[str, str]:
    """Of the installed versions, those that can change an answer."""
    return {name: installed[name] for name in _VERSIONS if name in installed}


def greedy(max_new_tokens: int) -> dict[str, Any]:
    """How completions are decoded: the likeliest token, whatever the checkpoint's own file says."""
    return {"kind": "greedy", "max_new_tokens": max_new_tokens, "repetition_penalty": 1.0}


def drawn(max_new_tokens: int, temperature: float, votes: int, seed: int) -> dict[str, Any]:
    """How they are decoded where they are drawn: from the whole distribution at a temperature."""
    settings = {"temperature": temperature, "votes": votes, "seed": seed}
    return {**greedy(max_new_tokens), "kind": "drawn", **settings}


def text_digest(text: str) -> str:
    """The sha256 of a text."""
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()


def differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """Where two cards differ, a text each, settings inside settings by their dotted names.

    >>> differences({"references": 1, "dtype": "float32"}, {"references": 0, "dtype": "float32"})
    ['references (1 and 0)']
    >>> differences({"policy": {"path": "a", "revision": None}}, {"policy": {"path": "b"}})
    ['policy.path (a and b)']
    """
    one, other = flat(first), flat(second)
    return [
        f"{name} ({shown(one.get(name))} and {shown(other.get(name))})"
        for name in dict.fromkeys((*one, *other))
        if one.get(name) != other.get(name)
    ]


def flat(card: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """A card without settings inside settings.

    >>> flat({"policy": {"path": "a"}, "references": 1})
    {'policy.path': 'a', 'references': 1}
    """
    found: dict[str, Any] = {}
    for name, value in card.items():
        found |= flat(value, f"{above}{name}.") if _nests(value) else {f"{above}{name}": value}
    return found


def shown(value: Any) -> str:
    """A setting in words; of a commit its beginning, of another long one both ends.

    >>> shown(None), shown(True), shown([3136, 12544]), shown("5c0ffee1" * 5), len(shown("x" * 64))
    ('none', 'yes', '3136, 12544', '5c0ffee15c0f', 25)
    """
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    if _COMMIT.fullmatch(text):
        return text[:12]
    return text if len(text) <= _SHOWN else f"{text[:12]}…{text[-12:]}"


def _nests(value: Any) -> bool:
    return isinstance(value, Mapping) and bool(value)
