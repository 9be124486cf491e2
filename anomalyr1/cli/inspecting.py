"""`anomalyr1 predict`: images named or arriving, inspected by a policy."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from enum import Enum
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import typer

from anomalyr1.cli import inspector_options as options
from anomalyr1.cli import panels
from anomalyr1.cli.inspection_summary import Summary, verdict_of
from anomalyr1.cli.policy import quiet_libraries
from anomalyr1.cli.verbs import resumable
from anomalyr1.errors import InputError
from anomalyr1.run_folder import INSPECTIONS
from anomalyr1.run_lock import run_lock
from anomalyr1.terminal import progress
from anomalyr1.text_files import read_text
from anomalyr1.values import printable


class FailOn(str, Enum):
    """What makes the exit status 1."""

    anomalous = "anomalous"


def register(app: typer.Typer) -> None:
    """Add the verb to the main command."""
    app.command(rich_help_panel=panels.INSPECT)(predict)


def predict(
    policy: options.PolicyPath,
    images: Annotated[
        list[str] | None, typer.Argument(help="Images, folders, patterns.", metavar="[IMAGE]...")
    ] = None,
    reference: Annotated[
        list[Path] | None, typer.Option(help="Image of a normal part; may be given again.")
    ] = None,
    question: Annotated[
        str | None, typer.Option(help="A yes-or-no question instead of the usual one.")
    ] = None,
    knowledge: Annotated[
        str | None, typer.Option(help="What is known about the product: a text, or its file.")
    ] = None,
    defect_type: Annotated[
        list[str] | None,
        typer.Option(help="A type to choose from where a defect is found; give at least two."),
    ] = None,
    template: options.TemplateName = options.Template.choice,
    segmenter: options.SegmenterName = "grabcut",
    segmenter_checkpoint: options.SegmenterCheckpoint = None,
    threshold: options.Threshold = "saved",
    weigh: options.Weighed = options.Weigh.reasoning,
    out: Annotated[
        Path | None, typer.Option(help="Folder of inspections.jsonl and overlays/.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="A JSON line an image on standard output.")
    ] = False,
    fail_on: Annotated[
        FailOn | None, typer.Option(help="Exit with status 1 where an image is found so.")
    ] = None,
    watch: Annotated[
        Path | None, typer.Option(help="Inspect what is in this folder or arrives there.")
    ] = None,
    interval: Annotated[float, typer.Option(min=0.05, help="Seconds between looks.")] = 1.0,
    idle: Annotated[
        float | None, typer.Option(min=0, help="Stop watching after so many quiet seconds.")
    ] = None,
    batch_size: options.BatchSize = 16,
    max_new_tokens: options.MaxNewTokens = 512,
    min_pixels: options.MinPixels = None,
    max_pixels: options.MaxPixels = None,
    device: options.Device = None,
) -> None:
    """Inspect images: verdict with its probability, boxes, mask and overlay of each.

    What stands in --out already is not inspected again, so that the same command goes on where it
    was stopped. Exit status: 0, 1 for --fail-on, 2 where an image could not be used.

    Example: anomalyr1 predict parts/*.png --policy data/tiny-policy --out inspected
    """
    if not images and watch is None:
        raise InputError("expected images, or a folder to --watch, found neither; name some")
    if watch is not None and (images or not watch.is_dir()):
        raise InputError(
            f"expected one folder to --watch and no other images, found {watch} and "
            f"{len(images or ())} more; give a folder that is there, alone"
        )
    quiet_libraries()
    from anomalyr1.inspection.file_run import FileRun
    from anomalyr1.inspection.inputs import find_images
    from anomalyr1.inspection.ledger import Ledger, file_id

    files = [(file_id(path), path) for path in find_images(images or (), out)]
    summary = Summary()
    with ExitStack() as held:
        if out is not None:
            held.enter_context(resumable())
            held.enter_context(run_lock(out))
        inspector = options.load_inspector(
            policy,
            template=template,
            segmenter=segmenter,
            segmenter_checkpoint=segmenter_checkpoint,
            threshold=threshold,
            weigh=weigh,
            batch_size=batch_size,
            max_new_tokens=max_new_tokens,
            min_pixels=min_pixels,
            max_pixels=max_pixels,
            device=device,
        )
        run = FileRun(inspector, reference or (), question, _text(knowledge), defect_type or ())
        ledger = Ledger(out, run.settings(), {known for known, _ in files})
        done = [ledger.before[known] for known, _ in files if known in ledger.before]
        coming: Iterable[dict[str, Any]]
        if watch is not None:
            coming = run.watch(watch, ledger, interval=interval, idle=idle)
        else:
            bar = progress("inspecting", len(files) - len(done))
            coming = bar(run.inspect(files, ledger))
        for row in chain(done, coming):
            summary.add(row)
            _tell(row, as_json=as_json, each=watch is not None)
    if not as_json:
        summary.show()
        if out is not None:
            print(f"inspections: {out / INSPECTIONS}")
    if summary.faults:
        raise typer.Exit(2)
    if fail_on and summary.counts[fail_on.value]:
        raise typer.Exit(1)


def _tell(row: Mapping[str, Any], *, as_json: bool, each: bool) -> None:
    """A line of JSON, or what a person has to know at once."""
    if as_json:
        print(json.dumps(row, ensure_ascii=False), flush=True)
    if "error" in row:
        print(f"not inspected: {printable(row['error'])}", file=sys.stderr, flush=True)
    elif each and not as_json:
        print(f"{printable(row['image'])}: {verdict_of(row)}", flush=True)


def _text(knowledge: str | None) -> str | None:
    """A text as it is given, or that of the file it names."""
    try:
        named = knowledge is not None and Path(knowledge).is_file()
    except (OSError, ValueError):  # a text that is too long for a name
        named = False
    return read_text(Path(knowledge or ""), "knowledge") if named else knowledge
