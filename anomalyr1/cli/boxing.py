"""`anomalyr1 data boxes`: gold boxes for a benchmark that has masks."""

from __future__ import annotations

from typing import Annotated

import typer

from anomalyr1.cli.data_options import Bench, Connectivity, MergeDistance, MinArea, Out, Root
from anomalyr1.cli.showing import show_counts
from anomalyr1.terminal import progress


def boxes(
    bench: Bench,
    out: Out,
    grounding: Annotated[
        bool, typer.Option(help="Ask each image for its boxes, in a question of their own.")
    ] = True,
    connectivity: Connectivity = 8,
    min_area: MinArea = 9,
    merge_distance: MergeDistance = 5,
    seed: Annotated[int, typer.Option("--seed", help="Of the questions' wording.")] = 0,
    root: Root = None,
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
