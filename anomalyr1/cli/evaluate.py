"""`anomalyr1 score` and `anomalyr1 report`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from anomalyr1.cli import panels
from anomalyr1.cli.located import between, percent, print_localization
from anomalyr1.terminal import results

if TYPE_CHECKING:
    from anomalyr1.evaluation.beside import Beside


def register(app: typer.Typer) -> None:
    """Add the verbs to an app."""
    app.command(rich_help_panel=panels.EVALUATE)(score)
    app.command(rich_help_panel=panels.EVALUATE)(report)
    app.command(rich_help_panel=panels.EVALUATE)(gather)


def score(
    predictions: Annotated[Path, typer.Argument(help="A predictions.jsonl.")],
    compat: Annotated[
        bool, typer.Option("--compat", help="Print the table under MMAD's own accounting.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Where to write; metrics.json beside the predictions.")
    ] = None,
) -> None:
    """Score predictions: MMAD tables, detection, boxes and masks, with 95 % intervals.

    Completions are parsed again; no image, policy or GPU is needed. metrics.json holds both
    accountings whichever is printed.

    Example: anomalyr1 score runs/tiny/predictions.jsonl --compat
    """
    _score(predictions, out, "compat" if compat else "strict")


def _score(
    predictions: Path, out: Path | None, accounting: str, resamples: int | None = None
) -> None:
    from anomalyr1.evaluation.cells import told_empty
    from anomalyr1.evaluation.score import score as score_predictions
    from anomalyr1.run_folder import METRICS

    metrics = score_predictions(predictions, out, resamples=resamples)
    console = results()
    _print_accuracy(console, metrics, accounting)
    if metrics.get("empty_cells"):
        console.print(told_empty(metrics["empty_cells"]))
    _print_beside(console, metrics, accounting)
    for name, part in metrics.get("exposure", {}).items():
        console.print(
            f"{name} in training: {part['images']} images, {part['questions']} questions, "
            f"macro strict {percent(part['macro'])}, micro strict {percent(part['micro'])}"
        )
    unknown = metrics["settings"]["unknown"]
    if unknown:
        console.print(f"settings that are not known of these predictions: {', '.join(unknown)}")
    for name, cells in metrics.get("robustmad", {}).items():
        console.print(
            f"RobustMAD, {name}: {percent(cells['percent'])}{between(cells['interval'])} of "
            f"{cells['questions']} questions"
        )
    _print_likelihood(console, metrics.get("likelihood"))
    _print_consistency(console, metrics.get("consistency"))
    print_localization(console, metrics.get("localization", {}))
    _print_published_boxes(console, metrics)
    print(f"wrote {out or predictions.parent / METRICS}")


def report(
    runs: Annotated[list[Path], typer.Argument(help="Run folders, or folders of predictions.")],
    out: Annotated[
        Path | None, typer.Option(help="The HTML file; report.html in the first run by default.")
    ] = None,
    gallery: Annotated[int, typer.Option(min=0, help="Most images in the gallery.")] = 60,
    root: Annotated[
        Path | None, typer.Option(help="Data root of the images, where provenance tells none.")
    ] = None,
) -> None:
    """Write one self-contained HTML page: tables, training curves and a gallery of answers.

    Several runs are compared, with paired intervals on the questions they share.

    Example: anomalyr1 report runs/tiny runs/tiny/before --out report.html
    """
    from anomalyr1.evaluation.report.page import write_report

    path = write_report(runs, out, gallery=gallery, root=root)
    print(f"wrote {path}")


def gather(
    shards: Annotated[list[Path], typer.Argument(help="Folders that `eval --shard` made.")],
    out: Annotated[Path, typer.Option(help="Run folder for the whole.")],
) -> None:
    """Put the shards of an evaluation together, and score the whole.

    Shards with other settings, of another benchmark, missing, unfinished or answering a question
    twice are refused, each by name.

    Example: anomalyr1 gather runs/mmad/shard-*-of-4 --out runs/mmad
    """
    from anomalyr1.evaluation.score import kept_resamples
    from anomalyr1.evaluation.shard_folders import gather_shards

    path = gather_shards(shards, out)
    print(f"wrote {path}")
    counts = {kept_resamples(shard) for shard in shards}
    _score(path, None, "strict", resamples=counts.pop() if len(counts) == 1 else None)


def _print_accuracy(console: Console, metrics: Mapping[str, Any], accounting: str) -> None:
    rows = metrics["mmad"][accounting]
    described = {
        "strict": "an unreadable answer is wrong",
        "compat": "MMAD's own accounting",
    }
    if rows:
        table = Table(
            title=f"Accuracy in percent, {accounting}: {described[accounting]}",
            title_justify="left",
        )
        table.add_column("")
        for dataset in rows:
            table.add_column(dataset, justify="right", overflow="fold")
        for name in rows["Average"]:
            style = "bold" if name == "Average" else None
            if any(cells[name] is not None for cells in rows.values()):
                table.add_row(name, *(percent(rows[d][name]) for d in rows), style=style)
        for name in ("Overkill", "Miss"):
            shares = metrics["overkill_miss"][accounting]
            table.add_row(name, *(percent(shares[d][name]) for d in rows), style="dim")
        console.print(table)
    for name, meaning in (
        ("macro", "mean of the datasets' averages"),
        ("micro", "correct over counted questions"),
    ):
        value, ends = metrics[name][accounting], metrics["intervals"][name][accounting]
        if value is not None:
            console.print(f"{name} {accounting} {percent(value)}{between(ends)}: {meaning}")
    console.print(
        f"{metrics['counted'][accounting]} questions counted, "
        f"{percent(metrics['invalid_rate'])} % of all answers unreadable"
    )


def _print_beside(console: Console, metrics: Mapping[str, Any], accounting: str) -> None:
    """Rows that are no run's, in tables with the run: each under the accounting it was made by."""
    from anomalyr1.evaluation.beside import blind_rows, published_rows

    if accounting == "strict":
        _print_rows(console, metrics, blind_rows(metrics), "strict")
    _print_rows(console, metrics, published_rows(metrics), "compat")
    smallest = metrics["detectable"].get("Average")
    if smallest is not None:
        console.print(
            f"a benchmark of this size shows a difference of {percent(smallest)} points of macro "
            "accuracy between runs that know nothing of each other, smaller ones in pairs "
            "(`anomalyr1 compare`)"
        )


def _print_rows(
    console: Console, metrics: Mapping[str, Any], rows: Sequence[Beside], accounting: str
) -> None:
    from anomalyr1.evaluation.beside import asked_columns

    if not rows:
        return
    columns = asked_columns(metrics, accounting)
    marks = any(row.kind == "published" for row in rows)
    table = Table(title=f"Beside it, percent, {accounting}", title_justify="left")
    table.add_column("")
    for column in columns:
        table.add_column(column, justify="right", overflow="fold")
    if marks:
        table.add_column("settings unlike", overflow="fold")
    average = metrics["mmad"][accounting]["Average"]
    table.add_row("these predictions", *(percent(average[c]) for c in columns), style="bold")
    for row in rows:
        cells = (percent(row.cells.get(column)) for column in columns)
        table.add_row(escape(row.name), *cells, *([_unlike(row)] if marks else ()))
    console.print(table)


def _print_published_boxes(console: Console, metrics: Mapping[str, Any]) -> None:
    from anomalyr1.evaluation.beside import box_cells, published_box_rows

    rows, ours = published_box_rows(metrics), box_cells(metrics)
    if not rows:
        return
    table = Table(title="Boxes as MMAD-BBox counts them, percent", title_justify="left")
    for title in ("", *ours, "settings unlike"):
        table.add_column(title, justify="right" if title in ours else "left", overflow="fold")
    table.add_row("these predictions", *map(percent, ours.values()), "", style="bold")
    for row in rows:
        cells = (percent(row.cells[column]) for column in ours)
        table.add_row(escape(row.name), *cells, _unlike(row))
    console.print(table)


def _unlike(row: Beside) -> str:
    """The names of the settings that differ."""
    return ", ".join(text.split(" (")[0] for text in row.unlike)


def _print_likelihood(console: Console, weighed: Mapping[str, Any] | None) -> None:
    if weighed is None:
        return
    from anomalyr1.evaluation.letter_scores import PLACES

    for weigh, said in PLACES.items():
        pooled = weighed["scores"][weigh]["pooled"]
        letters = weighed["letters"][weigh]
        console.print(
            f"by likelihood {said}: AUROC {percent(pooled['auroc'])}"
            f"{between(pooled['intervals']['auroc'])}, AP {percent(pooled['average_precision'])}, "
            f"largest F1 {percent(pooled['f1_max'])}, ECE {percent(pooled['ece'])}; the likeliest "
            f"letter: micro {percent(letters['micro'])}{between(letters['intervals']['micro'])}"
        )


def _print_consistency(console: Console, again: Mapping[str, Any] | None) -> None:
    from anomalyr1.evaluation.consistency import named_shares, told_left_out

    for name, share, _ in named_shares(again or {}):
        if share is not None:
            console.print(
                f"the same verdict, {escape(name)}: {percent(share['percent'])}"
                f"{between(share['interval'])} % of {share['askings']} askings, "
                f"{share['unreadable']} unreadable"
            )
    for sentence in told_left_out(again) if again else ():
        console.print(sentence)
