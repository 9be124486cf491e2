"""A line of masks/*.jsonl; `data.rle` reads and writes the run lengths in it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StrictInt, StrictStr


class RunLengths(BaseModel):
    """A mask: `size` is [height, width], `counts` COCO's compressed run lengths."""

    size: Annotated[list[Annotated[StrictInt, Field(ge=1)]], Field(min_length=2, max_length=2)]
    counts: StrictStr


class MaskLine(BaseModel):
    """What a line says of an image: masks from predicted and gold boxes, and what they should be.

    `key` is all that the line depends on apart from the pixels. `instances` are the masks of the
    predicted boxes one by one, whose union is the mask from them; None where no boxes could be
    read, and in files of earlier versions. `jittered` are masks from predicted boxes that were
    moved (`box_jitter`), a list of draws a share, where `key` names a jitter.
    """

    image: StrictStr
    key: dict[str, Any]
    masks: dict[Literal["predicted", "gold", "whole"], RunLengths | None] = Field(min_length=3)
    instances: list[RunLengths] | None = None
    jittered: list[list[RunLengths]] | None = None
    target: RunLengths | None
    target_from: Literal["mask", "boxes", "normal"] | None
