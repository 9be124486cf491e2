"""The section `segmentation`: how boxes become masks."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from anomalyr1.config.section import Count, Number, Text, section

Shares = Annotated[list[Annotated[Number, Field(gt=0, le=0.5)]], Field(min_length=1)]


@section
class SegmentationConfig:
    """How boxes become masks at evaluation.

    Attributes:
        kind: `none` skips masks, `box` fills the box, `grabcut` uses OpenCV, `sam2` Meta's SAM2,
            `sam2-transformers` and `sam3-transformers` those of transformers.
        checkpoint: of a SAM: hub id, a local .pt file of `sam2`, a local folder of transformers;
            None takes the one that is published.
        model_config: SAM2's own config name, where the name of a .pt file does not tell it.
        jitter: shares of a box's sides, like [0.05, 0.1, 0.2]; predicted boxes are moved and
            resized by up to each, and `score` tells what that does to masks and overlaps. None
            leaves them where they are.
        jitter_draws: how often they are moved.
    """

    kind: Literal["none", "box", "grabcut", "sam2", "sam2-transformers", "sam3-transformers"] = (
        "grabcut"
    )
    checkpoint: Text | None = None
    model_config: Text | None = None
    jitter: Shares | None = None
    jitter_draws: Count = 5
