"""`anomalyr1 mask`: boxes of predictions to masks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anomalyr1.cli import inspector_options as options
from anomalyr1.cli import panels
from anomalyr1.cli.policy import quiet_libraries
from anomalyr1.cli.verbs import resumable
from anomalyr1.segmentation.names import PUBLISHED, SEGMENTERS
from anomalyr1.terminal import progress


def register(app: typer.Typer) -> None:
    """Add the verb to the main command."""
    app.command(rich_help_panel=panels.EVALUATE)(mask)


def mask(
    predictions: Annotated[Path, typer.Argument(help="A predictions.jsonl, or its run folder.")],
    segmenter: Annotated[
        str, typer.Option(help=f"Who makes them: {', '.join(SEGMENTERS)}.")
    ] = "grabcut",
    segmenter_checkpoint: options.SegmenterCheckpoint = None,
    segmenter_config: Annotated[
        str | None, typer.Option(help="SAM2's own config name, for a .pt file of another name.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of masks; `masks` beside the predictions.")
    ] = None,
    root: Annotated[
        Path | None, typer.Option(help="Folder of the images, where provenance tells none.")
    ] = None,
    shard: Annotated[
        str | None, typer.Option(help="Do a share only: 2/8 is the second of eight.", metavar="I/N")
    ] = None,
    sheet: Annotated[int, typer.Option(min=0, help="Most images on a contact sheet.")] = 48,
    device: options.Device = None,
) -> None:
    """Turn predicted boxes into masks: PNGs, overlays, contact sheets and COCO results; no policy.

    What stands already, also from an evaluation, is not made again, so that the same command goes
    on where it was stopped. Once all shards have ended, the command without --shard gathers them.

    Example: anomalyr1 mask runs/tiny/predictions.jsonl --segmenter grabcut
    """
    if segmenter in PUBLISHED:
        quiet_libraries()
    from anomalyr1.evaluation.boxed_predictions import read_boxed
    from anomalyr1.evaluation.mask_run import run_masks
    from anomalyr1.evaluation.shards import Shard
    from anomalyr1.segmentation.segmenter import load_segmenter

    share = None if shard is None else Shard.parse(shard)
    boxed = read_boxed(predictions, root)
    chosen = load_segmenter(segmenter, segmenter_checkpoint, segmenter_config, device)
    with resumable():
        made = run_masks(boxed, chosen, out, shard=share, most=sheet, bars=progress)
    print(f"masks: {made.lines} ({made.images} images, {made.new} made now)")
    print(f"pictures: {made.pictures}")
    if share is not None:
        print("once all shards have ended, the same command without --shard gathers them")
        return
    for file in made.sheets:
        print(f"contact sheet: {file}")
    print(f"COCO results: {made.results or 'none, because no box encloses a pixel'}")
