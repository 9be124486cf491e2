"""Rows that stand beside a run's table: what answers without looking, and what was published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, Literal

from anomalyr1.data.checking.findings import MMAD_COUNTS
from anomalyr1.evaluation.image_readings import PredictionReading, choice_records
from anomalyr1.evaluation.published_figures import BOXES, Published, read_published
from anomalyr1.metrics.blind import blind_tables
from anomalyr1.metrics.box_areas import AREA_RATIOS
from anomalyr1.metrics.mcq import AVERAGE, MISS, OVERKILL, Accounting
from anomalyr1.parsing.verdict_letters import verdict_letters
from anomalyr1.schema import ANOMALY_DETECTION, SUBTASKS
from anomalyr1.settings_card import shown

SETTINGS = ("shots", "template", "reasoning", "scorer")  # that a published row may tell
_REASONING_TAG = "<think>"


@dataclass(frozen=True)
class Beside:
    """One row of figures that are no run's.

    Attributes:
        name: of the baseline, or of the model.
        kind: what it is.
        source: where the figures are from; empty for what was computed.
        cells: subtask, "Average", or a figure of boxes -> percent; what the run was not asked is
            left out.
        unlike: in what its settings and the run's differ, a text each, both values named, its own
            first; what is not told of one side counts as different.
        settings: shots, template, reasoning and scorer, as far as the source tells them.
    """

    name: str
    kind: Literal["blind", "published"]
    source: str
    cells: Mapping[str, float | None]
    unlike: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)


def blind_baselines(readings: Sequence[PredictionReading]) -> dict[str, Any]:
    """The part `blind` of metrics.json: what the baselines would score on the same questions."""
    asked = [reading for reading in readings if reading.is_of_mmad]
    defect: list[frozenset[str] | None] = []
    for reading in asked:
        said = verdict_letters(reading.question)
        letters = frozenset(letter for letter, v in (said or {}).items() if v == "abnormal")
        defect.append(letters or None)
    return blind_tables(choice_records(asked), [r.question.options for r in asked], defect)


def blind_rows(metrics: Mapping[str, Any]) -> list[Beside]:
    """The baselines beside a run, under the strict accounting; the mean over its data sets."""
    columns = asked_columns(metrics, "strict")
    rows = []
    for name, table in metrics.get("blind", {}).items():
        if AVERAGE in table:
            cells = {column: table[AVERAGE].get(column) for column in columns}
            rows.append(Beside(name, "blind", "", cells))
    return rows


def published_rows(
    metrics: Mapping[str, Any], published: Sequence[Published] | None = None
) -> list[Beside]:
    """What was published on the data sets of a run, best first; nothing for other benchmarks.

    The figures are those of the compat table. Of a run on some of MMAD's data sets, the mean over
    these; the column "Average" only for a run that was asked all seven subtasks.
    """
    datasets = [name for name in metrics["mmad"]["compat"] if name != AVERAGE]
    if not datasets or not set(datasets) <= set(MMAD_COUNTS):
        return []
    whole = set(datasets) == set(MMAD_COUNTS)
    columns = asked_columns(metrics, "compat")
    if not set(SUBTASKS) <= set(columns):
        columns = [column for column in columns if column != AVERAGE]
    costs = (OVERKILL, MISS) if ANOMALY_DETECTION in columns else ()
    rows = []
    for found in _by_model("MMAD", [AVERAGE] if whole else datasets, published):
        cells = {name: _mean([row.figures[name] for row in found]) for name in (*columns, *costs)}
        if any(value is not None for value in cells.values()):
            rows.append(_row(found[0], cells, _unlike(found[0], metrics)))
    return sorted(rows, key=_worst_last)


def box_cells(metrics: Mapping[str, Any]) -> dict[str, float | None]:
    """MMAD-BBox's four figures of a run, by their published names: means over its data sets.

    Nothing where the run has no boxes on all of MMAD's data sets.
    """
    found = metrics.get("localization", {}).get("boxes", {}).get("datasets", {})
    if set(found) != set(MMAD_COUNTS):
        return {}
    return {
        name: _mean([cells[ours] for cells in found.values()])
        for name, ours in zip(BOXES, AREA_RATIOS, strict=True)
    }


def published_box_rows(
    metrics: Mapping[str, Any], published: Sequence[Published] | None = None
) -> list[Beside]:
    """What was published on MMAD-BBox, best mIoU first; nothing beside runs without `box_cells`.

    Its gold boxes are a file of its own, so that no run on others has quite the same benchmark; and
    its source does not say whether its means go over images or data sets.
    """
    if not box_cells(metrics):
        return []
    rows = []
    for [row] in _by_model("MMAD-BBox", [AVERAGE], published):
        unlike = ("gold boxes (MMAD-BBox's and the benchmark's)", "means (not told and data sets)")
        told = _told(row, metrics, [name for name in SETTINGS if name != "scorer"])
        cells = {name: row.figures[name] for name in BOXES}
        rows.append(_row(row, cells, (*unlike, *told)))
    return sorted(rows, key=lambda row: -(row.cells[BOXES[0]] or 0.0))


def asked_columns(metrics: Mapping[str, Any], accounting: str) -> list[str]:
    """The columns that a run has figures in."""
    average = metrics["mmad"][accounting].get(AVERAGE, {})
    return [name for name, value in average.items() if value is not None]


def run_settings(metrics: Mapping[str, Any], accounting: Accounting) -> dict[str, Any]:
    """What `SETTINGS` are of a run's table; what is not known of it is left out."""
    card = metrics.get("settings", {}).get("card", {})
    found = {"shots": card.get("references"), "template": card.get("template")}
    prompts = card.get("prompts")
    if isinstance(prompts, Mapping):
        found["reasoning"] = any(_REASONING_TAG in str(text) for text in prompts.values())
    found["scorer"] = accounting
    return {name: value for name, value in found.items() if value is not None}


def _by_model(
    benchmark: str, datasets: Sequence[str], published: Sequence[Published] | None
) -> list[list[Published]]:
    """The rows of these data sets, of each model that has all of them."""
    by_model: dict[tuple[str, str], dict[str, Published]] = {}
    for row in read_published() if published is None else published:
        if row.benchmark == benchmark:
            by_model.setdefault((row.source, row.model), {})[row.dataset] = row
    return [
        [of_model[name] for name in datasets]
        for of_model in by_model.values()
        if all(name in of_model for name in datasets)
    ]


def _row(row: Published, cells: Mapping[str, float | None], unlike: tuple[str, ...]) -> Beside:
    settings = {name: getattr(row, name) for name in SETTINGS}
    source = f"{row.source}, arXiv {row.arxiv}"
    return Beside(row.model, "published", source, cells, unlike, settings)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if len(known) == len(values) else None


def _worst_last(row: Beside) -> tuple[float, str]:
    known = [v for name, v in row.cells.items() if v is not None and name in SUBTASKS]
    return -(row.cells.get(AVERAGE) or (fmean(known) if known else 0.0)), row.name


def _unlike(row: Published, metrics: Mapping[str, Any]) -> tuple[str, ...]:
    told = []
    whole = {name: MMAD_COUNTS[name] for name in metrics["counts"] if name in MMAD_COUNTS}
    asked = sum(of.get(subtask, 0) for of in metrics["counts"].values() for subtask in SUBTASKS)
    should = sum(map(sum, whole.values()))
    if asked != should:
        told.append(f"questions ({should:,} and {asked:,})")
    return (*told, *_told(row, metrics, SETTINGS))


def _told(row: Published, metrics: Mapping[str, Any], names: Sequence[str]) -> tuple[str, ...]:
    card = metrics.get("settings", {}).get("card", {})
    known = run_settings(metrics, "compat")  # published figures stand beside that table alone
    told = []
    for name in names:
        published, run = getattr(row, name), known.get(name)
        if published is None or run is None or published != run:
            said = "not told" if published is None else shown(published)
            told.append(f"{name} ({said} and {'not known' if run is None else shown(run)})")
    if card.get("limit") is not None:
        told.append("images (all and a part)")
    if card.get("knowledge_sha256") is not None:
        told.append("domain knowledge (no and yes)")
    if card.get("blind"):
        told.append("images (shown and not)")
    return tuple(told)
