"""The same data for other trainers: conversations as VLM-R1 reads them, messages as ms-swift does.

A row is a question. Images are the references, then the query. Boxes are in pixels of the original
image. Both forms carry the keys question, question_type, options, mask, boxes, split and key
besides, which other trainers pass over, so that reading a row back (`anomalyr1.data.conversations`)
gives the question it was made from.

VLM-R1: {"id", "image": [paths], "conversations": [{"from": "human"}, {"from": "gpt"}]}, paths
relative to the image folder. ms-swift: {"messages", "images": [absolute paths], "solution"}.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, get_args

from anomalyr1.data.conversations import kept_boxes
from anomalyr1.data.mmad import Benchmark, choose_references
from anomalyr1.data.turns import IMAGE
from anomalyr1.errors import InputError, unknown
from anomalyr1.gold_completions import format_answer
from anomalyr1.prompts import SYSTEM, Template, build_messages, template_for
from anomalyr1.schema import Question, Sample
from anomalyr1.storage import write_jsonl, write_text

Form = Literal["vlm-r1", "ms-swift"]
FORMS: tuple[Form, ...] = get_args(Form)


def export_benchmark(
    benchmark: Benchmark,
    out: Path,
    *,
    form: str = "vlm-r1",
    references: int = 0,
    template: str = "choice",
) -> list[Path]:
    """Write `out`/rows.jsonl and, for VLM-R1, `out`/data.yaml that names it.

    Raises:
        InputError: the form does not exist, or fewer than no references are asked for.
    """
    if references < 0:
        raise InputError(f"expected references of at least 0, found {references}; raise them")
    if form not in FORMS:
        raise unknown("a format of rows", form, FORMS)
    if template not in ("choice", "inspect"):
        raise unknown("a template", template, ("choice", "inspect"))
    asked: Template = "inspect" if template == "inspect" else "choice"
    rows = [
        _row(form, sample, number, question, references, asked)
        for sample in benchmark.samples
        for number, question in enumerate(sample.questions)
        if not (question.is_grounding and sample.gold_boxes(question) is None)
    ]
    file = out / "rows.jsonl"
    write_jsonl(file, rows)
    if form == "ms-swift":
        return [file]
    listing = out / "data.yaml"
    entry = {"json_path": file.name, "sampling_strategy": "all", "image_root": str(benchmark.root)}
    lines = [f"{key}: {json.dumps(value)}" for key, value in entry.items()]
    write_text(listing, "datasets:\n  - " + "\n    ".join(lines) + "\n")
    return [file, listing]


def _row(
    form: str,
    sample: Sample,
    number: int,
    question: Question,
    references: int,
    asked: Template,
) -> dict[str, Any]:
    template = template_for(question, asked)
    shown = choose_references(sample, references)
    user = build_messages(sample, question, template, references=len(shown))[1]["content"]
    text = "".join(IMAGE if part["type"] == "image" else part["text"] for part in user)
    gold = sample.gold_boxes(question)
    answer = format_answer(question, template, gold or ())
    images = (*shown, sample.image)
    kept = {
        "question": question.text,
        "question_type": question.type,
        "options": dict(question.options) or None,
        "mask": sample.mask,
        "boxes": kept_boxes(gold),
        "split": sample.split,
        "key": sample.image,
    }
    if form == "ms-swift":
        return {
            "messages": [
                {"role": "system", "content": SYSTEM},
                {"role": "user", "content": text},
            ],
            "images": [str(sample.root / key) for key in images],
            "solution": answer,
            **kept,
        }
    return {
        "id": f"{sample.image}#{number}",
        "image": list(images),
        "conversations": [{"from": "human", "value": text}, {"from": "gpt", "value": answer}],
        **kept,
    }
