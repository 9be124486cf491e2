"""What `data check` can find, and the checks that need the record only."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from anomalyr1.data.answers_of_an_image import Corners, are_parts
from anomalyr1.prompts import smuggled_tokens
from anomalyr1.schema import ANOMALY_DETECTION, GROUNDING, Box, Question, Sample, is_normal_key

# MMAD's questions by data set: (AD on normals, AD on anomalies, DefCls, DefLoc, DefDesc, DefAna,
# ObjCls, ObjAna): the smallest denominators that fit its published tables.
MMAD_COUNTS: Mapping[str, tuple[int, ...]] = {
    "DS-MVTec": (465, 1226, 1205, 1193, 1213, 1205, 464, 1367),
    "MVTec-LOCO": (573, 992, 982, 982, 974, 954, 544, 1623),
    "VisA": (943, 1198, 1190, 1197, 1190, 1163, 935, 2806),
    "GoodsAD": (1269, 1631, 1311, 1506, 1333, 1460, 1211, 3367),
}
MMAD_IMAGES = 8366
MMAD_COLUMNS = (
    "Anomaly Detection on normals",
    "Anomaly Detection on anomalies",
    "Defect Classification",
    "Defect Localization",
    "Defect Description",
    "Defect Analysis",
    "Object Classification",
    "Object Analysis",
)

_TEMPLATE = "template"
_TURNED = re.compile(
    r"\b(no|not|free|without|normal|intact|good|flawless|perfect|undamaged|ok|acceptable)\b", re.I
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong (`error`) or worth a look (`warning`) with one image."""

    level: Literal["error", "warning"]
    kind: str
    image: str
    message: str


def is_normal_reference(key: str) -> bool:
    """Whether a reference of that key shows a normal image.

    One in a folder "good" does (MMAD), and one in a folder "template" (DTD in IAD-R1's files).

    >>> is_normal_reference("DTD/Woven_001/template/0.png"), is_normal_reference("DTD/a/bad/1.png")
    (True, False)
    """
    return is_normal_key(key) or _TEMPLATE in key.split("/")


def record_findings(sample: Sample, record: Mapping[str, Any]) -> Iterator[Finding]:
    """What the record of one image says against itself."""
    stated = record.get("image_path")
    if stated is not None and sample.image != stated and not sample.image.endswith(f"/{stated}"):
        yield _error("path", sample, f"image_path says {stated!r}")
    for number, question in enumerate(sample.questions):
        yield from _question_findings(sample, number, question)
    yield from _box_findings(sample, record)
    for key in dict.fromkeys((*sample.similar_templates, *sample.random_templates)):
        if key == sample.image:
            yield _error("reference", sample, "the image is its own reference")
        elif not is_normal_reference(key):
            yield _error("reference", sample, f"the reference {key} is not a normal image")
    if sample.is_normal and sample.mask:
        yield _error("mask", sample, f"a normal image has the mask {sample.mask}")


def mmad_findings(samples: tuple[Sample, ...]) -> Iterator[Finding]:
    """Deviations from MMAD's own counts, where a file has all four data sets of MMAD."""
    if {s.dataset for s in samples} != set(MMAD_COUNTS):
        return
    counts: Counter[tuple[str, str]] = Counter()
    for sample in samples:
        for question in sample.questions:
            column = question.subtask
            if column == ANOMALY_DETECTION:
                column += " on normals" if sample.is_normal else " on anomalies"
            counts[sample.dataset, column] += 1
    for dataset, numbers in MMAD_COUNTS.items():
        for column, expected in zip(MMAD_COLUMNS, numbers, strict=True):
            found = counts[dataset, column]
            if found != expected:
                message = f"MMAD has {expected} questions of {column}, found {found}"
                yield Finding("error", "mmad table", dataset, message)
    if len(samples) != MMAD_IMAGES:
        message = f"MMAD has {MMAD_IMAGES} images, found {len(samples)}"
        yield Finding("error", "mmad table", "", message)


def _question_findings(sample: Sample, number: int, question: Question) -> Iterator[Finding]:
    where = f"question {number}"
    for fault in smuggled_tokens(question, question.boxes or sample.boxes or ()):
        yield _error("special token", sample, f"{where}: {fault}, which policies read as a mark")
    texts = Counter(text.strip().rstrip(".").casefold() for text in question.options.values())
    for text, times in texts.items():
        if times > 1:
            yield _error("options", sample, f"{where}: the option {text!r} is given {times} times")
    if len(texts) == 1:
        yield _error("options", sample, f"{where}: there is one option only")
    if question.presupposes_defect and sample.is_normal:
        message = f"{where}: {question.type} presupposes a defect, the path says good"
        yield Finding("warning", "label", sample.image, message)
    if question.type == ANOMALY_DETECTION and not _TURNED.search(question.text):
        said = question.options[str(question.answer)].strip().rstrip(".").casefold()
        if said in ("yes", "no") and (said == "no") != sample.is_normal:
            path = "good" if sample.is_normal else "defective"
            yield _error("label", sample, f"{where}: the answer is {said!r}, the path says {path}")


def _box_findings(sample: Sample, record: Mapping[str, Any]) -> Iterator[Finding]:
    if sample.is_normal and sample.boxes:
        yield _error("boxes", sample, f"a normal image has {len(sample.boxes)} boxes")
    for box in sample.boxes or ():
        if box.area <= 0:
            yield _error("boxes", sample, f"the box {list(box.xyxy)} has no area")
    if sample.boxes is None:
        return
    if not sample.boxes and not sample.is_normal:
        yield _error("boxes", sample, "a defective image has no boxes, so [] is its right answer")
    gold = sorted(box.xyxy for box in sample.boxes)
    name = next((n for n in record if n.startswith("conversation")), "")
    answers: dict[int, list[Corners]] = {}
    for number, entry in enumerate(record.get(name, ())):
        if isinstance(entry, dict) and entry.get("type") == GROUNDING:
            stated = entry.get("Answer")
            if stated is not None:
                answers[number] = sorted(Box(*corners).xyxy for corners in stated)
    if are_parts(answers.values(), gold):
        return
    for number, answer in answers.items():
        if answer != gold:
            yield _error("boxes", sample, f"question {number}: its boxes are not the record's")


def _error(kind: str, sample: Sample, message: str) -> Finding:
    return Finding("error", kind, sample.image, message)
