"""How a question is asked once more, to see whether its verdict stays the same.

Each further asking begins as the first one does, up to the end of its images, so that what they
share is computed once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from transformers import ProcessorMixin

from anomalyr1.config import ConsistencyConfig
from anomalyr1.data.shuffling import movable_options, shift_options, shuffle_otherwise
from anomalyr1.evaluation.rewordings import rewordings
from anomalyr1.parsing import parse_response
from anomalyr1.parsing.tags import answer_opener
from anomalyr1.parsing.uncommitted import without_letters
from anomalyr1.policy.family import Family
from anomalyr1.prompts import special_tokens_in
from anomalyr1.rows import Row, ask_otherwise
from anomalyr1.schema import Again, FurtherAsking, Question


@dataclass(frozen=True)
class Further:
    """An asking to come; the fields are those of `schema.FurtherAsking`, `row` shows it."""

    kind: Again
    number: int
    row: Row
    suggested: str | None = None

    def answered(self, said: str, completion: str) -> FurtherAsking:
        """With what came of it."""
        question = self.row.question
        return FurtherAsking(
            kind=self.kind,
            number=self.number,
            question=question.text,
            options=question.options,
            completion=completion,
            said=said,
            suggested=self.suggested,
        )


def further_askings(
    row: Row, consistency: ConsistencyConfig, processor: ProcessorMixin, family: Family
) -> list[Further]:
    """The further askings of a row; none of a grounding question.

    Left out is what would not ask the same: options that may not move, or that do not answer
    another wording.
    """
    if row.question.is_grounding or not consistency.asked:
        return []
    asked = list(_questions(row, consistency))
    rows = ask_otherwise(row, [question for *_, question in asked], processor, family)
    return [
        Further(kind, number, shown, suggested)
        for (kind, number, suggested, _), shown in zip(asked, rows, strict=True)
    ]


def begun_turn(completion: str, question: Question, special_tokens: Sequence[str]) -> str | None:
    r"""The policy's own reasoning as the beginning of its turn, which it is left to end.

    Sentences that commit to a letter are taken out: with the options in another order they would
    speak of other ones. The policy is then left to conclude, as it did; where there is no such
    sentence, to answer. None where nothing is left, or where a special token is written out.

    >>> question = Question("Any defect?", "Anomaly Detection", {"A": "No.", "B": "Yes."})
    >>> text = "<think>A dent is visible. So the answer is B.</think><answer>B</answer>"
    >>> begun_turn(text, question, [])
    '<think>A dent is visible.'
    >>> begun_turn(text.replace("So the answer is B.", ""), question, [])
    '<think>A dent is visible.</think>\n<answer>'
    """
    reasoning = parse_response(completion, question).reasoning or ""
    given = without_letters(reasoning, question.options)
    if not any(map(str.isalnum, given)) or special_tokens_in(given, special_tokens):
        return None
    thought = f"<think>{given}"
    concluded = given.split() != reasoning.split()
    return thought if concluded else thought + answer_opener(thought)


def _questions(
    row: Row, consistency: ConsistencyConfig
) -> Iterator[tuple[Again, int, str | None, Question]]:
    """Kind, number, the letter of what is suggested, and the question as it is shown."""
    question = row.question
    shifts = movable_options(question) - 1
    if consistency.shifted != "all":
        shifts = min(shifts, consistency.shifted)
    for by in range(1, shifts + 1):
        yield "shifted", by, None, shift_options(question, by)
    if consistency.reworded:
        for wording in rewordings(question, row.sample_id):
            yield "reworded", wording.number, wording.suggested, wording.of(question)
    shuffled = shuffle_otherwise(question, row.sample_id) if consistency.asked_again else None
    if shuffled is not None:
        yield "asked_again", 1, None, shuffled
