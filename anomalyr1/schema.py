"""Frozen records that cross module borders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal, get_args

ANOMALY_DETECTION = "Anomaly Detection"
DEFECT_CLASSIFICATION = "Defect Classification"
GROUNDING = "Defect Grounding"

# The letters an option can have; a benchmark with any other is refused when it is read.
OPTION_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

# MMAD's seven subtasks (ICLR 2025, table 2), in the order of its published tables.
SUBTASKS = (
    ANOMALY_DETECTION,
    DEFECT_CLASSIFICATION,
    "Defect Localization",
    "Defect Description",
    "Defect Analysis",
    "Object Classification",
    "Object Analysis",
)

_SUBTASK_OF = {"Object Structure": "Object Analysis", "Object Details": "Object Analysis"}
_PRESUPPOSE_DEFECT = frozenset(SUBTASKS[1:5])

# The categories of RobustMAD's questions; they count in no column of MMAD's.
PAIRWISE = "Anomaly Understanding and Localization (Pair-wise comparison)"
ROBUSTMAD_TYPES = (
    "General Object Understanding",
    "Anomaly Understanding and Localization (Stand-alone)",
    PAIRWISE,
    "Unanswerable or Misleading Query Detection",
)

QUESTION_TYPES = (*SUBTASKS, *_SUBTASK_OF, GROUNDING, *ROBUSTMAD_TYPES)

Outcome = Literal[
    "malformed",
    "aligned_correct",
    "silent_correct",
    "contradictory",
    "aligned_wrong",
    "silent_wrong",
]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)


# Where the likelihood of an answer's letters is taken: after the policy's own reasoning, or of an
# answer given at once.
Weigh = Literal["reasoning", "at_once"]
WEIGHS: tuple[Weigh, ...] = ("reasoning", "at_once")

# How a question is asked once more: its options shifted, in other words, or with the policy's own
# reasoning given.
Again = Literal["shifted", "reworded", "asked_again"]
AGAIN: tuple[Again, ...] = ("shifted", "reworded", "asked_again")


def subtask_of(question_type: str) -> str:
    """The MMAD column a question type counts in.

    >>> subtask_of("Object Details")
    'Object Analysis'
    >>> subtask_of("Anomaly Detection")
    'Anomaly Detection'
    """
    return _SUBTASK_OF.get(question_type, question_type)


def dataset_of(image: str) -> str:
    """The dataset an image belongs to: the first part of its benchmark key.

    >>> dataset_of("VisA/pcb1/test/good/1.JPG")
    'VisA'
    """
    return image.split("/", 1)[0]


def category_of(image: str) -> str:
    """The product on an image: the second part of its key.

    >>> category_of("VisA/pcb1/test/good/1.JPG"), category_of("tile/1.png")
    ('pcb1', 'tile')
    """
    parts = image.split("/")
    return parts[1] if len(parts) > 2 else parts[0]


def defect_of(image: str) -> str:
    """What is wrong on an image: the folder it lies in, "good" of a normal one.

    >>> defect_of("VisA/pcb1/test/bent/1.JPG")
    'bent'
    """
    return PurePosixPath(image).parent.name


def is_normal_key(image: str) -> bool:
    """MMAD's rule: an image is normal where a part of its key equals "good".

    >>> is_normal_key("VisA/pcb1/test/good/1.JPG"), is_normal_key("VisA/goods/test/bad/1.JPG")
    (True, False)
    """
    return "good" in image.split("/")


@dataclass(frozen=True, slots=True)
class Box:
    """An axis-aligned box in pixels; `x2` and `y2` are exclusive.

    The frame (original image or model frame) is the business of whoever holds the box;
    `geometry.Frame` converts between the two.
    """

    x1: float
    y1: float
    x2: float
    y2: float
    label: str | None = None

    @property
    def area(self) -> float:
        """Area in square pixels; 0 for a degenerate box."""
        return max(0.0, self.x2 - self.x1) * max(0.0, self.y2 - self.y1)

    @property
    def xyxy(self) -> tuple[float, float, float, float]:
        """(x1, y1, x2, y2)."""
        return (self.x1, self.y1, self.x2, self.y2)


@dataclass(frozen=True, slots=True)
class Question:
    """One question about one image.

    A choice question has `options` (letter -> text, in display order) and a gold letter in
    `answer`. A grounding question has no options; its gold answer is `boxes` in original-image
    pixels, where `()` means a normal image and None means that the gold boxes are not known.
    `references` is how many reference images it is shown with at most; None leaves it to the run.
    """

    text: str
    type: str
    options: Mapping[str, str] = field(default_factory=dict)
    answer: str | None = None
    boxes: tuple[Box, ...] | None = None
    annotation: bool | None = None
    references: int | None = None

    @property
    def is_grounding(self) -> bool:
        """True when the answer is a list of boxes instead of a letter."""
        return not self.options

    @property
    def subtask(self) -> str:
        """The MMAD column this question counts in."""
        return subtask_of(self.type)

    @property
    def presupposes_defect(self) -> bool:
        """True when the wording gives away that the image is defective."""
        return self.type in _PRESUPPOSE_DEFECT


@dataclass(frozen=True, slots=True)
class Sample:
    """One image of a benchmark with its questions.

    `image` is the benchmark key: the path relative to `root`, `<dataset>/<class>/...`.
    `mask`, `similar_templates` and `random_templates` are relative to `root` as well.
    `boxes` are gold boxes in original-image pixels; None where the benchmark has none on record.
    """

    image: str
    root: Path
    questions: tuple[Question, ...]
    mask: str | None = None
    similar_templates: tuple[str, ...] = ()
    random_templates: tuple[str, ...] = ()
    boxes: tuple[Box, ...] | None = None
    split: str | None = None

    @property
    def dataset(self) -> str:
        """First part of the key."""
        return dataset_of(self.image)

    @property
    def category(self) -> str:
        """Second part of the key: the product."""
        return category_of(self.image)

    @property
    def is_normal(self) -> bool:
        """MMAD's rule: a path component equals "good"."""
        return is_normal_key(self.image)

    @property
    def defect(self) -> str:
        """The parent folder: "good" or the name of the defect."""
        return defect_of(self.image)

    @property
    def path(self) -> Path:
        """The image file."""
        return self.root / self.image

    def gold_boxes(self, question: Question) -> tuple[Box, ...] | None:
        """The gold boxes of one of its questions, in original-image pixels; None if unknown.

        A grounding question may state its own; every other question has the image's.
        """
        return self.boxes if question.boxes is None else question.boxes


@dataclass(frozen=True, slots=True)
class Response:
    """What a completion says, as read by `parsing.parse_response`.

    `answer` is an option letter (upper case) for a choice question. `boxes` are in the frame the
    completion speaks in (the model frame); `()` is a stated "none", None is "no readable list".
    `conclusion` is what the reasoning ends on: an option letter, or "normal" / "abnormal" for a
    grounding question; None when the reasoning names none. `errors` names what is wrong, worst
    first.
    """

    reasoning: str | None
    answer_text: str | None
    conclusion: str | None
    answer: str | None
    boxes: tuple[Box, ...] | None
    well_formed: bool
    errors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FurtherAsking:
    """A question asked once more, and what came of it.

    `number` tells askings of a kind apart, from 1: letters that the options were shifted by, or the
    wording. `question` and `options` are as they were shown. `suggested` is the letter of the
    option that a leading wording suggests. `said` is what the policy's turn was begun with for it;
    what it answered is `said` and `completion` together.
    """

    kind: Again
    number: int
    question: str
    options: Mapping[str, str]
    completion: str
    said: str = ""
    suggested: str | None = None


@dataclass(frozen=True, slots=True)
class Prediction:
    """One line of predictions.jsonl: one completion for one question.

    `frame` is the model frame (width, height) that boxes in `completion` are stated in: pixels of
    the resized image, or (1000, 1000) where the policy counts in thousandths; None where it is not
    known, and boxes were not asked for. `size` is the original image's in pixels. `gold_boxes` are
    in original-image pixels. `template` names the prompt. `score` is a real anomaly score in [0, 1]
    (P(Yes)) or None where the backend gives none. `seen` says whether the policy was trained on
    this image; None where that is not known. `completion_ids` are the tokens of `completion`, the
    one that ends it included; None where the file does not tell them. `letter_logps` are the
    natural logarithms of each option's probability (`policy.likelihood`), by where they were taken
    (`WEIGHS`); `score` follows the first of these. Where several completions were drawn, `drawn`
    has them all in their order, `completion` is the first that voted for the winner, and
    `vote_share` the winner's share of the votes, None where there was none. `askings` are those of
    the same question that came after this one.
    """

    image: str
    question_index: int
    question_type: str
    options: Mapping[str, str]
    answer: str | None
    completion: str
    template: str = "choice"
    frame: tuple[int, int] | None = None
    size: tuple[int, int] | None = None
    gold_boxes: tuple[Box, ...] | None = None
    mask: str | None = None
    normal: bool | None = None
    question: str = ""
    references: tuple[str, ...] = ()
    score: float | None = None
    seen: bool | None = None
    completion_ids: tuple[int, ...] | None = None
    letter_logps: Mapping[Weigh, Mapping[str, float]] | None = None
    drawn: tuple[str, ...] | None = None
    vote_share: float | None = None
    askings: tuple[FurtherAsking, ...] | None = None

    @property
    def dataset(self) -> str:
        """First part of the key."""
        return dataset_of(self.image)

    @property
    def is_normal(self) -> bool:
        """What the record says, else MMAD's rule: a path component equals "good"."""
        return is_normal_key(self.image) if self.normal is None else self.normal
