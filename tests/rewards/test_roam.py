"""The outcome table by hand, and preset `paper` against a twin of the released objective."""

import random
import re

import pytest

from anomalyr1.config.reward import RewardConfig
from anomalyr1.parsing import parse_response
from anomalyr1.rewards.build import build_rewards
from anomalyr1.rewards.roam import PAPER_TABLE, outcome
from anomalyr1.schema import OUTCOMES, Question, Response

OPTIONS = {"A": "Top.", "B": "Left.", "C": "Rim.", "D": "Base."}


def response(conclusion, answer=None, boxes=None, well_formed=True):
    return Response("", "", conclusion, answer, boxes, well_formed)


CHOICE = [
    # T, A, s, passes the gate -> outcome
    ("B", "B", "B", True, "aligned_correct"),
    (None, "B", "B", True, "silent_correct"),
    ("A", "B", "B", True, "contradictory"),  # right answer, reasoning says otherwise
    ("B", "A", "B", True, "contradictory"),  # right reasoning, wrong answer
    ("A", "C", "B", True, "contradictory"),
    ("A", "A", "B", True, "aligned_wrong"),
    (None, "A", "B", True, "silent_wrong"),
    ("B", None, "B", True, "malformed"),  # unreadable answer
    (None, None, "B", True, "malformed"),
    ("B", "B", "B", False, "malformed"),  # the gate comes first
]


@pytest.mark.parametrize(("conclusion", "answer", "gold", "well_formed", "expected"), CHOICE)
def test_choice_outcome(conclusion, answer, gold, well_formed, expected):
    assert outcome(response(conclusion, answer, well_formed=well_formed), gold) == expected


GROUNDING = [
    # verdict of the reasoning, boxes, verdict of the gold -> outcome
    ("abnormal", ("box",), "abnormal", "aligned_correct"),
    ("normal", (), "normal", "aligned_correct"),
    (None, ("box",), "abnormal", "silent_correct"),
    (None, (), "normal", "silent_correct"),
    ("normal", ("box",), "abnormal", "contradictory"),
    ("abnormal", (), "abnormal", "contradictory"),
    ("normal", (), "abnormal", "aligned_wrong"),
    ("abnormal", ("box",), "normal", "aligned_wrong"),
    (None, (), "abnormal", "silent_wrong"),
    (None, ("box",), "normal", "silent_wrong"),
    ("abnormal", None, "abnormal", "malformed"),  # no readable list
]


@pytest.mark.parametrize(("conclusion", "boxes", "gold", "expected"), GROUNDING)
def test_grounding_outcome(conclusion, boxes, gold, expected):
    assert outcome(response(conclusion, boxes=boxes), gold) == expected


def test_the_table_covers_every_outcome():
    assert tuple(PAPER_TABLE) == OUTCOMES


PAPER = [
    # T, A, s -> choice reward + table, as the released code pays them
    ("B", "B", "B", 1 + 1.0),
    (None, "B", "B", 1 + 0.8),
    ("A", "B", "B", 1 + 0.0),
    ("B", "A", "B", 0.0),
    ("A", "A", "B", 0 + 0.1),
    (None, "A", "B", 0 + 0.05),
]


@pytest.mark.parametrize(("conclusion", "answer", "gold", "expected"), PAPER)
@pytest.mark.parametrize("preset", ["paper", "paper-strict"])
def test_paper_pays_the_released_table(preset, conclusion, answer, gold, expected):
    closing = f"So the answer is {conclusion}." if conclusion else "Hm."
    text = f"<think>{closing}</think><answer>{answer}</answer>"
    assert total(preset, [text], [gold]) == [pytest.approx(expected)]


def total(preset, texts, golds, options=OPTIONS):
    terms, weights = build_rewards(RewardConfig(preset=preset))
    columns = {"options": [options] * len(texts), "answer": golds}
    scores = [term(texts, **columns) for term in terms]
    return [
        sum(w * value for w, value in zip(weights, row, strict=True))
        for row in zip(*scores, strict=True)
    ]


def released_objective(text, stated, answered, gold):
    """The released objective written from its table alone: gate, choice reward, table."""
    gate = r"<think>(.*?)</think>\s*<answer>(.*?)</answer>"
    if re.search(gate, text, re.DOTALL) is None or answered is None:
        return 0.0
    choice = 1.0 if answered == gold else 0.0
    if stated == answered == gold:
        return choice + 1.0
    if stated is None and answered == gold:
        return choice + 0.8
    if stated == answered != gold:
        return choice + 0.1
    if stated is None and answered != gold:
        return choice + 0.05
    return choice


def random_completion(rng):
    """(text, T, A): the parts are known because the text is put together from them."""
    stated = rng.choice([None, *"ABCD"])
    answered = rng.choice([None, *"ABCD"])
    closing = {
        0: f"So the answer is {stated}.",
        1: f"the answer is {stated} because the others are wrong",
        2: f"Therefore, the correct option is ({stated}).",
        3: f"所以答案是{stated}。",
    }[rng.randrange(4)]
    if stated is None:
        closing = rng.choice(["A scratch is visible.", "Hm.", "", "CAD part DEFECT", "A B C D"])
    shown = rng.choice(["{}", "{}.", "({})", "**{}**", "{} ", "\n{}\n"])
    written = rng.choice(["", "none", "A or B", "X"]) if answered is None else answered
    if answered is not None and rng.random() < 0.2:
        written = OPTIONS[answered]
    inside = f"{rng.choice(['', 'Bent. ', 'A dent at the rim. '])}{closing}"
    answer = written if answered is None else shown.format(written)
    text = rng.choice(
        [
            f"<think>{inside}</think><answer>{answer}</answer>",
            f"<think>{inside}</think>\n\n<answer>{answer}</answer>",
            f"Sure! <think>{inside}</think><answer>{answer}</answer> Done.",
            f"<think>{inside}</think><answer>{answer}</answer><answer>D</answer>",
            f"<think>{inside}</think> so <answer>{answer}</answer>",
            f"<think>{inside}<answer>{answer}</answer>",
            f"<answer>{answer}</answer><think>{inside}</think>",
            f"{inside} {answer}",
        ]
    )
    return text, stated, answered


def test_paper_equals_the_released_objective_on_a_random_corpus():
    rng = random.Random(0)
    corpus = [(*random_completion(rng), rng.choice("ABCD")) for _ in range(5000)]
    texts, golds = [row[0] for row in corpus], [row[3] for row in corpus]
    expected = [released_objective(*row) for row in corpus]
    assert total("paper", texts, golds) == pytest.approx(expected)
    assert len({round(value, 2) for value in expected}) == 6  # every value of the table occurs
    # Strictly read, the same objective pays a subset: what stands outside the pair costs all.
    question = Question("", "", OPTIONS)
    strict = [parse_response(text, question).well_formed for text in texts]
    subset = [value if passed else 0.0 for value, passed in zip(expected, strict, strict=True)]
    assert total("paper-strict", texts, golds) == pytest.approx(subset)
