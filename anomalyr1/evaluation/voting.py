"""One answer out of several completions of a question: the verdict that most of them give.

Self-consistency: Wang et al., "Self-Consistency Improves Chain of Thought Reasoning in Language
Models" (ICLR 2023).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from anomalyr1.parsing import parse_response
from anomalyr1.schema import Question


class Election(NamedTuple):
    """Which completion stands for all, by its place, and the winner's share of the votes.

    Where no completion could be read nobody votes: the first stands for all, `share` is None.
    """

    place: int
    share: float | None


def elect(completions: Sequence[str], question: Question) -> Election:
    """The first completion that gives the verdict which most of them give.

    A verdict is a letter; of a grounding question it is whether there is a defect. An unreadable
    completion does not vote. Of verdicts with equally many votes the one that was drawn first wins.

    >>> question = Question("Any defect?", "Anomaly Detection", {"A": "No.", "B": "Yes."})
    >>> elect(["A", "what?", "B", "B"], question)
    Election(place=2, share=0.6666666666666666)
    >>> elect(["B", "A"], question).place, elect(["what?"], question)
    (0, Election(place=0, share=None))
    """
    verdicts = [_verdict(completion, question) for completion in completions]
    votes = Counter(verdict for verdict in verdicts if verdict is not None)
    if not votes:
        return Election(0, None)
    [(winner, count)] = votes.most_common(1)  # of equals, the first that came
    return Election(verdicts.index(winner), count / votes.total())


def _verdict(completion: str, question: Question) -> str | None:
    response = parse_response(completion, question)
    if not question.is_grounding:
        return response.answer
    return None if response.boxes is None else "abnormal" if response.boxes else "normal"
