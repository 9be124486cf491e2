"""`anomalyr1 ablate`: one table from many configs."""

from __future__ import annotations

import typer
from rich.table import Table

from anomalyr1.cli import panels
from anomalyr1.cli.policy import ConfigPath, Overrides, quiet_libraries
from anomalyr1.cli.verbs import resumable
from anomalyr1.terminal import results as standard_output


def register(app: typer.Typer) -> None:
    """Add the verb to the main command."""
    app.command(rich_help_panel=panels.TRAIN)(ablate)


def ablate(config: ConfigPath, overrides: Overrides = None) -> None:
    """Train and evaluate every variant of an ablation with every seed, and write one table.

    Finished runs are skipped, a failed one is recorded and the rest goes on (exit status 1).

    Example: anomalyr1 ablate configs/ablations/roam_terms_cpu.yaml
    """
    quiet_libraries()
    from anomalyr1.ablation.launch import ablate as run
    from anomalyr1.ablation.table import summarize, texts
    from anomalyr1.run_folder import TABLE, TABLE_DATA

    with resumable():
        folder, results = run(config, overrides or ())
    lines = summarize(results)
    table = Table(title=f"Ablation {config.stem}")
    table.add_column("variant", no_wrap=True)
    for name in ("seeds", *lines[0].cells):
        table.add_column(name, justify="right")
    for line in lines:
        table.add_row(line.variant, f"{line.finished}/{line.tried}", *texts(line))
    standard_output(160).print(table)
    print(f"wrote {folder / TABLE} and {TABLE_DATA}")
    if any(result.stage is not None for result in results):
        raise typer.Exit(1)
