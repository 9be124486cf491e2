"""The same data for other trainers: conversations as VLM-R1 reads them, messages as ms-swift does.

A row is a question. Images are the references, then the query. Boxes are in pixels of the original
image. Both forms carry the keys question, question_type, options, mask and box_labels besides,
which other trainers pass over, so that reading a row back gives the question it was made from.

VLM-R1: {"id", "image": [paths], "conversations": [{"from": "human"}, {"from": "gpt"}]}, paths
relative to the image folder. ms-swift: {"messages", "images": [absolute paths], "solution"}.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

from anomalyr1.data.mmad import Benchmark, choose_references
from anomalyr1.errors import InputError
from anomalyr1.prompts import SYSTEM, Template, build_messages, format_answer, template_for
from anomalyr1.schema import ANOMALY_DETECTION, GROUNDING, Box, Question, Sample
from anomalyr1.storage import read_jsonl_as, write_jsonl, write_text
from anomalyr1.values import has_half_character, is_number, is_plain_path

Form = Literal["vlm-r1", "ms-swift"]
FORMS: tuple[Form, ...] = get_args(Form)
IMAGE = "<image>"

_OPTION = re.compile(r"^\(?([A-Z])[.):]\s+(.+)$", re.M)
_OTHER_FORM = (
    KeyError,
    TypeError,
    ValueError,
    IndexError,
    AttributeError,
    OverflowError,
    RecursionError,
)
_ANSWER = re.compile(r"<answer>(.*?)</answer>", re.S)


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
        raise InputError(f"expected references of at least 0, found {references}")
    if form not in FORMS:
        raise InputError(f"expected a format out of {', '.join(FORMS)}, found {form!r}")
    if template not in ("choice", "inspect"):
        raise InputError(f"expected the template choice or inspect, found {template!r}")
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


def read_rows(file: Path, image_root: Path, default_type: str = "Object Analysis") -> list[Sample]:
    """Read rows of either form, this program's or another's.

    Args:
        file: JSON lines.
        image_root: folder that the images lie under.
        default_type: type of a choice question of which neither a key nor Yes/No tells it.

    Returns:
        One sample an image, in the order of first mention; the last image of a row is the query,
        those before it are references.

    Raises:
        InputError: a row is of neither form, or an image lies outside `image_root`.
    """
    samples: dict[str, Sample] = {}
    root = image_root.absolute()

    def read(row: dict[str, Any], number: int) -> tuple[Question, list[str], str | None]:
        where = f"{file}:{number}"
        try:
            text, answer, images = _parts(row)
            question = _question(row, text, answer, default_type)
            _require_texts(question, row.get("mask"))
        except _OTHER_FORM as error:
            raise InputError(
                f"expected a row of VLM-R1 or ms-swift at {where}, "
                f"found another form ({type(error).__name__}: {error})"
            ) from None
        return question, [_key(image, root, where) for image in images], row.get("mask")

    for question, keys, mask in read_jsonl_as(read, file, "exported rows"):
        known = samples.get(keys[-1]) or Sample(keys[-1], root, (), mask=mask)
        boxes = question.boxes if known.boxes is None else known.boxes
        templates = tuple(dict.fromkeys((*known.random_templates, *keys[:-1])))
        samples[keys[-1]] = replace(
            known,
            questions=(*known.questions, question),
            random_templates=templates,
            boxes=boxes,
        )
    return list(samples.values())


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
    gold = sample.gold_boxes(question) or ()
    answer = format_answer(question, template, gold)
    images = (*shown, sample.image)
    kept = {
        "question": question.text,
        "question_type": question.type,
        "options": dict(question.options) or None,
        "mask": sample.mask,
        # As they are: in the answer, a box without a label is written as a "defect".
        "box_labels": None if template == "choice" else [box.label for box in gold],
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


def _parts(row: dict[str, Any]) -> tuple[str, str, list[str]]:
    """Prompt, answer and image paths of a row of either form."""
    if "conversations" in row:
        turns = {turn["from"]: turn["value"] for turn in row["conversations"]}
        images = row["image"] if isinstance(row["image"], list) else [row["image"]]
        text, answer = turns["human"], turns["gpt"]
    else:
        said = {turn["role"]: turn["content"] for turn in row["messages"]}
        images = list(row["images"])
        text, answer = said["user"], row["solution"] if "solution" in row else said["assistant"]
    if not images or not all(isinstance(image, str) for image in images):
        raise ValueError("no image")
    tagged = _ANSWER.search(answer)
    return str(text), (tagged[1] if tagged else answer).strip(), images


def _question(row: dict[str, Any], text: str, answer: str, default_type: str) -> Question:
    options = row.get("options") or dict(_OPTION.findall(text))
    if not options:
        boxes = tuple(_box(entry) for entry in json.loads(answer))
        if row.get("box_labels") is not None:
            labelled = zip(boxes, row["box_labels"], strict=True)
            boxes = tuple(replace(box, label=label) for box, label in labelled)
        return Question(row.get("question") or _bare(text), GROUNDING, boxes=boxes)
    letter, _, _ = answer.partition("\n")
    letter = letter.strip().rstrip(".").upper()
    if letter not in options:
        raise ValueError(f"the answer {letter!r} is none of the options")
    kind = row.get("question_type")
    if kind is None:
        plain = {option.strip().rstrip(".").casefold() for option in options.values()}
        kind = ANOMALY_DETECTION if plain == {"yes", "no"} else default_type
    return Question(row.get("question") or _bare(text), kind, options, letter)


def _require_texts(question: Question, mask: Any) -> None:
    for text in (question.text, question.type, *question.options, *question.options.values()):
        if not isinstance(text, str) or has_half_character(text):
            raise ValueError(f"{text!r} for a text")
    if mask is not None and not (isinstance(mask, str) and is_plain_path(mask)):
        raise ValueError(f"the mask {mask!r}")


def _box(entry: Any) -> Box:
    x1, y1, x2, y2 = entry["bbox_2d"]
    if not all(map(is_number, (x1, y1, x2, y2))):
        raise ValueError(f"the box {entry['bbox_2d']!r}")
    return Box(x1, y1, x2, y2, entry.get("label"))


def _bare(text: str) -> str:
    """The question itself: the lines before the first option, without image marks."""
    head = _OPTION.split(text.replace(IMAGE, ""), maxsplit=1)[0]
    return head.strip()


def _key(image: str, root: Path, where: str) -> str:
    path = Path(image)
    if path.is_absolute():
        try:
            path = path.relative_to(root)
        except ValueError:
            raise InputError(f"expected images below {root} at {where}, found {image}") from None
    if ".." in path.parts or not is_plain_path(image):
        raise InputError(f"expected images below {root} at {where}, found {image!r}")
    return path.as_posix()
