"""`anomalyr1 leaderboard`: many runs on one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anomalyr1.cli import panels
from anomalyr1.run_folder import LEADERBOARD


def register(app: typer.Typer) -> None:
    """Add the verb to an app."""
    app.command(rich_help_panel=panels.EVALUATE)(leaderboard)


def leaderboard(
    runs: Annotated[
        list[Path], typer.Argument(help="Run folders that were scored, or their metrics.json.")
    ],
    out: Annotated[
        Path, typer.Option(help="The HTML file; the same rows as CSV are written beside it.")
    ] = Path(LEADERBOARD),
) -> None:
    """Write one self-contained page and a CSV of many runs with their settings.

    Published figures of MMAD and blind baselines stand among the runs where they fit.

    Example: anomalyr1 leaderboard runs/tiny runs/tiny/before --out leaderboard.html
    """
    from anomalyr1.errors import InputError
    from anomalyr1.evaluation.report.leaderboard_page import write_leaderboard

    if out.suffix != ".html":
        raise InputError(f"expected --out NAME.html, found {out}; give the page such a name")
    page, table = write_leaderboard(runs, out)
    print(f"wrote {page} and {table}")
