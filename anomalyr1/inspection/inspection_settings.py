"""The settings of an inspection: all that can change a number of it, by name.

Two inspections with equal cards asked the same thing of the same policy in the same way. A
threshold is worth something only under the card that it was chosen with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from anomalyr1.geometry import BoxUnit
from anomalyr1.inspection.asks import Ask
from anomalyr1.prompts import question_text
from anomalyr1.schema import Weigh
from anomalyr1.segmentation.segmenter import Segmenter
from anomalyr1.settings_card import greedy, text_digest


def inspection_card(
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
        of_policy: what `anomalyr1.settings_card.policy_settings` gave.
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
        "prompt_sha256": text_digest(prompt),
        "asked": [ask.kind for ask in asks],
        "references": [dict(reference) for reference in references],
        "knowledge_sha256": None if knowledge is None else text_digest(knowledge),
        "decoding": greedy(max_new_tokens),
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
        "question_sha256": text_digest(question_text(ask.question, ask.template, unit)),
        "references": references,
        "knowledge": knowledge is not None,
    }
