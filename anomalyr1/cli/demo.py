"""`anomalyr1 demo`: a page in the browser that inspects images."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Annotated

import typer

from anomalyr1.cli import inspector_options as options
from anomalyr1.cli import panels
from anomalyr1.cli.policy import quiet_libraries
from anomalyr1.errors import InputError


def register(app: typer.Typer) -> None:
    """Add the verb to the main command."""
    app.command(rich_help_panel=panels.INSPECT)(demo)


def demo(
    policy: options.PolicyPath,
    template: options.TemplateName = options.Template.choice,
    segmenter: options.SegmenterName = "grabcut",
    segmenter_checkpoint: options.SegmenterCheckpoint = None,
    threshold: options.Threshold = "saved",
    weigh: options.Weighed = options.Weigh.reasoning,
    max_new_tokens: options.MaxNewTokens = 512,
    min_pixels: options.MinPixels = None,
    max_pixels: options.MaxPixels = None,
    device: options.Device = None,
    examples: Annotated[
        Path | None, typer.Option(help="Benchmark of examples; by default a small one is drawn.")
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 lets other machines in.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 7860,
) -> None:
    """Serve a page to inspect images on: for this machine alone, unless --host says otherwise.

    Nobody is asked for a password: whoever reaches the page may use it. Uploads are deleted when it
    ends; those of a page that was killed, when the next one begins.

    Example: anomalyr1 demo --policy data/tiny-policy
    """
    if importlib.util.find_spec("gradio") is None:
        raise InputError(
            "expected the package gradio for the page, found none; run `pip install -e '.[demo]'` "
            "in the clone"
        )
    quiet_libraries()
    from anomalyr1.demo.inspect_request import Desk
    from anomalyr1.demo.serving import served
    from anomalyr1.demo.shown_examples import draw_benchmark, read_examples
    from anomalyr1.demo.temporary_folder import temporary_folder

    inspector = options.load_inspector(
        policy,
        template=template,
        segmenter=segmenter,
        segmenter_checkpoint=segmenter_checkpoint,
        threshold=threshold,
        weigh=weigh,
        max_new_tokens=max_new_tokens,
        min_pixels=min_pixels,
        max_pixels=max_pixels,
        device=device,
    )
    with temporary_folder() as folder:
        shown = read_examples(examples or draw_benchmark(folder / "drawn"), inspector.calibration)
        with served(Desk(inspector, shown), host, port) as (page, url):
            print(f"page: {url} (Ctrl-C ends it)", flush=True)
            page.block_thread()
