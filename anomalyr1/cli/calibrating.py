"""`anomalyr1 calibrate`: a threshold on P(anomalous), chosen on a benchmark, for `predict`."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from anomalyr1.cli import inspector_options as options
from anomalyr1.cli import panels
from anomalyr1.cli.policy import quiet_libraries
from anomalyr1.cli.showing import print_table
from anomalyr1.terminal import Bar


def register(app: typer.Typer) -> None:
    """Add the verb to the main command."""
    app.command(rich_help_panel=panels.INSPECT)(calibrate)


def calibrate(
    benchmark: Annotated[
        str, typer.Argument(help="Folder or mmad.json of images that the policy has not seen.")
    ],
    policy: options.PolicyPath,
    overkill: Annotated[
        float | None, typer.Option(help="Share of normal images that may raise an alarm.")
    ] = None,
    miss: Annotated[
        float | None, typer.Option(help="Share of anomalous images that may raise none.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="File to write; threshold.json beside the policy.")
    ] = None,
    references: Annotated[
        int, typer.Option(min=0, help="Reference images shown with each, from its record.")
    ] = 0,
    limit: Annotated[int | None, typer.Option(min=1, help="Images, drawn evenly; all.")] = None,
    allow_seen: Annotated[
        bool, typer.Option("--allow-seen", help="Take images that it was trained on, too.")
    ] = False,
    template: options.TemplateName = options.Template.choice,
    weigh: options.Weighed = options.Weigh.reasoning,
    batch_size: options.BatchSize = 16,
    max_new_tokens: options.MaxNewTokens = 512,
    min_pixels: options.MinPixels = None,
    max_pixels: options.MaxPixels = None,
    device: options.Device = None,
) -> None:
    """Choose the threshold that keeps false alarms or missed defects at a wanted share.

    It is put beside the policy, where predict and demo find it, to be used under the settings that
    it was chosen under; with --out elsewhere, predict takes it by --threshold FILE.

    Example: anomalyr1 calibrate benchmarks/lids/test --policy runs/lids/policy --overkill 0.05
    """
    from anomalyr1.metrics.operating_point import require_one_share

    require_one_share(overkill, miss)
    quiet_libraries()
    from anomalyr1.inspection.calibration import place_of_threshold

    file = place_of_threshold(policy, out)
    inspector = options.load_inspector(
        policy,
        template=template,
        segmenter="none",
        segmenter_checkpoint=None,
        threshold="none",
        weigh=weigh,
        batch_size=batch_size,
        max_new_tokens=max_new_tokens,
        min_pixels=min_pixels,
        max_pixels=max_pixels,
        device=device,
    )
    with ExitStack() as held:
        bars: list[Bar] = []

        def tell(done: int, total: int) -> None:
            if not bars:
                bars.append(held.enter_context(Bar("calibrating", total)))
            bars[0].to(done)

        point = inspector.calibrate(
            benchmark,
            overkill=overkill,
            miss=miss,
            references=references,
            limit=limit,
            allow_seen=allow_seen,
            save=file,
            on_image=tell,
        )
    rows = [
        ("threshold", "", f"{point.threshold:.4g}", _ends(point.threshold_interval, 1), ""),
        (
            "overkill",
            _share(overkill),
            _share(point.overkill),
            _ends(point.overkill_interval, 100),
            f"{point.normal} normal",
        ),
        (
            "miss",
            _share(miss),
            _share(point.miss),
            _ends(point.miss_interval, 100),
            f"{point.anomalous} anomalous",
        ),
    ]
    print_table(
        "Threshold on P(anomalous)",
        ["", "wanted at most", "found", "95 % interval", "images"],
        rows,
    )
    print(f"threshold: {file}")


def _share(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.4g} %"


def _ends(ends: tuple[float, float] | None, scale: int) -> str:
    return "-" if ends is None else f"{scale * ends[0]:.4g} to {scale * ends[1]:.4g}"
