"""MMAD for lmms-eval: questions from a local benchmark, our prompt, MMAD's own accounting.

The functions that mmad_0shot.yaml and mmad_1shot.yaml name. They are those of `anomalyr1`, which
must be installed beside lmms-eval: the same answers give the `compat` table of `anomalyr1 score`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from anomalyr1.data.images import open_image
from anomalyr1.data.mmad import choose_references, load_benchmark, missing_files
from anomalyr1.errors import InputError
from anomalyr1.evaluation.image_readings import choice_records, readings_of
from anomalyr1.metrics.detection import percent
from anomalyr1.metrics.mcq import AVERAGE, Accounting, Accuracy, ChoiceRecord, accuracy
from anomalyr1.prompts import build_messages
from anomalyr1.schema import SUBTASKS, Prediction, Question, Sample

BENCHMARK = "MMAD_BENCHMARK"  # variable that names the folder
REFERENCES = 1  # at most, of the kind that MMAD's script shows by default
KIND = "random"
TEMPLATE = "mmad"

Doc = Mapping[str, Any]


def questions(rows: Any) -> Any:
    """One row a choice question of MMAD's types, in the order of the benchmark's file.

    Args:
        rows: a data set whose first row names the `benchmark`; the variable MMAD_BENCHMARK comes
            before it.

    Raises:
        InputError: the benchmark cannot be used, or images of it are not there; all are named.
    """
    from datasets import Dataset

    benchmark = load_benchmark(Path(os.environ.get(BENCHMARK) or rows[0]["benchmark"]))
    missing = missing_files(benchmark.samples, REFERENCES, KIND)
    if missing:
        raise InputError(
            f"expected every image of {benchmark.path} under {benchmark.root}, found "
            f"{len(missing)} missing: {', '.join(missing)}; bring them or correct its root"
        )
    asked = [
        {
            "image": sample.image,
            "question_index": index,
            "question_type": question.type,
            "question": question.text,
            "options": [[letter, said] for letter, said in question.options.items()],
            "answer": question.answer,
            "normal": sample.is_normal,
            "root": str(benchmark.root),
            "references": list(choose_references(sample, REFERENCES, KIND)),
        }
        for sample in benchmark.samples
        for index, question in enumerate(sample.questions)
        if not question.is_grounding and question.subtask in SUBTASKS
    ]
    return Dataset.from_list([{"position": place, **row} for place, row in enumerate(asked)])


def messages(doc: Doc, lmms_eval_specific_kwargs: Mapping[str, Any] | None = None) -> list[Any]:
    """The conversation with its images where they stand, as chat models of lmms-eval take it."""
    shown = iter(images(doc, lmms_eval_specific_kwargs))
    return [
        {
            **said,
            "content": [
                {"type": "image", "url": next(shown)} if part["type"] == "image" else part
                for part in said["content"]
            ],
        }
        for said in _conversation(doc, lmms_eval_specific_kwargs)
    ]


def images(doc: Doc, lmms_eval_specific_kwargs: Mapping[str, Any] | None = None) -> list[Any]:
    """The references, then the image that is asked about, upright and in RGB."""
    root = Path(doc["root"])
    references = doc["references"][: _references(lmms_eval_specific_kwargs)]
    return [open_image(root / name) for name in (*references, doc["image"])]


def text(doc: Doc, lmms_eval_specific_kwargs: Mapping[str, Any] | None = None) -> str:
    """What the user says without images, for models that are shown these first."""
    user = _conversation(doc, lmms_eval_specific_kwargs)[-1]
    return "".join(part["text"] for part in user["content"] if part["type"] == "text")


def answers(doc: Doc, results: Sequence[str]) -> dict[str, Any]:
    """The record of one answer, under the name of every metric."""
    prediction = Prediction(
        image=doc["image"],
        question_index=doc["question_index"],
        question_type=doc["question_type"],
        options=dict(doc["options"]),
        answer=doc["answer"],
        completion=results[0],
        template=TEMPLATE,
        normal=doc["normal"],
        question=doc["question"],
    )
    [record] = choice_records(readings_of([prediction]))
    return {name: {"position": doc["position"], **asdict(record)} for name in METRICS}


def average(records: Sequence[Doc]) -> float | None:
    """MMAD's headline: the mean over subtasks and data sets."""
    return _scored(records, "compat").macro


def micro(records: Sequence[Doc]) -> float | None:
    """Right of all answers that MMAD's scorer counts."""
    return _scored(records, "compat").micro


def strict_average(records: Sequence[Doc]) -> float | None:
    """The headline where an unreadable answer is wrong."""
    return _scored(records, "strict").macro


def unreadable(records: Sequence[Doc]) -> float | None:
    """Percent of the answers from which no letter could be read."""
    return percent(sum(record["answer"] is None for record in records), len(records))


class Table(dict[str, dict[str, float | None]]):
    """Stands whole in the results file; in lmms-eval's printed table a word must do."""

    def __str__(self) -> str:
        """What is printed."""
        return "in results.json"


def by_dataset(records: Sequence[Doc]) -> Table:
    """The whole table: of each data set and their mean, the subtasks and their mean."""
    table = _scored(records, "compat").table
    return Table(
        (dataset, {column: row[column] for column in (*SUBTASKS, AVERAGE)})
        for dataset, row in table.items()
    )


def _of_subtask(column: str) -> Callable[[Sequence[Doc]], float | None]:
    def mean_over_datasets(records: Sequence[Doc]) -> float | None:
        return _scored(records, "compat").table[AVERAGE][column]

    return mean_over_datasets


(
    anomaly_detection,
    defect_classification,
    defect_localization,
    defect_description,
    defect_analysis,
    object_classification,
    object_analysis,
) = map(_of_subtask, SUBTASKS)

METRICS = (
    *(average.__name__, micro.__name__, strict_average.__name__),
    *(unreadable.__name__, by_dataset.__name__),
    *(name.lower().replace(" ", "_") for name in SUBTASKS),
)


def _scored(records: Sequence[Doc], accounting: Accounting) -> Accuracy:
    """The records in the benchmark's order: what MMAD's scorer skips depends on it."""
    ordered = sorted(records, key=lambda record: int(record["position"]))
    fields = ChoiceRecord.__dataclass_fields__
    return accuracy(
        [ChoiceRecord(**{name: record[name] for name in fields}) for record in ordered],
        accounting,
        resamples=2,
    )


def _conversation(doc: Doc, told: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    question = Question(doc["question"], doc["question_type"], dict(doc["options"]), doc["answer"])
    sample = Sample(doc["image"], Path(doc["root"]), (question,))
    references = min(_references(told), len(doc["references"]))
    return build_messages(sample, question, TEMPLATE, references=references)


def _references(told: Mapping[str, Any] | None) -> int:
    """How many normal images the task shows."""
    return int((told or {}).get("references", 0))
