"""Resampling images: exact where it can be, and of the width that theory gives."""

from __future__ import annotations

import numpy as np
import pytest

from anomalyr1.metrics.bootstrap import interval, mean_interval, resample_sums


def test_sums_equal_drawing_one_by_one() -> None:
    values = np.arange(12.0).reshape(4, 3)
    drawn = np.random.default_rng(7).integers(4, size=(5, 4))
    expected = np.array([values[rows].sum(axis=0) for rows in drawn])
    assert resample_sums(values, resamples=5, seed=7).tolist() == expected.tolist()


def test_chunks_change_nothing_but_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).random((50, 2))
    whole = resample_sums(values, resamples=40)
    monkeypatch.setattr("anomalyr1.metrics.bootstrap._CHUNK_DRAWS", 130)
    assert np.allclose(resample_sums(values, resamples=40), whole)


def test_no_image_sums_to_zero() -> None:
    assert resample_sums(np.zeros((0, 2)), resamples=3).tolist() == [[0.0, 0.0]] * 3


def test_width_is_that_of_the_normal_approximation() -> None:
    values = (np.arange(400) % 4 == 0).astype(float)  # p = 0.25, standard error 0.02165
    ends = mean_interval(values)
    assert ends is not None
    assert ends[1] - ends[0] == pytest.approx(2 * 1.96 * 0.02165, rel=0.1)


def test_resamples_without_a_value_are_left_out() -> None:
    estimates = np.array([[1.0, np.nan], [3.0, np.nan], [np.nan, np.nan]])
    ends = interval(estimates, level=1.0)
    assert ends[:, 0].tolist() == [1.0, 3.0]
    assert np.isnan(ends[:, 1]).all()


def test_one_image_has_no_interval() -> None:
    assert mean_interval(np.array([0.3])) is None
