"""What the figures of an accuracy table rest on: by hand, and by loops over images."""

from __future__ import annotations

import numpy as np
import pytest

from anomalyr1.metrics.mcq import COLUMNS, DETECTION, MISS, OVERKILL
from anomalyr1.metrics.rare_shares import FEW, wilson
from anomalyr1.metrics.table_intervals import FEW_OVER_SUBTASKS, table_trials

AVERAGE = COLUMNS.index("Average")


def test_by_hand():
    """30 normal and 20 anomalous images; the second subtask is asked of 40, the others of none."""
    counted = np.zeros((50, 8))
    counted[:30, 0] = counted[30:, 1] = counted[:40, 2] = 1
    one = table_trials([counted], [counted])
    halves = 4 / (1 / 30 + 1 / 20)
    average = 4 / (halves**-0.5 + 40**-0.5) ** 2  # one image is answered wholly alike
    expected = [halves, 40, 0, 0, 0, 0, 0, average, 30, 20]
    assert one.least == pytest.approx(np.array([expected, expected]))
    assert one.images[0].tolist() == [50, 40, 0, 0, 0, 0, 0, 50, 30, 20]
    # Datasets are independent: two of them are worth twice as much as one.
    two = table_trials([counted] * 2, [counted] * 2)
    assert two.least[-1] == pytest.approx(2 * np.array(expected))
    assert two.images[-1].tolist() == (2 * one.images[0]).tolist()


def test_rare_is_by_images_that_lost_or_won_something_in_what_a_column_is_made_of():
    rng = np.random.default_rng(0)
    cells = {"Average": range(8), OVERKILL: [0], MISS: [1], COLUMNS[0]: range(8)[DETECTION]}
    cells |= {COLUMNS[number]: [number + 1] for number in range(1, 7)}
    for share in np.linspace(0, 0.5, 40):
        counted = [rng.integers(0, 3, (n, 8)).astype(float) for n in (14, 25)]
        correct = [
            np.floor(part * rng.choice([0.9, 1], part.shape, p=[share, 1 - share]))
            for part in counted
        ]
        found = table_trials(correct, counted)
        for column, name in enumerate(COLUMNS):
            few = []
            for right, asked in zip(correct, counted, strict=True):
                images = list(zip(right, asked, strict=True))
                lost = sum(any(r[c] < a[c] for c in cells[name]) for r, a in images)
                won = sum(any(r[c] > 0 for c in cells[name]) for r, a in images)
                few.append((lost, won))
            few.append(tuple(map(sum, zip(*few, strict=True))))
            least = FEW_OVER_SUBTASKS if name == "Average" else FEW
            assert found.rare[:, column].tolist() == [min(pair) < least for pair in few], name


def test_a_perfect_table_is_worth_its_images_and_another_what_its_resamples_vary_by():
    counted = np.ones((400, 8))
    perfect = table_trials([counted], [counted])
    table = np.full((2, len(COLUMNS)), 100.0)
    low, high = perfect.ends(table, np.zeros_like(table))
    assert high == pytest.approx(table)
    assert low == pytest.approx(wilson(table, perfect.least)[0])
    half = table_trials([counted * (np.arange(400) % 2)[:, None]], [counted])
    low, high = half.ends(table / 2, np.full_like(table, 2500 / 400))
    assert low[0, AVERAGE] == pytest.approx(wilson(np.array(50.0), np.array(400))[0], abs=0.05)
    pooled = half.pooled_ends(50.0, 2500 / 400)
    assert pooled == pytest.approx((low[0, AVERAGE], high[0, AVERAGE]))
