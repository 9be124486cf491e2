"""The table of an ablation: mean and standard deviation over the seeds of every measure."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev

from anomalyr1.ablation.results import LAST_STEPS, Result
from anomalyr1.run_folder import TABLE, TABLE_DATA
from anomalyr1.storage import write_text

SCORES = ("strict accuracy", "box F1@0.5")  # of the evaluation, in percent


@dataclass(frozen=True)
class Cell:
    """One measure of one variant; `sd` (n - 1) is None for a single seed."""

    mean: float
    sd: float | None

    def text(self, digits: int) -> str:
        """Mean and standard deviation.

        >>> Cell(0.5, 0.12).text(2), Cell(0.5, None).text(1)
        ('0.50 ± 0.12', '0.5')
        """
        spread = "" if self.sd is None else f" ± {self.sd:.{digits}f}"
        return f"{self.mean:.{digits}f}{spread}"


@dataclass(frozen=True)
class Line:
    """One variant: how many of its runs finished, out of how many, and its measures."""

    variant: str
    finished: int
    tried: int
    cells: dict[str, Cell | None]


def summarize(results: Sequence[Result]) -> list[Line]:
    """A line a variant, in the order of the runs; every line has every measure."""
    found = dict.fromkeys(name for result in results for name in result.measures)
    measures = [*(name for name in found if name not in SCORES), *SCORES]
    lines = []
    for variant in dict.fromkeys(result.variant for result in results):
        runs = [result for result in results if result.variant == variant]
        values = {
            name: [run.measures[name] for run in runs if name in run.measures] for name in measures
        }
        lines.append(
            Line(
                variant,
                sum(run.stage is None for run in runs),
                len(runs),
                {name: _cell(group) for name, group in values.items()},
            )
        )
    return lines


def write_tables(folder: Path, source: Path, results: Sequence[Result]) -> None:
    """Write `table.md` and `table.csv` into the folder, each atomically."""
    lines = summarize(results)
    write_text(folder / TABLE, markdown(lines, source, results))
    write_text(folder / TABLE_DATA, comma_separated(lines))


def markdown(lines: Sequence[Line], source: Path, results: Sequence[Result]) -> str:
    """The table for a reader, with what it shows and what failed."""
    names = list(lines[0].cells)
    header = ["variant", "seeds", *names]
    rows = [header, ["---", *["---:"] * (len(header) - 1)]]
    for line in lines:
        rows.append([line.variant, f"{line.finished}/{line.tried}", *texts(line)])
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    failures = "".join(
        f"- {result.variant}, seed {result.seed}: {result.stage}: {result.message}\n"
        for result in results
        if result.stage is not None
    )
    return (
        f"# {source.stem}\n\n`anomalyr1 ablate {source}`\n\n{table}\n\n"
        "Mean ± standard deviation over the seeds. `reward` and its terms: mean of the last "
        f"{LAST_STEPS} training\nsteps. Strict accuracy (macro) and box F1 (pooled): percent, "
        "after training.\n" + (f"\nFailed:\n\n{failures}" if failures else "")
    )


def comma_separated(lines: Sequence[Line]) -> str:
    """The table for a program: full precision, mean and standard deviation in columns."""
    names = list(lines[0].cells)
    columns = [f"{name} {part}" for name in names for part in ("mean", "sd")]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["variant", "finished", "tried", *columns])
    for line in lines:
        values: list[float | None] = []
        for cell in line.cells.values():
            values += [None, None] if cell is None else [cell.mean, cell.sd]
        writer.writerow([line.variant, line.finished, line.tried, *values])
    return text.getvalue()


def texts(line: Line) -> list[str]:
    """The cells of a line as shown."""
    return [
        "-" if cell is None else cell.text(1 if name in SCORES else 3)
        for name, cell in line.cells.items()
    ]


def _cell(values: Sequence[float]) -> Cell | None:
    if not values:
        return None
    return Cell(fmean(values), stdev(values) if len(values) > 1 else None)
