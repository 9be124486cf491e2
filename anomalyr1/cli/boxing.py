"""`anomalyr1 data boxes`: gold boxes for a benchmark that has masks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anomalyr1.cli.showing import show_counts
from anomalyr1.terminal import progress


def boxes(
    bench: Annotated[
        Path, typer.Argument(help="Folder with mmad.json, or the file.", metavar="BENCH")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder to write; empty or new.")],
    grounding: Annotated[
        bool, typer.Option(help="Ask each image for its boxes, in a question of their own.")
    ] = True,
    connectivity: Annotated[int, typer.Option(help="Of mask pixels: 4 or 8.")] = 8,
    min_area: Annotated[int, typer.Option(help="Smallest component of a mask, in pixels.")] = 9,
    merge_distance: Annotated[int, typer.Option(help="Join components so near, in pixels.")] = 5,
    seed: Annotated[int, typer.Option("--seed", help="Of the questions' wording.")] = 0,
    root: Annotated[
        Path | None, typer.Option("--root", help="Folder of the images, if elsewhere.")
    ] = None,
) -> None:
    """Give a benchmark with masks gold boxes: what ROAM's `iou` and box scores need of MMAD.

    The images stay where they are. Defective images whose mask is absent or tells no place are
    named, and keep their other questions.

    Example: anomalyr1 data boxes benchmarks/mmad --out benchmarks/mmad-boxes
    """
    from anomalyr1.data.images import BoxOptions
    from anomalyr1.data.making.mask_boxes import add_boxes
    from anomalyr1.data.mmad import load_benchmark

    options = BoxOptions(connectivity, min_area, merge_distance)
    file = add_boxes(
        load_benchmark(bench, root=root),
        out,
        options,
        grounding=grounding,
        seed=seed,
        progress=progress("reading masks"),
    )
    show_counts(file)
