"""Many runs on one board: their metrics.json read, and the rows that stand beside them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from anomalyr1.errors import InputError, listed
from anomalyr1.evaluation.beside import SETTINGS, Beside, blind_rows, published_rows, run_settings
from anomalyr1.metrics.mcq import ACCOUNTINGS, AVERAGE, MISS, OVERKILL, Accounting
from anomalyr1.run_folder import METRICS
from anomalyr1.schema import SUBTASKS
from anomalyr1.settings_card import flat
from anomalyr1.storage import read_json

COLUMNS = (AVERAGE, *SUBTASKS, OVERKILL, MISS)
_HASH = 8  # characters that tell benchmarks apart

Kind = Literal["run", "blind", "published"]
_Table = dict[str, dict[str, float | None]]


class _Settings(BaseModel):
    card: dict[str, Any]


class _Predictions(BaseModel):
    questions: int


class _Tables(BaseModel):
    strict: _Table
    compat: _Table


class _Ends(BaseModel):
    strict: tuple[float, float] | None
    compat: tuple[float, float] | None


class _Intervals(BaseModel):
    macro: _Ends


class _Metrics(BaseModel):
    """The form of what a board shows; what else metrics hold is passed over."""

    predictions: _Predictions
    mmad: _Tables
    overkill_miss: _Tables
    intervals: _Intervals
    counts: dict[str, dict[str, int]]
    invalid_rate: float | None
    settings: _Settings = _Settings(card={})
    blind: dict[str, _Table] = {}


@dataclass(frozen=True)
class Standing:
    """One row under one accounting.

    Attributes:
        name: of the run, the baseline or the model.
        kind: what it is; a run without images is `blind` too.
        benchmark: what was asked, in a few words; rows of unlike benchmarks do not compare.
        questions: asked; None where it is not told.
        cells: column -> percent; what was not asked or is not told is left out.
        ends: 95 % interval of the average.
        unreadable: share of answers, percent.
        settings: `beside.SETTINGS` as far as they are known.
        source: of a published row, or the policy of a run.
        card: the whole card of a run.
    """

    name: str
    kind: Kind
    benchmark: str
    questions: int | None
    cells: Mapping[str, float]
    ends: tuple[float, float] | None
    unreadable: float | None
    settings: Mapping[str, Any]
    source: str
    card: Mapping[str, Any]


def read_metrics(runs: Sequence[Path]) -> list[tuple[Path, dict[str, Any]]]:
    """The metrics of run folders, or of files of metrics.

    Returns:
        (folder, metrics) of each, in the order given.

    Raises:
        InputError: files are not there or hold no metrics; all of them are named.
    """
    found, faults = [], []
    for run in runs:
        path = run / METRICS if run.is_dir() else run
        try:
            metrics = read_json(path, f"{METRICS} of a run")
            _Metrics.model_validate(metrics)
        except InputError as error:
            faults.append(str(error).rpartition("; ")[0])
        except ValidationError as error:
            places = dict.fromkeys(
                ".".join(map(str, fault["loc"])) or "the whole"
                for fault in error.errors(include_url=False)
            )
            faults.append(f"another form in {path} ({listed(list(places), 3)})")
        else:
            found.append((path.parent, metrics))
    if faults:
        raise InputError(
            f"expected what `anomalyr1 score` writes of every run, found: "
            f"{listed(faults, separator='; ')}; run it on them again"
        )
    return found


def standings(
    runs: Sequence[tuple[str, Mapping[str, Any]]], accounting: Accounting
) -> list[Standing]:
    """The rows of a board, best first within what was asked.

    The baselines and published figures of each benchmark stand among its runs, once; published
    figures under `compat` alone, which is how they were counted.

    Args:
        runs: name and metrics of each.
        accounting: of the tables.
    """
    rows: list[Standing] = []
    seen: set[str] = set()
    for name, metrics in runs:
        benchmark = benchmark_of(metrics)
        rows.append(_of_run(name, metrics, benchmark, accounting))
        if benchmark in seen:
            continue
        seen.add(benchmark)
        beside = blind_rows(metrics)
        if accounting == "compat":
            beside += published_rows(metrics)
        rows += [_of_beside(row, benchmark) for row in beside]
    return sorted(rows, key=lambda row: (row.benchmark, -row.cells.get(AVERAGE, -1.0), row.name))


def comma_separated(runs: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    """All rows under both accountings for a program: full precision, the whole card of each run.

    A text that a spreadsheet would take for a formula has an apostrophe before it.
    """
    rows = {accounting: standings(runs, accounting) for accounting in ACCOUNTINGS}
    cards = [flat(row.card) for row in rows["strict"]]
    fields = list(dict.fromkeys(name for card in cards for name in card))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    told = ("accounting", "kind", "name", "source", "benchmark", "questions")
    measured = (*COLUMNS, f"{AVERAGE} low", f"{AVERAGE} high", "unreadable")
    kept = [f"card {name}" for name in fields]
    writer.writerow([*told, *measured, *SETTINGS, *kept])
    for accounting, of in rows.items():
        for row in of:
            card = flat(row.card)
            values = [
                *(accounting, row.kind, row.name, row.source, row.benchmark, row.questions),
                *(row.cells.get(column) for column in COLUMNS),
                *(row.ends or (None, None)),
                row.unreadable,
                *(row.settings.get(name) for name in SETTINGS),
                *(card.get(name) for name in fields),
            ]
            writer.writerow([_no_formula(value) for value in values])
    return text.getvalue()


def benchmark_of(metrics: Mapping[str, Any]) -> str:
    """What was asked: the data sets, the number of questions, and a hash that tells it apart."""
    card = metrics.get("settings", {}).get("card", {})
    counts = metrics["counts"]
    identity = [card.get("benchmark_sha256"), counts]
    digest = sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:_HASH]
    named = [*sorted(counts), *(["RobustMAD"] if metrics.get("robustmad") else [])]
    names = ", ".join(named) or "boxes alone"
    return f"{names}: {metrics['predictions']['questions']:,} questions ({digest})"


def _of_run(
    name: str, metrics: Mapping[str, Any], benchmark: str, accounting: Accounting
) -> Standing:
    card = metrics.get("settings", {}).get("card", {})
    average = metrics["mmad"][accounting].get(AVERAGE, {})
    costs = metrics["overkill_miss"][accounting].get(AVERAGE, {})
    ends = metrics["intervals"]["macro"][accounting]
    policy = card.get("policy")
    return Standing(
        name=name,
        kind="blind" if card.get("blind") else "run",
        benchmark=benchmark,
        questions=metrics["predictions"]["questions"],
        cells={name: value for name, value in {**average, **costs}.items() if value is not None},
        ends=None if ends is None else (ends[0], ends[1]),
        unreadable=metrics["invalid_rate"],
        settings=run_settings(metrics, accounting),
        source=str(policy.get("path", "")) if isinstance(policy, Mapping) else "",
        card=card,
    )


def _of_beside(row: Beside, benchmark: str) -> Standing:
    cells = {name: value for name, value in row.cells.items() if value is not None}
    known = {name: value for name, value in row.settings.items() if value is not None}
    return Standing(row.name, row.kind, benchmark, None, cells, None, None, known, row.source, {})


def _no_formula(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value[:1] in tuple("=+-@\t\r") else value
