"""Published figures of MMAD with the settings they were measured under (`published_mmad.csv`)."""

from __future__ import annotations

import csv
import io
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from anomalyr1.errors import InputError, listed
from anomalyr1.metrics.mcq import AVERAGE, MISS, OVERKILL
from anomalyr1.schema import SUBTASKS
from anomalyr1.text_files import read_text

ACCURACIES = (*SUBTASKS, AVERAGE, OVERKILL, MISS)
BOXES = ("mIoU", "ACC@0.1", "ACC@0.3", "ACC@0.5")
_FILE = "published_mmad.csv"
_SETTINGS = (
    *("model", "source", "arxiv", "benchmark", "shots"),
    *("template", "reasoning", "scorer", "dataset"),
)
COLUMNS = (*_SETTINGS, *ACCURACIES, *BOXES)


def _none_where_empty(text: object) -> object:
    return None if text == "" else text


def _yes_or_no(text: object) -> object:
    return {"yes": True, "no": False, "": None}.get(str(text), text)


_Percent = Annotated[
    Annotated[float, Field(ge=0, le=100)] | None, BeforeValidator(_none_where_empty)
]


class Published(BaseModel):
    """What one source says of one model on one dataset, in percent; None is not told.

    Attributes:
        model: by its name.
        source: where the figures stand.
        arxiv: of the paper.
        benchmark: MMAD, or its boxes.
        shots: reference images shown.
        template: of the prompt; `mmad` is that of the benchmark's own script.
        reasoning: whether the model reasoned before it answered.
        scorer: `compat` is the benchmark's own.
        dataset: one of the four, or "Average" for their unweighted mean.
        figures: column -> value.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(min_length=1)
    source: str = Field(min_length=1)
    arxiv: Annotated[str, Field(pattern=r"^\d{4}\.\d{5}$")]
    benchmark: Literal["MMAD", "MMAD-BBox"]
    shots: Annotated[Annotated[int, Field(ge=0)] | None, BeforeValidator(_none_where_empty)]
    template: Annotated[str | None, BeforeValidator(_none_where_empty)]
    reasoning: Annotated[bool | None, BeforeValidator(_yes_or_no)]
    scorer: Annotated[Literal["compat", "strict"] | None, BeforeValidator(_none_where_empty)]
    dataset: Literal["DS-MVTec", "MVTec-LOCO", "VisA", "GoodsAD", "Average"]
    figures: dict[str, _Percent]


def read_published(path: Path | None = None) -> tuple[Published, ...]:
    """The rows of a file, those that come with the package by default.

    Raises:
        InputError: a row is of another form (its line is named), or is there twice.
    """
    return _shipped() if path is None else _read(read_text(path, "published figures"), str(path))


@cache
def _shipped() -> tuple[Published, ...]:
    text = resources.files("anomalyr1.evaluation").joinpath(_FILE).read_text(encoding="utf-8")
    return _read(text, _FILE)


def _read(text: str, where: str) -> tuple[Published, ...]:
    reader = csv.DictReader(io.StringIO(text))
    if tuple(reader.fieldnames or ()) != COLUMNS:
        raise InputError(
            f"expected the columns {', '.join(COLUMNS)} in {where}, found "
            f"{', '.join(reader.fieldnames or ()) or 'none'}; mend its first line"
        )
    rows: dict[tuple[str, ...], Published] = {}
    faults = []
    for number, cells in enumerate(reader, start=2):
        figures = {name: cells.pop(name) for name in (*ACCURACIES, *BOXES)}
        try:
            row = Published.model_validate({**cells, "figures": figures})
        except ValidationError as error:
            fields = dict.fromkeys(
                ".".join(str(part) for part in found["loc"]) or "the row"
                for found in error.errors(include_url=False)
            )
            faults.append(f"line {number}: {', '.join(fields)}")
            continue
        key = (row.benchmark, row.source, row.model, row.dataset)
        if key in rows:
            faults.append(f"line {number}: {row.model} on {row.dataset} a second time")
        rows[key] = row
    if faults:
        raise InputError(
            f"expected published figures in {where}, found other values in "
            f"{listed(faults, separator='; ')}; mend them"
        )
    return tuple(rows.values())
