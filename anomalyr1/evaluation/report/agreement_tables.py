"""The report's tables of whether the answered cell, the boxes and the mask speak of one place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from anomalyr1.evaluation.report.markup import Child, Markup, join, tag
from anomalyr1.evaluation.report.strata_tables import strata_of
from anomalyr1.evaluation.report.tables import DASH, grid, percent, with_interval

_PAIRS = {
    "answer_boxes": "answer and boxes",
    "answer_mask": "answer and mask",
    "boxes_mask": "boxes and mask",
}


def agreement_tables(localization: Mapping[str, Any]) -> list[Markup]:
    """On how many images two of them agree; then by size, defect and product."""
    sources = {"": localization.get("agreement", {})}
    for segmenter, of_masks in localization.get("masks", {}).items():
        sources[f", {segmenter}"] = of_masks.get("agreement", {})
    shown = {
        f"{title}{whose}": (found, pair)
        for whose, found in sources.items()
        for pair, title in _PAIRS.items()
        if (whose == "") == (pair == "answer_boxes") and found.get(pair, {}).get("images")
    }
    if not shown:
        return []
    rows: list[list[Child]] = [
        [title, str(found[pair]["images"]), with_interval(*_of(found[pair]))]
        for title, (found, pair) in shown.items()
    ]
    in_strata = {
        title: {name: cells[pair] for name, cells in strata_of(found).items()}
        for title, (found, pair) in shown.items()
    }
    compared = dict.fromkeys(
        name for cells in in_strata.values() for name, of in cells.items() if of["images"]
    )
    parts: list[list[Child]] = [
        [name, *(_in_part(cells.get(name)) for cells in in_strata.values())] for name in compared
    ]
    tables = [grid(["The same place", "images", "%"], rows)]
    if parts:
        tables.append(grid(["The same place, in parts", *in_strata], parts))
    return tables


def _in_part(found: Mapping[str, Any] | None) -> Markup:
    """A share with its interval and its images in small print."""
    if found is None or not found["images"]:
        return join([DASH])
    value, ends = _of(found)
    between = "" if ends is None else f"{ends[0]:.1f} \u2013 {ends[1]:.1f}, "
    images = f"{found['images']} image{'' if found['images'] == 1 else 's'}"
    return join([percent(value), tag("small", between + images)])


def _of(found: Mapping[str, Any]) -> tuple[float | None, Sequence[float] | None]:
    return found["percent"], found["interval"]
