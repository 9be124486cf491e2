"""The settings of an inspection: all that can change a number of it, by name.

Two inspections with equal cards asked the same thing of the same policy in the same way. A
threshold is worth something only under the card that it was chosen with.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from anomalyr1.config import PolicyConfig
from anomalyr1.geometry import BoxUnit
from anomalyr1.inspection.asks import Ask
from anomalyr1.policy.load import Policy
from anomalyr1.policy.weights import weights_digest
from anomalyr1.prompts import question_text
from anomalyr1.provenance import commit, versions
from anomalyr1.schema import Weigh
from anomalyr1.segmentation.segmenter import Segmenter

_VERSIONS = ("anomalyr1", "torch", "torchvision", "transformers", "peft", "sam2")


def policy_settings(config: PolicyConfig, policy: Policy) -> dict[str, Any]:
    """The part of the card that one loaded policy has for all of its inspections."""
    weights = next(policy.model.parameters())
    return {
        "policy": {
            "path": config.path,
            "revision": config.revision,
            "sha256": weights_digest(Path(config.path)),
        },
        "backend": "transformers",
        "dtype": str(weights.dtype).removeprefix("torch."),
        "attention": config.attention,
        "shared_prefix": config.shared_prefix,
        "device": weights.device.type,
        "pixels": [config.min_pixels, config.max_pixels],
        "versions": {name: found for name, found in versions().items() if name in _VERSIONS},
        "commit": commit(),
    }


def settings_card(
    of_policy: Mapping[str, Any],
    asks: Sequence[Ask],
    prompt: str,
    *,
    references: Sequence[Mapping[str, Any]],
    knowledge: str | None,
    max_new_tokens: int,
    weigh: Weigh,
    segmenter: Segmenter | None,
) -> dict[str, Any]:
    """The whole card.

    Args:
        of_policy: what `policy_settings` gave.
        asks: the questions, the one that decides first.
        prompt: the text of its prompt, placeholders for the images.
        references: name and sha256 of each reference image.
        knowledge: shown of the product, or None.
        max_new_tokens: completion budget.
        weigh: which likelihood is the probability.
        segmenter: of the masks.
    """
    return {
        **of_policy,
        "template": asks[0].template,
        "prompt_sha256": _sha256(prompt),
        "asked": [ask.kind for ask in asks],
        "references": [dict(reference) for reference in references],
        "knowledge_sha256": None if knowledge is None else _sha256(knowledge),
        "decoding": {"kind": "greedy", "max_new_tokens": max_new_tokens},
        "weigh": weigh,
        "segmenter": None
        if segmenter is None
        else {"name": segmenter.name, "settings": segmenter.settings},
    }


def threshold_settings(
    of_policy: Mapping[str, Any], template: str, max_new_tokens: int, weigh: Weigh
) -> dict[str, Any]:
    """What P(anomalous) depends on beyond what is asked and shown, and a threshold on it with it.

    Versions and the device change digits, not settings.
    """
    return {
        "weights": of_policy["policy"]["sha256"] or of_policy["policy"]["path"],
        **{name: of_policy[name] for name in ("dtype", "attention", "pixels")},
        "template": template,
        "weigh": weigh,
        # An answer at once has nothing decoded before it.
        "max_new_tokens": max_new_tokens if weigh == "reasoning" else None,
    }


def asked_settings(
    ask: Ask, unit: BoxUnit, references: int, knowledge: str | None
) -> dict[str, Any]:
    """What it depends on of what is asked and shown.

    References and knowledge differ from product to product: their number counts, and whether there
    is any.
    """
    return {
        "question_sha256": _sha256(question_text(ask.question, ask.template, unit)),
        "references": references,
        "knowledge": knowledge is not None,
    }


def differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """Where two cards differ, a text each.

    >>> differences({"references": 1, "dtype": "float32"}, {"references": 0, "dtype": "float32"})
    ['references (1 and 0)']
    """
    names = dict.fromkeys((*first, *second))
    return [
        f"{name} ({first.get(name)} and {second.get(name)})"
        for name in names
        if first.get(name) != second.get(name)
    ]


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()
