"""Questions that labels, masks and boxes can honestly support, with seeded distractors.

The wording follows MMAD's types. Which paraphrase, which distractors and which order of options a
question gets is decided by sha256(seed|image|question), so it never depends on other images.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from anomalyr1.data.seeding import seeded_choice, seeded_order
from anomalyr1.data.shuffling import shuffle_options
from anomalyr1.geometry import CELLS, grid_cell, touched_cells
from anomalyr1.schema import ANOMALY_DETECTION, GROUNDING, OPTION_LETTERS, Box, Question
from anomalyr1.values import whole_characters

MAX_OPTIONS = 4

TEXTS: Mapping[str, tuple[str, ...]] = {
    ANOMALY_DETECTION: (
        "Is there any defect in the object?",
        "Does the object show a defect?",
        "Can you see a defect on this object?",
    ),
    "Defect Classification": (
        "There is a defect in the object. What type of defect is it?",
        "The object is defective. Which type of defect does it have?",
    ),
    "Defect Localization": (
        "There is a defect in the object. Where is it in the image?",
        "The object is defective. In which part of the image is the defect?",
    ),
    "Object Classification": (
        "What kind of product is in the image?",
        "Which product does the image show?",
    ),
    GROUNDING: (
        "Locate every defect in the image.",
        "Give a box for each defect in the image.",
    ),
}
_SEVERAL_TYPES = "There are defects of several types. Which of these types is present?"
_SEVERAL_PLACES = "There are several defects. In which of these parts of the image is one?"

# Last resort for distractors, where a data set has one product or too few defect types.
OTHER_PRODUCTS = ("Glass bottle", "Zipper", "Wood board", "Steel screw", "Cable", "Toothbrush")
# Words that stand for any product: nobody could tell it from others by them.
_ANY_PRODUCT_WORDS = """
    product products object objects item items part parts piece pieces sample samples image
    images photo photos picture pictures data dataset datasets test train valid val default
    unknown category class thing things workpiece component components root folder defect
    defects
"""
_ANY_PRODUCT = frozenset(_ANY_PRODUCT_WORDS.split())
OTHER_DEFECTS = ("Corrosion", "Discoloration", "Deformation", "Delamination")


@dataclass(frozen=True, slots=True)
class Fact:
    """A question that a source can ask from what it knows about an image, with wrong answers."""

    type: str
    question: str
    answer: str
    distractors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Subject:
    """What is known about one image.

    `product` and `defects` are in words. `defects` are the types present: empty for a normal image,
    and also where the source does not name the type. `boxes` are in pixels of `size` (width,
    height); None where the place of the defect is not on record.
    """

    key: str
    product: str
    normal: bool
    size: tuple[int, int]
    defects: tuple[str, ...] = ()
    boxes: tuple[Box, ...] | None = None
    facts: tuple[Fact, ...] = ()


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Where distractors come from: the products of a data set and the defect types of each."""

    defects: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, subjects: Iterable[Subject]) -> Vocabulary:
        """Collect products and defect types."""
        defects: dict[str, dict[str, None]] = {}
        for subject in subjects:
            defects.setdefault(subject.product, {}).update(dict.fromkeys(subject.defects))
        return cls({product: tuple(sorted(names)) for product, names in sorted(defects.items())})


def build_questions(
    subject: Subject, vocabulary: Vocabulary, seed: int = 0
) -> tuple[Question, ...]:
    """Every question the record of an image supports, in a fixed order of types."""
    makers: tuple[Callable[[Subject, Vocabulary, int], Question | None], ...] = (
        _detection,
        _classification,
        _localization,
        _object,
        _grounding,
    )
    questions = [make(subject, vocabulary, seed) for make in makers]
    questions += [
        choice(fact.type, fact.question, fact.answer, fact.distractors, subject.key, seed)
        for fact in subject.facts
    ]
    return tuple(question for question in questions if question is not None)


def choice(
    kind: str,
    text: str,
    answer: str,
    distractors: Sequence[str],
    key: str,
    seed: int,
) -> Question | None:
    """A choice question in seeded order of options; None when no distractor is left.

    Args:
        kind: question type.
        text: the question.
        answer: the right option.
        distractors: wrong options, preferred ones first; repetitions of the answer are dropped.
        key: the image's key.
        seed: seed of the order.
    """
    texts = {_plain(answer): sentence(answer)}
    for distractor in distractors:
        if len(texts) == MAX_OPTIONS:
            break
        texts.setdefault(_plain(distractor), sentence(distractor))
    if len(texts) < 2:
        return None
    options = dict(zip(OPTION_LETTERS, texts.values(), strict=False))
    return shuffle_options(Question(text, kind, options, "A"), key, seed)


def grounding_question(key: str, boxes: tuple[Box, ...], seed: int = 0) -> Question:
    """The question where the defects of an image are.

    Args:
        key: the image's key.
        boxes: gold, in pixels of the image; none where nothing is wrong.
        seed: of the wording.
    """
    return Question(_wording(GROUNDING, key, seed), GROUNDING, boxes=boxes)


def words(name: str) -> str:
    """A folder name in words; characters that no file can hold (lone surrogates) are replaced.

    >>> words("broken_small"), words("fabricInterior")
    ('broken small', 'fabric interior')
    """
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", whole_characters(name))
    return re.sub(r"[\s_]+", " ", spaced).strip().lower()


def sentence(text: str) -> str:
    """An option text in MMAD's style.

    >>> sentence("broken small")
    'Broken small.'
    """
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def names_no_product(name: str) -> bool:
    """True for a name that stands for any product.

    >>> names_no_product("Product"), names_no_product("steel part")
    (True, False)
    """
    return all(word in _ANY_PRODUCT for word in words(name).split())


def overlaps(text: str, other: str) -> bool:
    """True when all words of one are among the other's: both could be said of one thing.

    >>> overlaps("Glass bottle", "bottles"), overlaps("food bottle", "food box")
    (True, False)
    """
    first, second = ({word.rstrip("s") for word in words(t).split()} for t in (text, other))
    return first <= second or second <= first


def _plain(text: str) -> str:
    return text.strip().rstrip(".").casefold()


def _text(kind: str, subject: Subject, seed: int) -> str:
    return _wording(kind, subject.key, seed)


def _wording(kind: str, key: str, seed: int) -> str:
    return seeded_choice(TEXTS[kind], seed, key, kind)


def _detection(subject: Subject, vocabulary: Vocabulary, seed: int) -> Question | None:
    answer, other = ("No", "Yes") if subject.normal else ("Yes", "No")
    text = _text(ANOMALY_DETECTION, subject, seed)
    return choice(ANOMALY_DETECTION, text, answer, (other,), subject.key, seed)


def _classification(subject: Subject, vocabulary: Vocabulary, seed: int) -> Question | None:
    """With several types present, one of them is asked for against types that are absent."""
    kind = "Defect Classification"
    if subject.normal or not subject.defects:
        return None
    answer = seeded_choice(sorted(subject.defects), seed, subject.key, kind)
    text = _text(kind, subject, seed) if len(subject.defects) == 1 else _SEVERAL_TYPES
    same = vocabulary.defects.get(subject.product, ())
    others = [name for names in vocabulary.defects.values() for name in names]
    distractors: list[str] = []
    for pool in (same, others, OTHER_DEFECTS):
        absent = {name for name in pool if _plain(name) not in map(_plain, subject.defects)}
        if pool is not same:  # one product's types are apart; another's may be the same thing
            absent = {n for n in absent if not any(overlaps(n, own) for own in subject.defects)}
        distractors += seeded_order(absent - set(distractors), seed, subject.key, text)
    return choice(kind, text, answer, distractors, subject.key, seed)


def _localization(subject: Subject, vocabulary: Vocabulary, seed: int) -> Question | None:
    """The cell of the largest box, against cells that no box touches."""
    if subject.normal or not subject.boxes:
        return None
    kind = "Defect Localization"
    width, height = subject.size
    largest = max(subject.boxes, key=lambda box: box.area)
    free = set(CELLS) - touched_cells(subject.boxes, width, height)
    text = _text(kind, subject, seed) if len(subject.boxes) == 1 else _SEVERAL_PLACES
    distractors = seeded_order(free, seed, subject.key, text)
    return choice(kind, text, grid_cell(largest, width, height), distractors, subject.key, seed)


def _object(subject: Subject, vocabulary: Vocabulary, seed: int) -> Question | None:
    kind = "Object Classification"
    if names_no_product(subject.product):
        return None
    text = _text(kind, subject, seed)
    distractors: list[str] = []
    for pool in (vocabulary.defects, OTHER_PRODUCTS):
        apart = {p for p in pool if not overlaps(p, subject.product) and not names_no_product(p)}
        distractors += seeded_order(apart - set(distractors), seed, subject.key, text)
    return choice(kind, text, subject.product, distractors, subject.key, seed)


def _grounding(subject: Subject, vocabulary: Vocabulary, seed: int) -> Question | None:
    boxes = () if subject.normal else subject.boxes
    return None if boxes is None else grounding_question(subject.key, boxes, seed)
