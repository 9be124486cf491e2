"""What an ablation leaves in its folder beside the runs: tables and plots, written after each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from anomalyr1 import run_folder
from anomalyr1.ablation.contrasts import summarize
from anomalyr1.ablation.grid import Ablation
from anomalyr1.ablation.latex import latex
from anomalyr1.ablation.plots import bars, curves, scale_curves
from anomalyr1.ablation.results import Result
from anomalyr1.ablation.run_answers import Answers
from anomalyr1.ablation.table import comma_separated, markdown
from anomalyr1.evaluation.kept_settings import known_settings, unlike_but_for_the_policy
from anomalyr1.evaluation.report.curves import History
from anomalyr1.run_folder import HISTORY, PREDICTIONS
from anomalyr1.storage import read_jsonl, write_text

TABLES = (run_folder.TABLE, run_folder.TABLE_DATA, run_folder.TABLE_LATEX)
PLOTS = (run_folder.BARS, run_folder.CURVES, run_folder.SCALE)


def files_of(ablation: Ablation) -> list[Path]:
    """The tables and plots that are there."""
    files = [ablation.folder / name for name in (*TABLES, *PLOTS)]
    return [file for file in files if file.is_file()]


def write_outputs(ablation: Ablation, results: Sequence[Result], answers: Answers) -> None:
    """Write `table.md`, `.csv` and `.tex`, `bars.svg`, `curves.svg` and `scale.svg`.

    A plot that there is nothing for yet is left out, and an earlier one of that name taken away.

    Args:
        ablation: as planned.
        results: of the runs that were made so far.
        answers: their completions.
    """
    if not results:
        return
    lines = summarize(results, ablation.baseline, answers)
    name, baseline = ablation.source.stem, ablation.baseline
    texts = dict(
        zip(
            TABLES,
            (
                markdown(lines, ablation.source, baseline, unlike_baseline(ablation, results)),
                comma_separated(lines),
                latex(lines, ablation.source, baseline),
            ),
            strict=True,
        )
    )
    drawn = (
        bars(lines, name, baseline),
        curves(_histories(ablation, results), name),
        None if ablation.scale is None else scale_curves(lines, ablation.scale, name, baseline),
    )
    texts |= {file: plot for file, plot in zip(PLOTS, drawn, strict=True) if plot}
    for file, text in texts.items():
        write_text(ablation.folder / file, text)
    for file in PLOTS:
        if file not in texts:  # of variants that there are no longer
            (ablation.folder / file).unlink(missing_ok=True)


def unlike_baseline(ablation: Ablation, results: Sequence[Result]) -> dict[str, list[str]]:
    """Variant -> in what its evaluations were made unlike the baseline's, beside the policy."""
    finished = {(result.variant, result.seed) for result in results if result.stage is None}
    cards: dict[str, list[dict[str, Any]]] = {}
    for run in ablation.runs:
        if (run.variant, run.seed) in finished:
            cards.setdefault(run.variant, []).append(known_settings(run.folder / PREDICTIONS))
    first = next(iter(cards.get(ablation.baseline, [])), None)
    if first is None:
        return {}
    return {
        variant: list(
            dict.fromkeys(
                field for card in found for field in unlike_but_for_the_policy(first, card).fields
            )
        )
        for variant, found in cards.items()
    }


def _histories(ablation: Ablation, results: Sequence[Result]) -> dict[str, list[History]]:
    """Variant -> the training log of each of its finished runs."""
    finished = {(result.variant, result.seed) for result in results if result.stage is None}
    found: dict[str, list[History]] = {result.variant: [] for result in results}
    for run in ablation.runs:
        log = run.folder / HISTORY
        if (run.variant, run.seed) in finished and log.is_file():
            found[run.variant].append(read_jsonl(log, "a training log"))
    return found
