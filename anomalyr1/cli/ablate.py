"""`anomalyr1 ablate`: one table from many configs."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from anomalyr1.cli import panels
from anomalyr1.cli.policy import ConfigPath, Overrides, quiet_libraries
from anomalyr1.cli.verbs import resumable
from anomalyr1.terminal import results as standard_output


def register(app: typer.Typer) -> None:
    """Add the verb to the main command."""
    app.command(rich_help_panel=panels.TRAIN)(ablate)


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
    from anomalyr1.ablation.outputs import files_of, unlike_baseline
    from anomalyr1.ablation.table import Grid, contrasts_grid, divided, unlike_lines, values_grid

    with resumable():
        ablation, results, answers = run(config, overrides or (), jobs=jobs)
    lines = summarize(results, ablation.baseline, answers)
    wide = standard_output(160)

    def show(title: str, grid: Grid) -> None:
        table = Table(title=escape(title), title_justify="left")
        for name, words in zip(grid.header, grid.is_words, strict=True):
            table.add_column(name, justify="left" if words else "right")
        for row in grid.rows:
            table.add_row(*map(escape, row))
        wide.print(table)

    for names in divided(lines):
        show(f"Ablation {config.stem}", values_grid(lines, names))
    show(f"Against {ablation.baseline}", contrasts_grid(lines))
    for line in unlike_lines(unlike_baseline(ablation, results)):
        wide.print(f"evaluated unlike {ablation.baseline}: {line}", markup=False)
    print(f"wrote {', '.join(map(str, files_of(ablation)))}")
    if any(result.stage is not None for result in results):
        raise typer.Exit(1)
