"""What a policy thinks of the options of a question, and from that how likely a defect is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from anomalyr1.parsing.verdict_letters import verdict_letters
from anomalyr1.schema import Question


@dataclass(frozen=True)
class LetterLikelihood:
    """What a policy thinks of the options at the place where it answers.

    Attributes:
        logps: letter -> natural logarithm of the probability that the policy goes on with it, in
            the tokens that `letter_tokens` names; over the whole vocabulary, so that those of all
            options sum to less than one.
        forced: the completion had opened no answer; one was opened for it.
    """

    logps: Mapping[str, float]
    forced: bool = False

    @property
    def probabilities(self) -> dict[str, float]:
        """The same among the options alone: letter -> probability, their sum 1.

        >>> LetterLikelihood({"A": -1.0, "B": -1.0}).probabilities
        {'A': 0.5, 'B': 0.5}
        """
        top = max(self.logps.values())
        weights = {letter: math.exp(logp - top) for letter, logp in self.logps.items()}
        total = sum(weights.values())
        return {letter: weight / total for letter, weight in weights.items()}

    @property
    def best(self) -> str:
        """The likeliest letter; of equally likely ones the first."""
        return max(self.logps, key=self.logps.__getitem__)


def anomaly_probability(likelihood: LetterLikelihood | None, question: Question) -> float | None:
    """P(anomalous): the share of the letters that mean a defect among those that mean a verdict.

    None where the question is none of normal or anomalous (`parsing.verdict_letters`).

    >>> question = Question("Any defect?", "Anomaly Detection", {"A": "No.", "B": "Yes."})
    >>> round(anomaly_probability(LetterLikelihood({"A": -2.0, "B": -1.0}), question), 3)
    0.731
    """
    said = verdict_letters(question)
    if said is None or likelihood is None:
        return None
    verdicts = LetterLikelihood({letter: likelihood.logps[letter] for letter in said})
    return sum(p for letter, p in verdicts.probabilities.items() if said[letter] == "abnormal")
