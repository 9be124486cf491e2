"""`anomalyr1 ablate`: one table from many configs."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from anomalyr1.cli.policy import ConfigPath, Overrides, quiet_libraries


def register(app: typer.Typer) -> None:
    """Add the verb to the main command."""
    app.command()(ablate)


def ablate(
    config: ConfigPath,
    overrides: Overrides = None,
    jobs: Annotated[
        int, typer.Option(help="Runs at once: a GPU each, or a share of the cores.")
    ] = 1,
) -> None:
    """Train and evaluate every variant of an ablation with every seed; tables and plots.

    Finished runs are skipped, a failed one is recorded and the rest goes on (exit status 1). What
    was cut off goes on when the same command is given again.

    Example: anomalyr1 ablate configs/ablations/roam_terms_cpu.yaml --jobs 2
    """
    quiet_libraries()
    from anomalyr1.ablation.contrasts import summarize
    from anomalyr1.ablation.launch import ablate as run
    from anomalyr1.ablation.outputs import files_of
    from anomalyr1.ablation.table import Grid, contrasts_grid, divided, values_grid

    console = Console()
    try:
        ablation, results, answers = run(config, overrides or (), console, jobs)
    except KeyboardInterrupt:
        console.print("stopped, with all that was at work; the same command goes on from there")
        raise
    lines = summarize(results, ablation.baseline, answers)
    # A pipe has no width of its own; figures cut to fit an assumed one would be of no use.
    wide = Console(width=None if console.is_terminal else 160)

    def show(title: str, grid: Grid) -> None:
        table = Table(title=title, title_justify="left")
        for name, words in zip(grid.header, grid.is_words, strict=True):
            table.add_column(name, justify="left" if words else "right")
        for row in grid.rows:
            table.add_row(*row)
        wide.print(table)

    for names in divided(lines):
        show(f"Ablation {config.stem}", values_grid(lines, names))
    show(f"Against {ablation.baseline}", contrasts_grid(lines))
    written = ", ".join(str(file) for file in files_of(ablation))
    console.print(f"wrote {written}", soft_wrap=True, highlight=False)
    if any(result.stage is not None for result in results):
        raise typer.Exit(1)
