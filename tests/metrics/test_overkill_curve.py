"""Overkill against miss, against counting the alarms of every threshold, and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_curve

from anomalyr1.metrics.operating_point import operating_point
from anomalyr1.metrics.overkill_curve import operating_points, overkill_curve
from anomalyr1.metrics.score_curves import Scored, score_measures


def counted(scores, anomalous, threshold):
    alarms = scores >= (np.inf if threshold is None else threshold)
    return 100 * alarms[~anomalous].mean(), 100 * (~alarms[anomalous]).mean()


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.sampled_from(np.linspace(0, 1, 11)), st.booleans()), min_size=2),
)
def test_every_point_is_what_its_threshold_gives(case):
    scores, anomalous = (np.array(column) for column in zip(*case, strict=True))
    curve = overkill_curve(scores, anomalous)
    if anomalous.all() or not anomalous.any():
        assert curve is None
        assert operating_points(scores, anomalous, None) == {"even": None, "chosen": None}
        return
    # So few images are at least half a point apart: no threshold is left out.
    assert curve["threshold"] == [None, *sorted(set(scores), reverse=True)]
    alarms, caught, _ = roc_curve(anomalous, scores, drop_intermediate=False)
    assert curve["overkill"] == pytest.approx(100 * alarms)
    assert curve["miss"] == pytest.approx(100 * (1 - caught))
    for point in zip(curve["threshold"], curve["overkill"], curve["miss"], strict=True):
        assert point[1:] == pytest.approx(counted(scores, anomalous, point[0]))
    points = operating_points(scores, anomalous, None)
    even = points["even"]
    assert (even["overkill"], even["miss"]) == counted(scores, anomalous, 0.5)
    if points["chosen"] is not None:
        assert points["chosen"]["overkill"] <= 5
        ours = operating_point(scores, anomalous, overkill=0.05, resamples=2)
        assert points["chosen"]["threshold"] == ours.threshold
        assert points["chosen"]["miss"] == pytest.approx(100 * ours.miss)
    else:
        assert (scores[~anomalous] == 1).mean() > 0.05


def test_a_curve_of_many_images_is_short_and_keeps_its_shape():
    rng = np.random.default_rng(0)
    anomalous = np.arange(20_000) % 3 == 0
    scores = 1 / (1 + np.exp(-rng.normal(anomalous, 1)))
    curve = overkill_curve(scores, anomalous)
    assert 200 < len(curve["threshold"]) <= 402
    overkill, miss = np.array(curve["overkill"]), np.array(curve["miss"])
    assert (overkill[0], miss[0], overkill[-1], miss[-1]) == (0, 100, 100, 0)
    assert (np.diff(overkill) >= 0).all() and (np.diff(miss) <= 0).all()
    # The area under it is what AUROC leaves.
    pairs = enumerate(zip(scores, anomalous, strict=True))
    found = score_measures([Scored(str(i), "d", not a, float(s)) for i, (s, a) in pairs], 2)
    area = np.trapezoid(miss, overkill) / 100
    assert area == pytest.approx(100 - found["pooled"]["auroc"], abs=0.05)


def test_the_intervals_are_those_of_shares():
    """40 of 100 normal images above the threshold of 0.5, none of the anomalous below."""
    made = [Scored(f"n/{i}", "n", True, 0.9 if i < 40 else 0.1) for i in range(100)]
    made += [Scored(f"n/a{i}", "n", False, 0.95) for i in range(100)]
    found = score_measures(made, resamples=2000)["pooled"]["operating_points"]
    assert found["even"]["overkill"] == pytest.approx(40) and found["even"]["miss"] == 0
    assert found["even"]["intervals"]["overkill"] == pytest.approx([30.4, 49.6], abs=1.5)
    assert found["even"]["intervals"]["miss"] == pytest.approx([0, 3.70], abs=0.01)  # Wilson's
    assert found["chosen"]["threshold"] == pytest.approx(0.925)
    assert (found["chosen"]["overkill"], found["chosen"]["miss"]) == (0, 0)
