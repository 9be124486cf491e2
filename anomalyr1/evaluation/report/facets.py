"""What the gallery is filtered by: a value of each facet for an image or one of its questions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from anomalyr1.evaluation.image_readings import PredictionReading
from anomalyr1.evaluation.outcomes import evaluated_outcome
from anomalyr1.evaluation.report.markup import Markup, tag
from anomalyr1.evaluation.right_answers import is_right
from anomalyr1.parsing.verdict_letters import verdict_letters
from anomalyr1.schema import category_of, dataset_of, defect_of, subtask_of
from anomalyr1.values import in_words

# Name -> how it is called on the page; the first four are an image's, the others a question's.
_FACETS = {
    "dataset": "Data set",
    "category": "Category",
    "image": "Image",
    "defect": "Defect",
    "subtask": "Question",
    "verdict": "Verdict",
    "answer": "Answer",
    "outcome": "Outcome",
    "change": "Change",
}
_VERDICTS = {"normal": "normal", "abnormal": "anomalous", None: "none read"}

Facets = Mapping[str, str]
Card = tuple[Facets, Sequence[Facets]]  # of an image, and of its questions


def image_facets(reading: PredictionReading) -> Facets:
    """Of the image of a question."""
    image, normal = reading.prediction.image, reading.prediction.is_normal
    found = {"dataset": dataset_of(image), "category": category_of(image)}
    found["image"] = "normal" if normal else "anomalous"
    if not normal:
        found["defect"] = in_words(defect_of(image))
    return found


def question_facets(reading: PredictionReading, change: str | None) -> Facets:
    """Of a question: what was asked, what was answered, and how that went.

    Args:
        reading: its completion.
        change: fixed or broken since the run compared with; None for neither.
    """
    right = is_right(reading)
    judged = "right" if right else "wrong"
    outcome = evaluated_outcome(reading)
    found = {
        "subtask": subtask_of(reading.prediction.question_type),
        "verdict": _verdict(reading),
        "answer": "unreadable" if not reading.is_readable else None if right is None else judged,
        "outcome": in_words(outcome) if outcome else None,
        "change": change,
    }
    return {name: value for name, value in found.items() if value is not None}


def attributes(facets: Facets) -> dict[str, str]:
    """As the script reads them."""
    return {f"data_{name}": value for name, value in facets.items()}


def filters(cards: Sequence[Card], run: str | None) -> Markup | None:
    """A choice of every facet that has several values, each with its number of images.

    Args:
        cards: of the gallery.
        run: that changes are told against.
    """
    counts: dict[str, Counter[str]] = {name: Counter() for name in _FACETS}
    for of_image, of_questions in cards:
        for name, of in counts.items():
            values = [of_image, *of_questions]
            of.update({facets[name] for facets in values if name in facets})
    choices = [
        _choice(name, f"Against {run}" if name == "change" and run else title, counts[name])
        for name, title in _FACETS.items()
        if len(counts[name]) > 1 or (name == "change" and counts[name])
    ]
    if not choices:
        return None
    clear = tag("button", "show all", type="button", data_clear=True, disabled=True)
    return tag("div", *choices, clear, class_="filters", role="group", aria_label="Filter")


def _choice(name: str, title: str, counts: Mapping[str, int]) -> Markup:
    options = [
        tag("option", f"{value} ({count})", value=value, data_name=value)
        for value, count in sorted(counts.items())
    ]
    select = tag("select", tag("option", "all", value=""), *options, data_facet=name)
    return tag("label", tag("span", title), select)


def _verdict(reading: PredictionReading) -> str | None:
    """What is said of the product; None where it is not asked."""
    if reading.is_grounding:
        boxes = reading.boxes_in_model
        return _VERDICTS[None if boxes is None else "abnormal" if boxes else "normal"]
    said = verdict_letters(reading.question)
    return None if said is None else _VERDICTS[said.get(reading.response.answer or "")]
