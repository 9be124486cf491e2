"""What is asked of a batch of questions, whoever answers: each once, or oftener.

A question may have several completions, of which the majority is its answer (`evaluation.voting`),
and further askings, whose answers are held against the first one's
(`evaluation.further_askings`). All of it goes out in at most two rounds, because a reasoning can
only be given once it is there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from anomalyr1.config import EvalConfig
from anomalyr1.data.seeding import digest
from anomalyr1.evaluation.backends.answering import prediction_of
from anomalyr1.evaluation.further_askings import Further, begun_turn, further_askings
from anomalyr1.evaluation.voting import elect
from anomalyr1.policy.family import Family
from anomalyr1.refusals import special_tokens
from anomalyr1.rows import Row
from anomalyr1.schema import Prediction

_SEEDS = 2**31  # servers take no larger ones


class Turn(NamedTuple):
    """A completion that is wanted.

    Attributes:
        place: of its prompt among those of the batch.
        row: its prompt.
        said: what the policy's turn begins with.
        seed: drawn from it at `eval.temperature`; None decodes greedily.
    """

    place: int
    row: Row
    said: str = ""
    seed: int | None = None


# The completions of some turns, in their order: a `text` and its `ids`, or None, each.
Complete = Callable[[Sequence[Turn]], Sequence[Any]]


class _Poll(NamedTuple):
    """What came of a prompt: the completion that stands for all, and all of them if several."""

    said: str
    answer: Any
    drawn: tuple[str, ...] | None
    share: float | None


@dataclass(frozen=True)
class Batch:
    """Questions that are asked together.

    Attributes:
        rows: their prompts, places 0 and on.
        further: (place of the question, further asking), whose places follow.
        options: of the evaluation.
        seed: of what is drawn.
        special_tokens: of the policy; a reasoning that writes one out is not given back.
    """

    rows: Sequence[Row]
    further: Sequence[tuple[int, Further]]
    options: EvalConfig
    seed: int
    special_tokens: tuple[str, ...]

    @classmethod
    def of(
        cls, rows: Sequence[Row], options: EvalConfig, seed: int, processor: Any, family: Family
    ) -> Batch:
        """With the further askings that the evaluation wants."""
        further = [
            (place, asking)
            for place, row in enumerate(rows)
            for asking in further_askings(row, options.consistency, processor, family)
        ]
        return cls(rows, further, options, seed, special_tokens(processor.tokenizer))

    def predictions(self, complete: Complete) -> list[Prediction]:
        """The answers to the questions, in their order.

        Args:
            complete: whoever answers; called once or twice.
        """
        told = dict.fromkeys(range(len(self.rows)), "")
        told |= {
            len(self.rows) + number: ""
            for number, (_, asking) in enumerate(self.further)
            if asking.kind != "asked_again"
        }
        polls = self._poll(told, complete)
        given: dict[int, str] = {}
        for number, (owner, asking) in enumerate(self.further):
            if asking.kind == "asked_again":
                said = begun_turn(
                    polls[owner].answer.text, self.rows[owner].question, self.special_tokens
                )
                if said is not None:
                    given[len(self.rows) + number] = said
        if given:
            polls |= self._poll(given, complete)
        return [self._prediction(place, polls) for place in range(len(self.rows))]

    def _poll(self, said: dict[int, str], complete: Complete) -> dict[int, _Poll]:
        """Ask some of the prompts, by place; the prompts of an image after each other."""
        votes = self.options.votes
        places = sorted(said, key=self._owner)
        turns = [
            Turn(place, self._row(place), said[place], self._seed(place, vote))
            for place in places
            for vote in range(votes)
        ]
        answers = complete(turns)
        polls = {}
        for number, place in enumerate(places):
            drawn = answers[number * votes : (number + 1) * votes]
            texts = tuple(said[place] + answer.text for answer in drawn)
            elected = elect(texts, self._row(place).question) if votes > 1 else None
            polls[place] = _Poll(
                said[place],
                drawn[elected.place if elected else 0],
                texts if elected else None,
                elected.share if elected else None,
            )
        return polls

    def _prediction(self, place: int, polls: dict[int, _Poll]) -> Prediction:
        poll = polls[place]
        asked = tuple(
            asking.answered(polls[at].said, polls[at].answer.text)
            for at, (owner, asking) in enumerate(self.further, start=len(self.rows))
            if owner == place and at in polls
        )
        return replace(
            prediction_of(self.rows[place], poll.answer),
            drawn=poll.drawn,
            vote_share=poll.share,
            askings=asked if self.options.consistency.asked else None,
        )

    def _row(self, place: int) -> Row:
        first = len(self.rows)
        return self.rows[place] if place < first else self.further[place - first][1].row

    def _owner(self, place: int) -> int:
        first = len(self.rows)
        return place if place < first else self.further[place - first][0]

    def _seed(self, place: int, vote: int) -> int | None:
        """Of one completion, by what it answers alone; None where nothing is drawn."""
        if not self.options.temperature:
            return None
        first = len(self.rows)
        asking = self.further[place - first][1] if place >= first else None
        named = (asking.kind, asking.number) if asking else ()
        return digest(self.seed, self._row(place).sample_id, *named, vote) % _SEEDS
