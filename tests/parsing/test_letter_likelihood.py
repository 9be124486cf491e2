"""Probabilities among the options, and of a defect among those that mean a verdict."""

import math

import pytest

from anomalyr1.parsing.letter_likelihood import LetterLikelihood, anomaly_probability
from anomalyr1.schema import Question


def test_a_verdict_needs_letters_that_mean_one():
    found = LetterLikelihood({"A": math.log(0.2), "B": math.log(0.05), "C": math.log(0.6)})
    third = Question("Any defect?", "Anomaly Detection", {"A": "Yes.", "B": "No.", "C": "Unsure."})
    other = Question("Which?", "Object Classification", {"A": "Yes.", "B": "No.", "C": "Cap."})
    assert anomaly_probability(found, third) == pytest.approx(0.8)
    assert anomaly_probability(found, other) is None
    assert anomaly_probability(None, third) is None
    assert found.best == "C" and sum(found.probabilities.values()) == pytest.approx(1)
    far = LetterLikelihood({"A": -2000.0, "B": -1000.0})
    assert far.probabilities == {"A": 0.0, "B": 1.0}
