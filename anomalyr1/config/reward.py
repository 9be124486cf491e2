"""The `reward:` section: which terms are built, their weights, the outcome table, their options."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from anomalyr1.errors import InputError


@dataclass
class IouOptions:
    """Options of the `iou` term (rewards/iou.py has the equations).

    Attributes:
        similarity: how close two boxes are: `iou`; `giou`, which still tells near from far when
            boxes do not touch; `siou`, size-normalised: milder to a slip of a pixel on a small box.
        threshold: None keeps the soft value; a number in (0, 1] makes a pair count 1 when it
            reaches it, else 0.
        label_aware: a pair with different labels counts 0.
        size_gamma: strength of the size normalisation of `siou`, in [0, 1).
        size_scale: boxes much wider than this many pixels are left alone by `siou`.
    """

    similarity: Literal["iou", "giou", "siou"] = "iou"
    threshold: float | None = None
    label_aware: bool = False
    size_gamma: float = 0.5
    size_scale: float = 64.0

    def __post_init__(self) -> None:
        """Refuse options outside their range."""
        if self.threshold is not None and not 0 < self.threshold <= 1:
            raise InputError(f"expected threshold in (0, 1] or null, found {self.threshold}")
        if not 0 <= self.size_gamma < 1:
            raise InputError(f"expected size_gamma in [0, 1), found {self.size_gamma}")
        if self.size_scale <= 0:
            raise InputError(f"expected size_scale above 0, found {self.size_scale}")


@dataclass
class LengthOptions:
    """Options of the opt-in `length` penalty, in completion tokens (DAPO, equation 13).

    Attributes:
        max_tokens: from here on the penalty is -1.
        soft_tokens: the penalty grows from 0 to -1 over the last this many tokens.
    """

    max_tokens: int = 1024
    soft_tokens: int = 256

    def __post_init__(self) -> None:
        """Refuse a soft range that is empty or longer than the whole."""
        if not 0 < self.soft_tokens <= self.max_tokens:
            raise InputError(
                f"expected soft_tokens from 1 to max_tokens {self.max_tokens}, "
                f"found {self.soft_tokens}"
            )


@dataclass
class RepetitionOptions:
    """Options of the opt-in `repetition` penalty.

    Attributes:
        ngram: length of the token n-grams that are counted.
        max_penalty: what a completion of nothing but one repeated n-gram approaches; at most 0.
    """

    ngram: int = 3
    max_penalty: float = -1.0

    def __post_init__(self) -> None:
        """Refuse a reward for repetition."""
        if self.ngram < 1:
            raise InputError(f"expected ngram of at least 1, found {self.ngram}")
        if self.max_penalty > 0:
            raise InputError(f"expected max_penalty of at most 0, found {self.max_penalty}")


@dataclass
class TermConfig:
    """One entry of `terms`.

    Attributes:
        weight: of the term; 0 leaves it out.
        options: keyword arguments of a reward of the user's own; those of a built-in term stand in
            a section of their own (`iou`, `length`, `repetition`).
    """

    weight: float = 1.0
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class RewardConfig:
    """What a completion is worth.

    Attributes:
        preset: name of a row of `rewards.build.PRESETS`, where weights, table and gate start from.
        weights: term -> weight, over the preset's; a weight of 0 leaves the term out.
        terms: terms beside the preset's: a built-in name, or the dotted path of a callable of TRL's
            form (rewards/own.py), which is imported when the rewards are built.
        table: outcome -> value of the `consistency` term, over the preset's.
        gate: `strict` (exactly one think and one answer block, nothing outside) or `released` (the
            released code's search for such a pair anywhere); None keeps the preset's.
        iou: options of the `iou` term.
        length: options of the `length` term.
        repetition: options of the `repetition` term.
    """

    preset: str = "roam"
    weights: dict[str, float] = field(default_factory=dict)
    terms: dict[str, TermConfig] = field(default_factory=dict)
    table: dict[str, float] = field(default_factory=dict)
    gate: Literal["strict", "released"] | None = None
    iou: IouOptions = field(default_factory=IouOptions)
    length: LengthOptions = field(default_factory=LengthOptions)
    repetition: RepetitionOptions = field(default_factory=RepetitionOptions)
