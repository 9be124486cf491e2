"""`anomalyr1 compare`: what training changed, in a few lines or a row a seed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from anomalyr1.cli import panels

if TYPE_CHECKING:
    from anomalyr1.evaluation.before_after import BeforeAfter
    from anomalyr1.evaluation.figures import Difference

# What a newcomer reads first, and how it is called here.
SHOWN = {
    "strict accuracy": "strict accuracy",
    "RobustMAD accuracy": "RobustMAD accuracy",
    "box F1@0.5": "boxes F1 at IoU 0.5",
    "unreadable": "unreadable",
    "contradictory": "contradictory",
}


def register(app: typer.Typer) -> None:
    """Add the verb to an app."""
    app.command(rich_help_panel=panels.EVALUATE)(compare)


def compare(
    runs: Annotated[
        list[Path], typer.Argument(help="Run folders; with an evaluation in before/, or --against.")
    ],
    against: Annotated[
        Path | None, typer.Option(help="The run to compare with, instead of each RUN/before.")
    ] = None,
) -> None:
    """Say what training changed: RUN/before against RUN, or any two runs on the same questions.

    Intervals are of 95 %, images drawn in pairs; p is McNemar's, over images. Several runs are
    seeds of one: a row each, and the difference of their means.

    Example: anomalyr1 compare runs/quickstart/synthetic
    """
    from anomalyr1.evaluation.before_after import pooled, read_before_after
    from anomalyr1.run_folder import REPORT

    found = [read_before_after(run, against) for run in runs]
    console = Console(soft_wrap=True)
    if len(found) > 1:
        console.print(_table(found, pooled(found), against))
        for run in found:
            if run.settings.fields:
                console.print(f"{run.run}: settings {run.settings.told}", markup=False)
        return
    page = found[0].run / REPORT
    lines = _lines(found[0]) if against is None else _lines_of_two(found[0])
    if page.is_file():
        lines["report"] = str(page.resolve())
    for name, told in lines.items():
        console.print(f"{name:<11} {told}", highlight=False, markup=False)


def _lines(run: BeforeAfter, sides: tuple[str, str] = ("before", "after")) -> dict[str, str]:
    """What who sees this for the first time reads, a line each under its name."""
    values = (run.before.values, run.after.values)
    lines = {
        side: ", ".join(f"{label} {of[k]:.1f} %" for k, label in SHOWN.items() if k in of)
        for side, of in zip(sides, values, strict=True)
    }
    differences = [f"{label} {_told(difference)}" for label, difference in _shown(run)]
    lines["difference"] = ", ".join(differences)
    lines["answers"] = run.changes.told
    if run.settings.fields:
        lines["settings"] = run.settings.told
    return {name: told for name, told in lines.items() if told}


def _lines_of_two(run: BeforeAfter) -> dict[str, str]:
    """What is said of any two runs: the same, and how sure it is."""
    images = ", ".join(
        f"{name} better on {found.better} and worse on {found.worse} (p {found.p:.2g})"
        for name, found in run.discordances.items()
    )
    smallest = [
        f"{label} {d.detectable:.1f}" for label, d in _shown(run) if d.detectable is not None
    ]
    detectable = f"{', '.join(smallest)}: shown in 80 % of repetitions" if smallest else ""
    lines = _lines(run, ("against", "run"))
    lines |= {"images": images, "detectable": detectable}
    lines["settings"] = lines.pop("settings", run.settings.told)  # the last of them
    return {name: told for name, told in lines.items() if told}


def _shown(run: BeforeAfter) -> list[tuple[str, Difference]]:
    return [(SHOWN[key], found) for key, found in run.differences.items() if key in SHOWN]


def _table(
    runs: list[BeforeAfter], of_all: Mapping[str, Difference], against: Path | None
) -> Table:
    from anomalyr1.evaluation.report.runs import told_apart

    table = Table(
        title=f"{'After training against before' if against is None else f'Against {against}'}, "
        "in percent and points",
        title_justify="left",
    )
    table.add_column("run", no_wrap=True)
    shown = [key for key in SHOWN if key in of_all]
    for key in shown:
        table.add_column(SHOWN[key], justify="right")
    table.add_column("answers fixed / broken", justify="right")
    table.add_column("most given letter (gold)", justify="right")
    names = told_apart([run.run for run in runs])
    for run, name in zip(runs, names, strict=True):
        cells = [
            f"{run.before.values[key]:.1f} → {run.after.values[key]:.1f}\n"
            f"{_in_two_lines(run.differences[key])}"
            for key in shown
        ]
        letter = run.letter
        told = f"{letter.letter} {letter.share:.0f} ({letter.gold:.0f})" if letter else "-"
        changed = f"{len(run.changes.fixed):,} / {len(run.changes.broken):,}"
        table.add_row(name, *cells, changed, told)
    table.add_section()
    table.add_row("mean", *(_in_two_lines(of_all[key]) for key in shown), "", "")
    better = [sum(_clearly_better(key, run.differences[key]) for run in runs) for key in shown]
    table.add_row("clearly better", *(f"{n} of {len(runs)}" for n in better), "", "")
    return table


def _told(difference: Difference) -> str:
    from anomalyr1.evaluation.figures import signed

    return signed(difference.value, difference.ends)


def _in_two_lines(difference: Difference) -> str:
    return _told(difference).replace(" (", "\n(", 1)


def _clearly_better(key: str, difference: Difference) -> bool:
    """The whole interval lies on the side that is better for this figure."""
    from anomalyr1.evaluation.figures import FIGURES

    if difference.ends is None:
        return False
    low, high = difference.ends
    return low > 0 if FIGURES[key] else high < 0
