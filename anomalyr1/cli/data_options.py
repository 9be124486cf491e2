"""Arguments and options that several of the data verbs have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Bench = Annotated[Path, typer.Argument(help="Folder with mmad.json, or the file.", metavar="BENCH")]
Root = Annotated[Path | None, typer.Option("--root", help="Folder of the images, if elsewhere.")]
Out = Annotated[Path, typer.Option("--out", help="Folder to write; empty or new.")]
Connectivity = Annotated[int, typer.Option(help="Of mask pixels: 4 or 8.")]
MinArea = Annotated[int, typer.Option(help="Smallest component of a mask, in pixels.")]
MergeDistance = Annotated[int, typer.Option(help="Join components so near, in pixels.")]
