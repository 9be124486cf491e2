"""The report's table of RobustMAD's categories."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from anomalyr1.evaluation.report.markup import Markup
from anomalyr1.evaluation.report.tables import grid, with_interval


def robustmad_table(found: Mapping[str, Any]) -> Markup:
    """Accuracy by category, and of all questions."""
    rows = [
        [name, f"{cells['questions']:,}", with_interval(cells["percent"], cells["interval"])]
        for name, cells in found.items()
    ]
    return grid(["RobustMAD", "questions", "%"], rows)
