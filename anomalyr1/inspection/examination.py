"""One batch of an inspection: images of one product, every question of each, answered together."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from anomalyr1.data.image_sources import ImageSource
from anomalyr1.inspection.asks import Ask
from anomalyr1.inspection.inspection_settings import inspection_card
from anomalyr1.inspection.product import Product, Shown, open_shown
from anomalyr1.inspection.result import DecidedBy, Inspection, Verdict
from anomalyr1.parsing import parse_response
from anomalyr1.parsing.letter_likelihood import LetterLikelihood, anomaly_probability
from anomalyr1.parsing.verdict_letters import verdict_letters
from anomalyr1.policy.generate import complete_asked
from anomalyr1.policy.likelihood import letter_likelihoods
from anomalyr1.policy.prepared import Messages, prepare_conversations
from anomalyr1.policy.resizing import model_frame
from anomalyr1.prompts import build_messages
from anomalyr1.schema import Box, Response, Sample
from anomalyr1.segmentation.segmenter import segment

if TYPE_CHECKING:
    from anomalyr1.inspection.inspector import Inspector

# Kinds of questions that presuppose a defect, and what their answer is called.
_PRESUPPOSING = {"type": "defect_type", "description": "description"}


class Said(NamedTuple):
    """What the policy wrote to one question, as read, and how likely it found each letter."""

    completion: str
    response: Response
    likelihood: LetterLikelihood | None


class Decision(NamedTuple):
    """A verdict, what it follows, and P(anomalous) after reasoning and at once."""

    verdict: Verdict | None
    by: DecidedBy | None
    probability: float | None
    at_once: float | None


class Examination:
    """Images of one product and what is asked of each.

    The questions of an image are rows of one batch; those that presuppose a defect are answered
    only where one was found, from the same computation of their image.
    """

    def __init__(
        self,
        inspector: Inspector,
        asks: Sequence[Ask],
        product: Product,
        images: Sequence[ImageSource | Shown],
    ) -> None:
        self._started = time.perf_counter()
        self.inspector, self.asks, self.product = inspector, asks, product
        shown = [open_shown(image, inspector.policy.processor) for image in images]
        self.images, self.names = [s.image for s in shown], [s.name for s in shown]
        self._rows = [(i, k) for i in range(len(images)) for k in range(len(asks))]
        self._said: dict[tuple[int, int], Said] = {}
        self._asked = prepare_conversations(
            inspector.policy,
            [self._conversation(i, asks[k]) for i, k in self._rows],
            [[*product.references, self.images[i]] for i, _ in self._rows],
            share=inspector.config.shared_prefix,
            references=len(product.references),
            kept=inspector.kept,
        )

    def run(self, on_text: Callable[[str], None] | None = None) -> list[Inspection]:
        """Ask everything, and make an inspection of each image.

        Args:
            on_text: called with what is written to the first question of the first image, which
                then goes ahead alone.
        """
        at_once = self._at_once()
        if on_text is not None:
            self._answer([(0, 0)], on_text)
        self._answer([row for row in self._rows if not self._presupposes(row)])
        decisions = [self._decide(i, at_once[i]) for i in range(len(self.images))]
        found = {i for i, decision in enumerate(decisions) if decision.verdict != "normal"}
        self._answer([row for row in self._rows if row[0] in found and self._presupposes(row)])
        card = self._card()
        made = [self._inspection(i, decision, card) for i, decision in enumerate(decisions)]
        seconds = (time.perf_counter() - self._started) / len(made)
        return [Inspection(**fields, seconds=seconds) for fields in made]

    def probabilities(self) -> list[float | None]:
        """P(anomalous) alone, of the likelihood that the inspector weighs."""
        if self.inspector.weigh == "at_once":
            return self._at_once()
        self._answer([row for row in self._rows if row[1] == 0])
        question = self.asks[0].question
        said = (self._said[i, 0].likelihood for i in range(len(self.images)))
        return [anomaly_probability(likelihood, question) for likelihood in said]

    def _conversation(self, image: int, ask: Ask) -> Messages:
        return build_messages(
            Sample(self.names[image] or "image", Path(), (ask.question,)),
            ask.question,
            ask.template,
            references=len(self.product.references),
            knowledge=self.product.knowledge,
            unit=self.inspector.policy.family.unit or "pixels",
        )

    def _presupposes(self, row: tuple[int, int]) -> bool:
        return self.asks[row[1]].kind in _PRESUPPOSING

    def _at_once(self) -> list[float | None]:
        question = self.asks[0].question
        deciding = [place for place, (_, number) in enumerate(self._rows) if number == 0]
        found = letter_likelihoods(self._asked, [question] * len(deciding), rows=deciding)
        return [anomaly_probability(likelihood, question) for likelihood in found]

    def _answer(
        self, rows: Sequence[tuple[int, int]], on_text: Callable[[str], None] | None = None
    ) -> None:
        """Write the answers of these rows that are not written yet, and weigh their letters."""
        rows = [row for row in rows if row not in self._said]
        places = [self._rows.index(row) for row in rows]
        questions = [self.asks[number].question for _, number in rows]
        completions = complete_asked(
            self._asked, places, max_new_tokens=self.inspector.max_new_tokens, on_text=on_text
        )
        likelihoods = letter_likelihoods(self._asked, questions, completions, places)
        for row, question, completion, likelihood in zip(
            rows, questions, completions, likelihoods, strict=True
        ):
            response = parse_response(completion.text, question)
            self._said[row] = Said(completion.text, response, likelihood)

    def _decide(self, image: int, at_once: float | None) -> Decision:
        said, threshold = self._said[image, 0], self.inspector.threshold
        meant = verdict_letters(self.asks[0].question)
        reasoned = anomaly_probability(said.likelihood, self.asks[0].question)
        probability = at_once if self.inspector.weigh == "at_once" else reasoned
        if meant is None or probability is None:
            return Decision(None, None, None, None)
        written = meant.get(said.response.answer or "")
        by: DecidedBy = "likelihood"
        anomalous = probability >= 0.5
        if threshold is not None:
            by, anomalous = "threshold", probability >= threshold
        elif written is not None:
            by, anomalous = "answer", written == "abnormal"
        return Decision("anomalous" if anomalous else "normal", by, reasoned, at_once)

    def _inspection(
        self, image: int, decision: Decision, card: Mapping[str, Any]
    ) -> dict[str, Any]:
        said = self._said[image, 0]
        boxes = self._boxes(image)
        mask = None
        if boxes is not None and self.inspector.segmenter is not None:
            mask = segment(self.inspector.segmenter, np.asarray(self.images[image]), boxes)
        chosen: dict[str, Any] = {}
        for number, ask in enumerate(self.asks):
            if ask.kind in _PRESUPPOSING and (image, number) in self._said:
                name = _PRESUPPOSING[ask.kind]
                chosen[name], chosen[f"{name}s"] = self._choice(image, number)
        return {
            "image": self.images[image],
            "name": self.names[image],
            "question": self.asks[0].question,
            "verdict": decision.verdict,
            "probability": decision.probability,
            "probability_at_once": decision.at_once,
            "threshold": None if decision.verdict is None else self.inspector.threshold,
            "decided_by": decision.by,
            "answer": said.response.answer,
            "letters": {} if said.likelihood is None else said.likelihood.probabilities,
            "boxes": boxes,
            "mask": mask,
            "reasoning": said.response.reasoning,
            "completion": said.completion,
            "well_formed": said.response.well_formed,
            "settings": card,
            **chosen,
        }

    def _boxes(self, image: int) -> tuple[Box, ...] | None:
        """In pixels of the image; from the question for boxes, else from the one that decides."""
        number = next((k for k, ask in enumerate(self.asks) if ask.kind == "boxes"), 0)
        stated = self._said[image, number].response.boxes
        if self.asks[number].template == "choice" or stated is None:
            return None
        policy = self.inspector.policy
        frame = model_frame(*self.images[image].size, policy.processor, policy.family)
        return None if frame is None else tuple(frame.to_original(box) for box in stated)

    def _choice(self, image: int, number: int) -> tuple[str, dict[str, float]]:
        """What was chosen, in words, and the probability of each; unread, the likeliest."""
        said, options = self._said[image, number], self.asks[number].question.options
        assert said.likelihood is not None, "a choice has letters"
        shares = said.likelihood.probabilities
        chosen = said.response.answer or said.likelihood.best
        return options[chosen], {text: shares[letter] for letter, text in options.items()}

    def _card(self) -> dict[str, Any]:
        processor: Any = self.inspector.policy.processor
        conversation = self._conversation(0, self.asks[0])
        return inspection_card(
            self.inspector.settings,
            self.asks,
            processor.apply_chat_template(conversation, tokenize=False, add_generation_prompt=True),
            references=self.product.record,
            knowledge=self.product.knowledge,
            max_new_tokens=self.inspector.max_new_tokens,
            weigh=self.inspector.weigh,
            segmenter=self.inspector.segmenter,
        )
