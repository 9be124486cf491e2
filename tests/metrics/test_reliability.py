"""The bins of a reliability diagram, against loops over every image."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomalyr1.metrics.reliability import BINS, bin_sums, calibration_error, reliability
from anomalyr1.metrics.score_curves import Scored, score_measures


def test_by_hand():
    """0.2 lies in the bin from 3/15, 1 in the last; 0.99 with it."""
    scores = np.array([0.0, 0.05, 0.2, 0.99, 1.0, 1.0])
    anomalous = np.array([False, True, True, True, True, False])
    sums = bin_sums(scores, anomalous, np.ones((1, 6), np.float32))
    found = reliability(scores, anomalous)
    assert [cell["images"] for cell in found] == [2, 0, 0, 1, *[0] * 10, 3]
    assert (found[0]["from"], found[0]["to"]) == (0, 1 / 15)
    assert found[0]["said"] == pytest.approx(2.5) and found[0]["anomalous"] == 50
    assert found[3]["said"] == pytest.approx(20) and found[3]["anomalous"] == 100
    assert found[14]["said"] == pytest.approx(299 / 3)
    assert found[14]["anomalous"] == pytest.approx(200 / 3)
    assert found[1]["said"] is found[1]["anomalous"] is found[1]["interval"] is None
    # |1 - 0.05| + |1 - 0.2| + |2 - 2.99|, over six images
    assert calibration_error(sums) == pytest.approx([(0.95 + 0.8 + 0.99) / 6], abs=1e-6)


@settings(max_examples=40)
@given(st.lists(st.tuples(st.floats(0, 1, width=16), st.booleans()), min_size=1, max_size=40))
def test_the_error_is_the_distance_of_the_bins_from_the_diagonal(case):
    scores, anomalous = (np.array(column) for column in zip(*case, strict=True))
    made = [Scored(f"d/{i}", "d", not a, float(s)) for i, (s, a) in enumerate(case)]
    found = score_measures(made, resamples=20)["pooled"]
    error = 0.0
    for number, cell in enumerate(found["reliability"]):
        inside = np.minimum((scores * BINS).astype(int), BINS - 1) == number
        assert cell["images"] == inside.sum()
        if not cell["images"]:
            continue
        assert cell["said"] == pytest.approx(100 * scores[inside].mean(), abs=1e-3)
        assert cell["anomalous"] == pytest.approx(100 * anomalous[inside].mean(), abs=1e-3)
        error += cell["images"] * abs(cell["said"] - cell["anomalous"]) / len(case)
        assert (cell["interval"] is None) == (cell["images"] < 2)
        if cell["interval"] is not None:
            low, high = cell["interval"]
            assert 0 <= low <= high <= 100
    assert sum(cell["images"] for cell in found["reliability"]) == len(case)
    assert found["ece"] == pytest.approx(error, abs=1e-3)


def test_the_interval_of_a_bin_is_that_of_its_share():
    """Half of 100 images in one bin are anomalous: 50 +- 1.96 * 5."""
    made = [Scored(f"d/{i}", "d", i % 2 == 0, 0.5) for i in range(100)]
    found = score_measures(made, resamples=2000)["pooled"]["reliability"][7]
    assert found["interval"] == pytest.approx([40.2, 59.8], abs=1.5)
