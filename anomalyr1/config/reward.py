"""The `reward:` section: which terms are built, their weights, the outcome table, their options."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Literal

from pydantic import Field

from anomalyr1.config.section import Count, Flag, Number, Text, Verbatim, section
from anomalyr1.errors import InputError


@section
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
    threshold: Annotated[Number, Field(gt=0, le=1)] | None = None
    label_aware: Flag = False
    size_gamma: Annotated[Number, Field(ge=0, lt=1)] = 0.5
    size_scale: Annotated[Number, Field(gt=0)] = 64.0


@section
class LengthOptions:
    """Options of the opt-in `length` penalty, in completion tokens (DAPO, equation 13).

    Attributes:
        max_tokens: from here on the penalty is -1.
        soft_tokens: the penalty grows from 0 to -1 over the last this many tokens.
    """

    max_tokens: Count = 1024
    soft_tokens: Count = 256

    def __post_init__(self) -> None:
        """Refuse a soft range that is longer than the whole."""
        if self.soft_tokens > self.max_tokens:
            raise InputError(
                f"expected soft_tokens from 1 to max_tokens {self.max_tokens}, "
                f"found {self.soft_tokens}; lower it"
            )


@section
class RepetitionOptions:
    """Options of the opt-in `repetition` penalty.

    Attributes:
        ngram: length of the token n-grams that are counted.
        max_penalty: what a completion of nothing but one repeated n-gram approaches; at most 0.
    """

    ngram: Count = 3
    max_penalty: Annotated[Number, Field(le=0)] = -1.0


@section
class TermConfig:
    """One entry of `terms`.

    Attributes:
        weight: of the term; 0 leaves it out.
        options: keyword arguments of a reward of the user's own; those of a built-in term stand in
            a section of their own (`iou`, `length`, `repetition`).
    """

    weight: Number = 1.0
    options: Verbatim = field(default_factory=dict)


@section
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

    preset: Text = "roam"
    weights: dict[str, Number] = field(default_factory=dict)
    terms: dict[str, TermConfig] = field(default_factory=dict)
    table: dict[str, Number] = field(default_factory=dict)
    gate: Literal["strict", "released"] | None = None
    iou: IouOptions = field(default_factory=IouOptions)
    length: LengthOptions = field(default_factory=LengthOptions)
    repetition: RepetitionOptions = field(default_factory=RepetitionOptions)
