r"""The tables of an ablation as LaTeX, for `\input`; no package is needed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from anomalyr1.ablation.contrasts import Line
from anomalyr1.ablation.table import Clear, Grid, contrasts_grid, divided, values_grid

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "±": r"$\pm$",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}
_SIGNED = re.compile(r"(?<![\w.])[+-]\d+(?:\.\d+)?")


def latex(lines: Sequence[Line], source: Path, baseline: str) -> str:
    """The values of the evaluation, those of the training, and the differences: a tabular each."""
    evaluated, trained = divided(lines)
    values = [values_grid(lines, evaluated, reasons=True), values_grid(lines, trained)]
    grids = [*values, contrasts_grid(lines)]
    tables = "\n".join(_tabular(grid) for grid in grids if grid.rows)
    return f"% anomalyr1 ablate {source}\n% differences: against {baseline}\n{tables}"


def latex_text(text: str) -> str:
    r"""A cell as LaTeX: special characters escaped, signed numbers as formulas.

    >>> latex_text("box_F1 50 %"), latex_text(Clear("+1.0 to +5.0"))
    ('box\\_F1 50 \\%', '\\textbf{$+1.0$ to $+5.0$}')
    """
    escaped = "".join(_SPECIAL.get(character, character) for character in " ".join(text.split()))
    escaped = _SIGNED.sub(lambda found: f"${found[0]}$", escaped)
    return rf"\textbf{{{escaped}}}" if isinstance(text, Clear) else escaped


def _tabular(grid: Grid) -> str:
    form = "".join("l" if words else "r" for words in grid.is_words)
    body = [_row(grid.header) + r" \hline", *map(_row, grid.rows)]
    return "\n".join([rf"\begin{{tabular}}{{{form}}}", *body, r"\end{tabular}", ""])


def _row(cells: Iterable[str]) -> str:
    return " & ".join(map(latex_text, cells)) + r" \\"
