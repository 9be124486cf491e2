"""The pre-flight's table on the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from anomalyr1.training.trial import TermTrial, Trial

_LONGEST = 1200  # characters of the example that are shown


def print_report(trial: Trial, console: Console) -> None:
    """Print every term, the outcomes, the commonest faults and the best completion."""
    title = f"Pre-flight: {trial.groups} questions, {trial.generations} completions each"
    table = Table("term", title=title)
    for name in ("mean", "sd", "applies to", "zero variance"):
        table.add_column(name, justify="right")
    rows = [_row(term) for term in trial.terms]
    noted = any(row[-1] for row in rows)  # most often nothing is dead
    if noted:
        table.add_column("")
    for term, row in zip(trial.terms, rows, strict=True):
        cells = row if noted else row[:-1]
        table.add_row(*cells, style="bold" if term is trial.total else None)
    console.print(table)
    console.print(f"format rate {trial.format_rate:.1%}", highlight=False)
    for label, shares in (("outcomes", trial.outcomes), ("faults", trial.faults)):
        if shares:
            named = ", ".join(f"{name} {share:.0%}" for name, share in list(shares.items())[:6])
            console.print(f"{label}: {named}", highlight=False, soft_wrap=True)
    question, completion, rewards = trial.example
    shown = completion if len(completion) <= _LONGEST else f"{completion[:_LONGEST]} ..."
    earned = ", ".join(f"{k} {'-' if v is None else f'{v:.2f}'}" for k, v in rewards.items())
    console.print(
        Panel(escape(shown), title=escape(f"best completion of: {question}"), subtitle=earned)
    )


def _row(term: TermTrial) -> tuple[str, ...]:
    if term.mean is None:
        return (term.name, "-", "-", "0 %", "-", "dead: applies to no question")
    return (
        term.name,
        f"{term.mean:.3f}",
        f"{term.sd:.3f}",
        f"{100 * term.applies:.0f} %",
        f"{term.flat}/{term.groups} groups",
        "dead" if term.is_dead else "",
    )
