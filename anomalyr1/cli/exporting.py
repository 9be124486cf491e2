"""`anomalyr1 data export`: a benchmark or predictions for other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def export(
    bench: Annotated[
        Path, typer.Argument(help="Folder with mmad.json, or the file.", metavar="BENCH")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder to write; empty or new.")],
    form: Annotated[str, typer.Option("--format", help="vlm-r1 or ms-swift.")] = "vlm-r1",
    references: Annotated[int, typer.Option(help="Reference images in a prompt.")] = 0,
    template: Annotated[str, typer.Option(help="choice or inspect.")] = "choice",
) -> None:
    """Write a benchmark as training data of VLM-R1 or ms-swift.

    Example: anomalyr1 data export benchmarks/synthetic/train --out vlm-r1 --format vlm-r1
    """
    from anomalyr1.data.export import export_benchmark
    from anomalyr1.data.mmad import load_benchmark

    files = export_benchmark(
        load_benchmark(bench), out, form=form, references=references, template=template
    )
    for file in files:
        print(f"written: {file}")
