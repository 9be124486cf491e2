"""The tables of an ablation, means over the seeds and differences, as Markdown and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from anomalyr1.ablation.contrasts import MINUTES, STEPS, Cell, Contrast, Line
from anomalyr1.ablation.results import LAST_STEPS
from anomalyr1.evaluation.figures import FIGURES

NOTHING = "-"
_DIGITS = {**dict.fromkeys(FIGURES, 1), STEPS: 0, MINUTES: 1}  # 3 for the reward and its terms

_NOTES = (
    "Mean ± standard deviation over the seeds. Strict accuracy (macro), AD accuracy (Anomaly\n"
    "Detection, balanced), boxes: percent of the evaluation, more is better. Unreadable answers\n"
    "and contradictory ones (the reasoning concludes otherwise than the answer): percent, less is\n"
    f"better. `reward` and its terms: mean of the last {LAST_STEPS} training steps; rewards of\n"
    "different terms are not to be compared. Minutes: training and evaluation.\n"
)


class Clear(str):
    """A cell that stands out: an interval that does not reach 0."""

    __slots__ = ()


@dataclass(frozen=True)
class Grid:
    """A table of texts; a row is as long as the header. Columns of words are set to the left."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    @property
    def is_words(self) -> tuple[bool, ...]:
        """Which columns hold words, not figures."""
        return tuple(column in ("variant", "measure", "failed") for column in self.header)


def values_grid(lines: Sequence[Line], names: Sequence[str], *, reasons: bool = False) -> Grid:
    """A row a variant, a column a measure; with `reasons` one of what became of failed runs."""
    failed = reasons and any(line.failed for line in lines)
    rows = []
    for line in lines:
        row = [line.variant, f"{line.finished}/{line.tried}"]
        row += [_shown(name, line.cells[name]) for name in names]
        rows.append((*row, "; ".join(line.failed)) if failed else tuple(row))
    return Grid(("variant", "seeds", *names, *(("failed",) if failed else ())), tuple(rows))


def contrasts_grid(lines: Sequence[Line]) -> Grid:
    """A row for each measure of each variant that has a contrast with the baseline."""
    rows = [
        (name, line.variant, *_contrast(name, cell.contrast))
        for name in (lines[0].cells if lines else ())
        for line in lines
        if (cell := line.cells[name]) is not None and cell.contrast is not None
    ]
    header = ("measure", "variant", "difference", "95 % interval", "p", "detectable")
    return Grid(header, tuple(rows))


def markdown(
    lines: Sequence[Line],
    source: Path,
    baseline: str,
    unlike: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> str:
    """Both tables for a reader, with what they show.

    `unlike` says of each variant in what it was evaluated unlike the baseline.
    """
    evaluated, trained = divided(lines)
    text = f"# {source.stem}\n\n`anomalyr1 ablate {source}`\n\n"
    text += _markdown_table(values_grid(lines, evaluated, reasons=True))
    text += f"\n{_markdown_table(values_grid(lines, trained))}\n{_NOTES}"
    compared = contrasts_grid(lines)
    if compared.rows:
        text += f"\n## Against {baseline}\n\n{_markdown_table(compared)}\n{_explained(lines)}"
    if any(unlike.values()):
        text += f"\n## Evaluated unlike {baseline}\n\n"
        text += "".join(f"- {line}\n" for line in unlike_lines(unlike))
    return text


def unlike_lines(unlike: Mapping[str, Sequence[str]]) -> list[str]:
    """A line a variant that was evaluated unlike the baseline.

    >>> unlike_lines({"shots": ["references (1 and 0)"], "beta": []})
    ['shots: references (1 and 0)']
    """
    return [f"{name}: {', '.join(fields)}" for name, fields in unlike.items() if fields]


def comma_separated(lines: Sequence[Line]) -> str:
    """One row a variant for a program: full precision, seven columns a measure."""
    names = list(lines[0].cells) if lines else []
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = [f"{name} {part}" for name in names for part in _PARTS]
    writer.writerow(["variant", "finished", "tried", *columns, "failed"])
    for line in lines:
        values = [part(line.cells[name]) for name in names for part in _PARTS.values()]
        failed = "; ".join(line.failed)
        writer.writerow([line.variant, line.finished, line.tried, *values, failed])
    return text.getvalue()


def _of_cell(take: Callable[[Cell], float | None]) -> Callable[[Cell | None], float | None]:
    return lambda cell: None if cell is None else take(cell)


def _of_contrast(take: Callable[[Contrast], float | None]) -> Callable[[Cell | None], float | None]:
    return lambda cell: None if cell is None or cell.contrast is None else take(cell.contrast)


_PARTS: dict[str, Callable[[Cell | None], float | None]] = {
    "mean": _of_cell(lambda cell: cell.mean),
    "sd": _of_cell(lambda cell: cell.sd),
    "low": _of_cell(lambda cell: cell.ends and cell.ends[0]),
    "high": _of_cell(lambda cell: cell.ends and cell.ends[1]),
    "difference": _of_contrast(lambda contrast: contrast.difference),
    "difference low": _of_contrast(lambda contrast: contrast.ends and contrast.ends[0]),
    "difference high": _of_contrast(lambda contrast: contrast.ends and contrast.ends[1]),
    "p": _of_contrast(lambda contrast: contrast.flips.p),
    "smallest p": _of_contrast(lambda contrast: contrast.flips.smallest),
    "detectable": _of_contrast(lambda contrast: contrast.detectable),
}


def divided(lines: Sequence[Line]) -> tuple[list[str], list[str]]:
    """Figures of the evaluation; measures of the training and what it took."""
    names = list(lines[0].cells) if lines else []
    return [n for n in names if n in FIGURES], [n for n in names if n not in FIGURES]


def _shown(name: str, cell: Cell | None) -> str:
    """Mean and standard deviation.

    >>> _shown("box F1@0.5", Cell(0.5, 0.12, None, (), None)), _shown("iou", None)
    ('0.5 ± 0.1', '-')
    """
    if cell is None:
        return NOTHING
    digits = _DIGITS.get(name, 3)
    spread = "" if cell.sd is None else f" ± {cell.sd:.{digits}f}"
    return f"{cell.mean:.{digits}f}{spread}"


def _contrast(name: str, contrast: Contrast) -> tuple[str, str, str, str]:
    """Difference, interval, p and smallest detectable difference.

    >>> from anomalyr1.metrics.significance import SignFlips
    >>> _contrast("set IoU", Contrast(2.0, 3, SignFlips(0.25, 0.25), (-1.0, 5.0), 4.2))
    ('+2.0', '-1.0 to +5.0', '0.25', '4.2')
    """
    digits = _DIGITS.get(name, 3)
    between = NOTHING
    if contrast.ends is not None:
        between = " to ".join(f"{end:+.{digits}f}" for end in contrast.ends)
        between = Clear(between) if contrast.is_clear else between
    detectable = NOTHING if contrast.detectable is None else f"{contrast.detectable:.{digits}f}"
    return f"{contrast.difference:+.{digits}f}", between, f"{contrast.flips.p:.2g}", detectable


def _explained(lines: Sequence[Line]) -> str:
    """What the differences show and do not."""
    found = [
        contrast
        for line in lines
        for cell in line.cells.values()
        if cell is not None and (contrast := cell.contrast) is not None
    ]
    least = {contrast.pairs: contrast.flips.smallest for contrast in found}
    reach = ", ".join(
        f"{smallest:.2g} with {pairs} seed{'s' * (pairs > 1)}"
        for pairs, smallest in sorted(least.items())
    )
    with_interval = sum(contrast.ends is not None for contrast in found)
    text = (
        "Variant minus baseline, over the seeds that both have. Interval: the same images drawn\n"
        "for both, seeds pooled; bold where it does not reach 0. It speaks of these trainings on\n"
        "other images; p speaks of other seeds: permutation of the two sides of every pair of\n"
        f"seeds, two-sided. The smallest p that can be reached is {reach}. Detectable: the true\n"
        "difference that so many images would show in 80 % of repetitions.\n"
    )
    if with_interval > 1:
        text += (
            f"Of {with_interval} intervals {with_interval * 0.05:.1f} would leave 0 out by chance, "
            "were there no difference at all.\n"
        )
    return text


def _markdown_table(grid: Grid) -> str:
    rule = tuple("---" if words else "---:" for words in grid.is_words)
    rows = (grid.header, rule, *grid.rows)
    return "".join(f"| {' | '.join(map(_markdown_cell, row))} |\n" for row in rows)


def _markdown_cell(text: str) -> str:
    plain = " ".join(text.split()).replace("|", r"\|")
    return f"**{plain}**" if isinstance(text, Clear) else plain
