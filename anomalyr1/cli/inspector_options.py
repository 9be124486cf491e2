"""Options of the verbs that ask an inspector, and the inspector that they describe."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Annotated

import typer

from anomalyr1.segmentation.names import SEGMENTERS

if TYPE_CHECKING:
    from anomalyr1.inspection.inspector import Inspector


class Template(str, Enum):
    """See `prompts.Template`."""

    choice = "choice"
    inspect = "inspect"


class Weigh(str, Enum):
    """See `schema.Weigh`."""

    reasoning = "reasoning"
    at_once = "at_once"


PolicyPath = Annotated[str, typer.Option(help="Checkpoint or adapter folder, or hub id.")]
TemplateName = Annotated[
    Template, typer.Option(help="As the policy was trained (prompt.template).")
]
SegmenterName = Annotated[
    str, typer.Option(help=f"Masks from boxes: {', '.join(SEGMENTERS)} or none.")
]
SegmenterCheckpoint = Annotated[
    str | None, typer.Option(help="Weights of a SAM: hub id, .pt file or folder.")
]
Threshold = Annotated[
    str,
    typer.Option(
        help="On P(anomalous), 0 to 1, or a file of `calibrate`; saved: the policy's own; none: "
        "its letter."
    ),
]
Weighed = Annotated[
    Weigh, typer.Option(help="The likelihood held against it: after reasoning, or at once.")
]
BatchSize = Annotated[int, typer.Option(min=1, help="Questions decoded together.")]
MaxNewTokens = Annotated[int, typer.Option(min=1, help="Completion budget.")]
MinPixels = Annotated[
    int | None, typer.Option(min=1, help="Scale images up to so many; as it was trained.")
]
MaxPixels = Annotated[
    int | None, typer.Option(min=1, help="Scale images down to so many; as it was trained.")
]
Device = Annotated[str | None, typer.Option(help="torch device; CUDA where there is one.")]


def load_inspector(
    policy: str,
    *,
    template: Template,
    segmenter: str,
    segmenter_checkpoint: str | None,
    threshold: str,
    weigh: Weigh,
    max_new_tokens: int,
    min_pixels: int | None,
    max_pixels: int | None,
    device: str | None,
    batch_size: int = 16,
) -> Inspector:
    """The inspector of these options.

    Raises:
        InputError: one of them cannot be used.
    """
    from anomalyr1.inspection.inspector import Inspector

    return Inspector.from_pretrained(
        policy,
        segmenter=None if segmenter == "none" else segmenter,
        segmenter_checkpoint=segmenter_checkpoint,
        threshold=threshold,
        weigh=weigh.value,
        template=template.value,
        batch_size=batch_size,
        max_new_tokens=max_new_tokens,
        min_pixels=min_pixels,
        max_pixels=max_pixels,
        device=device,
    )
