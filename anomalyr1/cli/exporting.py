"""`anomalyr1 data export`: a benchmark or predictions for other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anomalyr1.cli.idle_options import refuse_idle
from anomalyr1.errors import InputError, unknown


def export(
    context: typer.Context,
    source: Annotated[
        Path,
        typer.Argument(help="A benchmark, a run folder, or predictions.jsonl.", metavar="SOURCE"),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder to write; empty or new.")],
    form: Annotated[
        str,
        typer.Option(
            "--format",
            help="Training rows: vlm-r1, ms-swift. Annotations: label-studio, cvat, coco, voc, "
            "yolo.",
        ),
    ] = "vlm-r1",
    references: Annotated[int, typer.Option(help="Reference images in a prompt (rows).")] = 0,
    template: Annotated[str, typer.Option(help="choice or inspect (rows).")] = "choice",
    root: Annotated[
        Path | None, typer.Option("--root", help="Folder of the images, where nothing tells it.")
    ] = None,
) -> None:
    """Write a benchmark as training rows, or its boxes (or a run's) for an annotation tool.

    The boxes that a run predicted come back corrected with `data build label-studio DIR --against
    DIR`, which says what the annotators changed.

    Example: anomalyr1 data export runs/inspect --out to-correct --format label-studio
    """
    from anomalyr1.data.annotation_files import WRITERS, Proposal, write_annotations
    from anomalyr1.data.export import FORMS, export_benchmark
    from anomalyr1.data.mmad import load_benchmark
    from anomalyr1.evaluation.proposals import is_predictions, read_proposals

    if form not in (*FORMS, *WRITERS):
        raise unknown("a format", form, (*FORMS, *WRITERS))
    if form in WRITERS:
        refuse_idle(context, f"with annotations of {form}", only=("references", "template"))
    if is_predictions(source):
        if form in FORMS:
            raise InputError(
                f"expected a benchmark for rows of {form}, found predictions at {source}; export "
                f"the benchmark, or choose a format out of {', '.join(WRITERS)}"
            )
        proposals, unreadable = read_proposals(source, root)
        if unreadable:
            print(f"{unreadable} images have an answer without a readable list: no box proposed")
    elif form in FORMS:
        benchmark = load_benchmark(source, root=root)
        for file in export_benchmark(
            benchmark, out, form=form, references=references, template=template
        ):
            print(f"written: {file}")
        return
    else:
        samples = load_benchmark(source, root=root).samples
        proposals = [
            Proposal(sample.image, sample.path, sample.boxes)
            for sample in samples
            if sample.boxes is not None
        ]
        if len(proposals) < len(samples):
            print(f"left out: {len(samples) - len(proposals)} images whose boxes are not on record")
    file = write_annotations(proposals, out, form, source.resolve().name)
    boxes = sum(len(proposal.boxes) for proposal in proposals)
    print(f"written: {file} ({len(proposals)} images, {boxes} boxes)")
