"""All that is particular to a policy family; to support another one, add a value here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from anomalyr1.geometry import BoxUnit


@dataclass(frozen=True)
class Family:
    """What code has to know of a family of policies, and cannot read from a checkpoint.

    Attributes:
        name: as its makers write it.
        model_type: `model_type` in a checkpoint's config.json.
        model_class: its class in transformers.
        patch_size: side of a patch of the vision tower, in pixels of the resized image.
        merge_size: patches along each side of what becomes one token.
        unit: what it counts the corners of boxes in; prompts say so (`prompts.build_messages`), and
            gold is written so (`geometry.Frame.spoken`). None where that is not known: then it is
            never asked for boxes.
        tower: the vision tower, as modules name it.
        projectors: what hands the tower's features to the language model, within the tower.
    """

    name: str
    model_type: str
    model_class: str
    patch_size: int
    merge_size: int
    unit: BoxUnit | None
    tower: str = "visual"
    projectors: tuple[str, ...] = ("visual.merger",)

    @property
    def factor(self) -> int:
        """Side of a token in the resized image; both sides of that image are multiples of it."""
        return self.patch_size * self.merge_size

    def part_of(self, name: str) -> str:
        """The part of the policy that a parameter belongs to.

        >>> names = "model.visual.deepstack_merger_list.0.norm.weight", "model.visual.blocks.0.q"
        >>> [QWEN3_VL.part_of(name) for name in names]
        ['projector', 'vision']
        >>> QWEN2_5_VL.part_of("model.language_model.layers.0.mlp.up_proj.weight")
        'language'
        """
        if any(f".{projector}." in f".{name}" for projector in self.projectors):
            return "projector"
        return "vision" if f".{self.tower}." in f".{name}" else "language"


QWEN2_5_VL = Family(
    name="Qwen2.5-VL",
    model_type="qwen2_5_vl",
    model_class="Qwen2_5_VLForConditionalGeneration",
    patch_size=14,
    merge_size=2,
    unit="pixels",
)
# Its language model reads features of three layers of the tower: a projector each (DeepStack).
QWEN3_VL = Family(
    name="Qwen3-VL",
    model_type="qwen3_vl",
    model_class="Qwen3VLForConditionalGeneration",
    patch_size=16,
    merge_size=2,
    unit="thousandths",
    projectors=("visual.merger", "visual.deepstack_merger_list"),
)
FAMILIES = (QWEN2_5_VL, QWEN3_VL)


def family_of(model_type: str) -> Family:
    """The family of a checkpoint by the `model_type` of its config.

    A model of no family here is one by itself, taken for a relative of Qwen2.5-VL in everything but
    its boxes: it may answer with letters.

    >>> family_of("qwen3_vl").name, family_of("qwen2_vl").unit
    ('Qwen3-VL', None)
    """
    for family in FAMILIES:
        if family.model_type == model_type:
            return family
    return Family(model_type, model_type, "", 14, 2, None)


def head_size(text: Any) -> int:
    """Size of a head of a language model, from its config; that of Qwen3-VL states it.

    >>> from types import SimpleNamespace
    >>> qwen2_5 = SimpleNamespace(hidden_size=2048, num_attention_heads=16)
    >>> qwen3 = SimpleNamespace(hidden_size=2560, num_attention_heads=32, head_dim=128)
    >>> head_size(qwen2_5), head_size(qwen3)
    (128, 128)
    """
    return int(getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads)
