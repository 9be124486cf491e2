"""MMAD tables against hand-counted cells, a brute-force twin and the published results."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from published import PublishedTable, published_tables, synthesize
from real_data import real_data_folder

from anomalyr1.metrics.mcq import (
    AVERAGE,
    MISS,
    OVERKILL,
    Accounting,
    ChoiceRecord,
    accuracy,
    counted_by_mmad,
)
from anomalyr1.schema import ANOMALY_DETECTION, SUBTASKS

DEFECT, OBJECT = "Defect Classification", "Object Analysis"


def record(
    answer: str | None,
    *,
    gold: str | None = "A",
    subtask: str = ANOMALY_DETECTION,
    dataset: str = "VisA",
    normal: bool = False,
    image: str = "1",
) -> ChoiceRecord:
    key = f"{dataset}/pcb/test/{'good' if normal else 'bad'}/{image}.png"
    return ChoiceRecord(key, dataset, subtask, normal, gold, answer)


# Two normals (one right), four anomalous (three right): balanced (50 + 75) / 2 = 62.5.
DETECTION = [
    record("A", normal=True),
    record("B", normal=True, image="2"),
    *(record("A", image=str(index)) for index in range(3)),
    record("B", image="9"),
]


def test_detection_is_balanced_and_gives_overkill_and_miss() -> None:
    row = accuracy(DETECTION, "strict").table["VisA"]
    assert row[ANOMALY_DETECTION] == 62.5
    assert row[OVERKILL] == 50.0
    assert row[MISS] == 25.0


def test_average_column_is_the_mean_of_the_subtasks_that_exist() -> None:
    records = [*DETECTION, record("A", subtask=DEFECT), record("B", subtask=OBJECT)]
    row = accuracy(records, "strict").table["VisA"]
    assert row[AVERAGE] == pytest.approx((62.5 + 100 + 0) / 3)
    assert row["Defect Analysis"] is None  # no question: null, not 0


def test_average_row_weighs_datasets_equally_whatever_their_size() -> None:
    large = [record("A", subtask=DEFECT, image=str(index)) for index in range(9)]
    small = [record("B", subtask=DEFECT, dataset="GoodsAD")]
    result = accuracy([*large, *small], "strict")
    assert result.macro == 50.0
    assert result.micro == 90.0


@pytest.mark.parametrize("accounting", ["strict", "compat"])
def test_no_question_at_all_gives_no_number(accounting: Accounting) -> None:
    result = accuracy([], accounting)
    assert result.table == {} and result.macro is None and result.micro is None


def test_strict_detection_without_normals_is_the_accuracy_that_exists() -> None:
    records = [record("A"), record("B", image="2")]
    row = accuracy(records, "strict").table["VisA"]
    assert row[ANOMALY_DETECTION] == 50.0
    assert row[OVERKILL] is None
    # MMAD scores the missing half as 0
    assert accuracy(records, "compat").table["VisA"][ANOMALY_DETECTION] == 25.0


@pytest.mark.parametrize(
    ("answers", "counted", "strict", "compat"),
    [
        # all readable: the two agree
        (["A", "B", "A", "A"], [1, 1, 1, 1], 75.0, 75.0),
        # the unreadable record goes, and the wrong one after it is never looked at
        (["A", None, "B", "A"], [1, 0, 0, 1], 50.0, 100.0),
        # ... and so is a right one
        (["B", None, "A", "B"], [1, 0, 0, 1], 25.0, 0.0),
        # two in a row: the first goes, the second is stepped over and stays in the list
        (["A", None, None, "B"], [1, 0, 0, 1], 25.0, 50.0),
        # three in a row: the third is looked at again
        (["A", None, None, None], [1, 0, 0, 0], 25.0, 100.0),
        # the last one takes nothing with it
        (["A", "B", "A", None], [1, 1, 1, 0], 50.0, 200 / 3),
        # a letter that MMAD does not know is no answer
        (["A", "F", "B", "A"], [1, 0, 0, 1], 50.0, 100.0),
        # refusing everything: 0 either way
        ([None, None, None, None], [0, 0, 0, 0], 0.0, 0.0),
    ],
)
def test_unreadable_answers(
    answers: list[str | None], counted: list[int], strict: float, compat: float
) -> None:
    records = [record(answer, subtask=OBJECT) for answer in answers]
    assert counted_by_mmad(records) == [bool(value) for value in counted]
    assert accuracy(records, "strict").macro == pytest.approx(strict)
    assert accuracy(records, "compat").macro == pytest.approx(compat)


def test_empty_cell_is_null_in_both_but_counts_as_zero_in_compat_averages() -> None:
    records = [
        record("A", subtask=DEFECT),
        record("A", subtask=OBJECT),
        record("A", subtask=DEFECT, dataset="GoodsAD"),  # GoodsAD has no Object Analysis question
    ]
    strict, compat = (accuracy(records, name).table for name in ("strict", "compat"))
    assert strict["GoodsAD"][OBJECT] is None and compat["GoodsAD"][OBJECT] is None
    assert strict["GoodsAD"][AVERAGE] == 100.0
    assert compat["GoodsAD"][AVERAGE] == 50.0
    assert compat[AVERAGE][OBJECT] == 50.0


def test_question_without_gold_is_left_out_of_strict() -> None:
    records = [record("A", gold=None), record("A", image="2")]
    assert accuracy(records, "strict").macro == 100.0


def test_intervals_contain_the_value_and_need_two_images() -> None:
    records = [
        record("A" if index % 3 else "B", subtask=DEFECT, image=str(index)) for index in range(60)
    ]
    result = accuracy(records, "strict")
    assert result.macro_interval is not None and result.macro is not None
    low, high = result.macro_interval
    assert low < result.macro < high
    # sqrt(p q / n) * 1.96 = 11.9 for p = 2/3, n = 60
    assert 2 * 10 < high - low < 2 * 14
    assert accuracy(records[:1], "strict").macro_interval is None
    assert accuracy(records, "strict").macro_interval == result.macro_interval  # seeded


def test_images_are_drawn_not_questions() -> None:
    """Five equal answers an image are worth one, so the interval is that of 20 draws, not 100."""
    records = [
        record("A" if image % 2 else "B", subtask=DEFECT, image=str(image))
        for image in range(20)
        for _ in range(5)
    ]
    ends = accuracy(records, "strict").micro_interval
    assert ends is not None and ends[1] - ends[0] > 35  # 100 independent answers would give 20


def mmad_walk(records: Sequence[ChoiceRecord]) -> dict[str, dict[str, float]]:
    """The benchmark's accounting, walked literally: a list that shrinks under its own iterator."""
    walked = list(enumerate(records))
    right: dict[tuple[str, str], list[bool]] = {}
    for index, entry in walked:
        if entry.gold not in list("ABCDE") or entry.answer not in list("ABCDE"):
            walked.remove((index, entry))
            continue
        cell = entry.subtask
        if cell == ANOMALY_DETECTION:
            cell = "normal" if "good" in entry.image else "anomalous"
        right.setdefault((entry.dataset, cell), []).append(entry.answer == entry.gold)

    def share(dataset: str, cell: str) -> float:
        answers = right.get((dataset, cell), [])
        return 100 * sum(answers) / len(answers) if answers else 0.0

    asked = {entry.subtask for entry in records}
    table: dict[str, dict[str, float]] = {}
    for dataset in dict.fromkeys(entry.dataset for entry in records):
        row = {name: share(dataset, name) for name in SUBTASKS if name in asked}
        if ANOMALY_DETECTION in asked:
            halves = share(dataset, "normal"), share(dataset, "anomalous")
            row[ANOMALY_DETECTION] = sum(halves) / 2
        table[dataset] = {**row, AVERAGE: sum(row.values()) / len(row)}
    columns = next(iter(table.values()))
    table[AVERAGE] = {
        name: float(np.mean([row[name] for row in table.values()])) for name in columns
    }
    return table


@pytest.mark.parametrize("seed", range(20))
def test_compat_equals_a_literal_walk(seed: int) -> None:
    chance = random.Random(seed)
    records = [
        record(
            chance.choice(["A", "B", "C", None]),
            gold=chance.choice("AB"),
            subtask=chance.choice(SUBTASKS[: 2 + seed % 6]),
            dataset=chance.choice(["VisA", "GoodsAD", "DS-MVTec"]),
            normal=chance.random() < 0.5,
            image=str(chance.randrange(10)),
        )
        for _ in range(chance.randrange(1, 90))
    ]
    table = accuracy(records, "compat", resamples=2).table
    expected = mmad_walk(records)
    for dataset, row in expected.items():
        for name, value in row.items():
            shown = table[dataset][name]
            assert shown == pytest.approx(value) or (shown is None and value == 0)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test for each published table; one, which will skip, where there is none."""
    if "table" in metafunc.fixturenames:
        tables = published_tables(real_data_folder(metafunc.config) / "mmad")
        metafunc.parametrize("table", tables or [None], ids=lambda table: table and table.name)


def test_published_tables_are_reproduced(
    table: PublishedTable, real_data: Callable[[str], Path]
) -> None:
    """All 22 models: the counts that give a model's cells give its averages too."""
    real_data("mmad")
    records, uncounted = synthesize(table)
    assert len(records) == 39_672
    result = accuracy(records, "compat", resamples=2)
    for dataset, row in table.cells.items():
        for name in (*SUBTASKS, AVERAGE):
            assert result.table[dataset][name] == pytest.approx(row[name], abs=1e-9)
        assert result.table[dataset][MISS] == pytest.approx(100 - row["Recall"], abs=1e-9)
        if OVERKILL in row:
            assert result.table[dataset][OVERKILL] == pytest.approx(row[OVERKILL], abs=1e-9)
            assert result.table[dataset][MISS] == pytest.approx(row[MISS], abs=1e-9)
    strict = accuracy(records, "strict", resamples=2)
    if uncounted == 0:
        assert strict.table == result.table
    else:  # unreadable answers only ever lower a strict score below the published one
        assert strict.macro is not None and result.macro is not None
        assert strict.macro < result.macro


def test_macro_and_micro_differ_and_are_both_named(real_data: Callable[[str], Path]) -> None:
    table = next(t for t in published_tables(real_data("mmad")) if "Qwen2.5-VL-7B" in t.name)
    result = accuracy(synthesize(table)[0], "strict", resamples=2)
    assert result.macro == pytest.approx(72.19, abs=0.005)
    assert result.micro == pytest.approx(71.93, abs=0.005)
