"""Blind baselines by hand, and against every way that blind answers could fall."""

from __future__ import annotations

import itertools
import random

import pytest

from anomalyr1.metrics.blind import ALWAYS_YES, BASELINES, LONGEST, MAJORITY, RANDOM, blind_tables
from anomalyr1.metrics.mcq import ChoiceRecord, accuracy
from anomalyr1.schema import ANOMALY_DETECTION

AD, CLASS = ANOMALY_DETECTION, "Defect Classification"
YES_NO = {"A": "Yes.", "B": "No."}
FOUR = {"A": "Hole.", "B": "A long scratch.", "C": "Dent.", "D": "A wide stain..."}


def record(image: str, subtask: str, gold: str | None, dataset: str = "d") -> ChoiceRecord:
    return ChoiceRecord(image, dataset, subtask, "good" in image, gold, None)


def test_by_hand():
    """Two normal images and a defective one, a question of four options about the latter twice."""
    asked = [
        (record("d/good/1", AD, "B"), YES_NO, frozenset("A")),
        (record("d/good/2", AD, "B"), YES_NO, frozenset("A")),
        (record("d/bad/3", AD, "A"), YES_NO, frozenset("A")),
        (record("d/bad/3", CLASS, "B"), FOUR, None),
        (record("d/bad/3", CLASS, "C"), FOUR, None),
        (record("d/bad/3", CLASS, None), FOUR, None),  # without gold nothing can be right
    ]
    tables = blind_tables(*zip(*asked, strict=True))
    assert list(tables) == list(BASELINES)
    found = {
        name: [table["Average"][column] for column in (AD, CLASS, "Average")]
        for name, table in tables.items()
    }
    assert found == {
        RANDOM: [50, 25, 37.5],
        MAJORITY: [50, 50, 50],  # B is right 3 times of 5: on both normals, and once of two
        ALWAYS_YES: [50, None, None],
        LONGEST: [50, 25, 37.5],  # "Yes." on every image; half of B and D, of which B is right once
    }
    assert tables[RANDOM]["d"]["Object Analysis"] is None
    assert blind_tables([], [], []) == {name: {} for name in BASELINES}


def test_questions_alone_of_another_type_have_no_always_yes():
    tables = blind_tables([record("d/bad/1", CLASS, "A")], [FOUR], [None])
    assert tables[ALWAYS_YES] == {} and tables[RANDOM]["Average"]["Average"] == 25


@pytest.mark.parametrize("seed", range(4))
def test_random_is_the_mean_over_every_way_to_answer(seed):
    """All combinations of answers, each scored by the table itself; classes of unequal size."""
    draw = random.Random(seed)
    options = [dict(itertools.islice(FOUR.items(), draw.choice([2, 3]))) for _ in range(6)]
    records = [
        record(
            f"{dataset}/{draw.choice(['good', 'bad'])}/{n}",
            draw.choice([AD, CLASS]),
            draw.choice(list(texts)),
            dataset,
        )
        for n, (dataset, texts) in enumerate(zip("dddeee", options, strict=True))
    ]
    sums: dict[tuple[str, str], float] = {}
    ways = list(itertools.product(*options))
    for way in ways:
        answered = [
            ChoiceRecord(r.image, r.dataset, r.subtask, r.normal, r.gold, letter)
            for r, letter in zip(records, way, strict=True)
        ]
        for dataset, cells in accuracy(answered, "strict", 2).table.items():
            for column, value in cells.items():
                sums[dataset, column] = sums.get((dataset, column), 0.0) + (value or 0.0)
    table = blind_tables(records, options, [None] * 6)[RANDOM]
    for dataset, cells in table.items():
        for column, value in cells.items():
            assert (value or 0.0) == pytest.approx(sums[dataset, column] / len(ways))
