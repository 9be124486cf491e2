"""RobustMAD's choice questions as records of MMAD's form (github.com/en-research/RobustMAD).

Its RobustMAD_MCQ.json and RobustMAD_MCQ_low.json are one object `{"images": [...]}`. An image has
`image_path` and `reference_image_path`, relative to the folder that holds MVTec-AD/ and VisA/,
`anomaly` (0 or 1), `difficulty` and `questions`, each with `robustness_category`, `question_type`
(MCQ), `question`, `options` and `answer`. Its script shows the reference with the pair-wise
questions alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeGuard

from anomalyr1.data.benchmark_records import category_prefix
from anomalyr1.schema import PAIRWISE, ROBUSTMAD_TYPES, is_normal_key

_CHOICE = "MCQ"


def is_robustmad(content: Any) -> TypeGuard[Mapping[str, list[Any]]]:
    """Whether the content of a JSON file is in RobustMAD's form, not in MMAD's."""
    return isinstance(content, dict) and isinstance(content.get("images"), list)


def robustmad_records(images: Iterable[Any], faults: list[str]) -> dict[str, Any]:
    """The records of some images by their keys; what is left of a faulty one is read as it is.

    Args:
        images: as they stand in the file.
        faults: grows by one line a fault; each names the image.
    """
    records: dict[str, Any] = {}
    for number, image in enumerate(images):
        key = image.get("image_path") if isinstance(image, dict) else None
        if not isinstance(key, str) or not isinstance(image.get("questions"), list):
            faults.append(f"image {number}: expected image_path and questions, found {image!r:.80}")
            continue
        if key in records:
            faults.append(f"{key}: this image is given twice")
        if image.get("anomaly") not in (None, int(not is_normal_key(key))):
            faults.append(f"{key}: anomaly {image['anomaly']} does not go with the folder")
        reference = image.get("reference_image_path")
        records[key] = {
            "image_path": key.removeprefix(category_prefix(key)),
            "mask_path": None,
            "similar_templates": [] if reference is None else [reference],
            "random_templates": [],
            "difficulty": image.get("difficulty"),
            "conversation": [_question(key, asked, faults) for asked in image["questions"]],
        }
    return records


def _question(key: str, asked: Any, faults: list[str]) -> Any:
    """A question of MMAD's form; a fault where it is none of the four categories, or open."""
    if not isinstance(asked, dict):
        return asked  # what reads records says what it is
    kind, form = asked.get("robustness_category"), asked.get("question_type")
    if form not in (None, _CHOICE):
        faults.append(
            f"{key}: expected {_CHOICE}, found {form!r}: an open question, which a language model "
            "has to judge, is not read; take RobustMAD_MCQ.json"
        )
    elif kind not in ROBUSTMAD_TYPES or form is None:
        expected = f"{_CHOICE} of {', '.join(ROBUSTMAD_TYPES)}"
        faults.append(f"{key}: expected {expected}, found {form!r} of {kind!r}")
    return {
        "Question": asked.get("question"),
        "Answer": asked.get("answer"),
        "Options": asked.get("options"),
        "type": kind,
        "references": int(kind == PAIRWISE),
    }
