"""One batch of an inspection: images of one product, every question of each, answered together."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from anomalyr1.inspection.asks import Ask
from anomalyr1.inspection.product import Product
from anomalyr1.inspection.result import DecidedBy, Inspection, Verdict
from anomalyr1.inspection.settings_card import settings_card
from anomalyr1.parsing import parse_response
from anomalyr1.parsing.verdict_letters import verdict_letters
from anomalyr1.policy.asking import KeptReferences, prepare_conversations
from anomalyr1.policy.generate import Completion, complete_asked
from anomalyr1.policy.likelihood import (
    LetterLikelihood,
    anomaly_probability,
    letter_likelihoods,
)
from anomalyr1.policy.resizing import model_frame
from anomalyr1.prompts import build_messages
from anomalyr1.schema import Box, Question, Response, Sample

if TYPE_CHECKING:
    from anomalyr1.inspection.inspector import Inspector

_PRESUPPOSING = ("type", "description")


@dataclass
class Examination:
    """Images of one product and what is asked of each.

    The questions of an image are rows of one batch; those that presuppose a defect are answered
    only where one was found, from the same computation of their image.
    """

    inspector: Inspector
    asks: Sequence[Ask]
    product: Product
    images: Sequence[Image.Image]
    names: Sequence[str | None]
    kept: KeptReferences
    _said: dict[tuple[int, int], tuple[Completion, LetterLikelihood | None]] = field(
        default_factory=dict
    )

    def run(self, on_text: Callable[[str], None] | None = None) -> list[Inspection]:
        """Ask everything, and make an inspection of each image."""
        started = time.perf_counter()
        rows = [(i, k) for i in range(len(self.images)) for k in range(len(self.asks))]
        conversations = [self._conversation(i, self.asks[k]) for i, k in rows]
        shown = self.product.references
        asked = prepare_conversations(
            self.inspector.policy,
            conversations,
            [[*shown, self.images[i]] for i, _ in rows],
            share=self.inspector.config.shared_prefix,
            references=len(shown),
            kept=self.kept,
        )
        places = {row: place for place, row in enumerate(rows)}
        deciding = [places[i, 0] for i in range(len(self.images))]
        questions = [self.asks[0].question] * len(deciding)
        at_once = letter_likelihoods(asked, questions, rows=deciding)

        def answer(chosen: Sequence[tuple[int, int]], told: bool = False) -> None:
            wanted = [places[row] for row in chosen]
            completions = complete_asked(
                asked,
                wanted,
                max_new_tokens=self.inspector.max_new_tokens,
                on_text=on_text if told else None,
            )
            asking = [self.asks[k].question for _, k in chosen]
            likelihoods = letter_likelihoods(asked, asking, completions, wanted)
            self._said |= dict(zip(chosen, zip(completions, likelihoods, strict=True), strict=True))

        if on_text is not None:  # text is told of one row, which goes ahead alone
            answer([(0, 0)], told=True)
        answer([row for row in rows if row not in self._said and not self._presupposes(row)])
        verdicts = [self._decide(i) for i in range(len(self.images))]
        answer([row for row in rows if self._presupposes(row) and verdicts[row[0]][0] != "normal"])
        card = self._card(conversations[0])
        found = [
            self._inspection(i, verdicts[i], at_once[i], card) for i in range(len(self.images))
        ]
        seconds = (time.perf_counter() - started) / len(found)
        return [Inspection(**one, seconds=seconds) for one in found]

    def _conversation(self, image: int, ask: Ask) -> list[dict[str, Any]]:
        name = self.names[image] or "image"
        return build_messages(
            Sample(name, Path(), (ask.question,)),
            ask.question,
            ask.template,
            references=len(self.product.references),
            knowledge=self.product.knowledge,
            unit=self.inspector.policy.family.unit or "pixels",
        )

    def _presupposes(self, row: tuple[int, int]) -> bool:
        return self.asks[row[1]].kind in _PRESUPPOSING

    def _response(self, image: int, number: int) -> Response:
        completion, _ = self._said[image, number]
        return parse_response(completion.text, self.asks[number].question)

    def _decide(self, image: int) -> tuple[Verdict | None, DecidedBy | None, float | None]:
        """The verdict, what it follows, and P(anomalous)."""
        question = self.asks[0].question
        said = verdict_letters(question)
        response, likelihood = self._response(image, 0), self._said[image, 0][1]
        if said is None:
            return None, None, None
        probability = anomaly_probability(likelihood, question)
        assert probability is not None, "a question with letters has likelihoods"
        if self.inspector.threshold is not None:
            above = probability >= self.inspector.threshold
            return ("anomalous" if above else "normal"), "threshold", probability
        written = said.get(response.answer or "")
        if written is not None:
            return ("anomalous" if written == "abnormal" else "normal"), "answer", probability
        return ("anomalous" if probability >= 0.5 else "normal"), "likelihood", probability

    def _inspection(
        self,
        image: int,
        decided: tuple[Verdict | None, DecidedBy | None, float | None],
        at_once: LetterLikelihood | None,
        card: Mapping[str, Any],
    ) -> dict[str, Any]:
        verdict, by, probability = decided
        question, response = self.asks[0].question, self._response(image, 0)
        completion, likelihood = self._said[image, 0]
        boxes = self._boxes(image)
        mask = None
        if boxes is not None and self.inspector.segmenter is not None:
            pixels = np.asarray(self.images[image])
            mask = self.inspector.segmenter.segment(pixels, boxes)
        chosen: dict[str, Any] = {}
        for number, ask in enumerate(self.asks):
            if ask.kind in _PRESUPPOSING and (image, number) in self._said:
                name = {"type": "defect_type", "description": "description"}[ask.kind]
                chosen[name], chosen[f"{name}s"] = self._choice(image, number, ask.question)
        return {
            "image": self.images[image],
            "name": self.names[image],
            "question": question,
            "verdict": verdict,
            "probability": probability,
            "probability_at_once": anomaly_probability(at_once, question),
            "threshold": None if verdict is None else self.inspector.threshold,
            "decided_by": by,
            "answer": response.answer,
            "letters": {} if likelihood is None else likelihood.probabilities,
            "boxes": boxes,
            "mask": mask,
            "reasoning": response.reasoning,
            "completion": completion.text,
            "well_formed": response.well_formed,
            "settings": card,
            **chosen,
        }

    def _boxes(self, image: int) -> tuple[Box, ...] | None:
        """In pixels of the image; from the question for boxes, else from the one that decides."""
        number = next((k for k, ask in enumerate(self.asks) if ask.kind == "boxes"), 0)
        if self.asks[number].template == "choice":
            return None
        stated = self._response(image, number).boxes
        policy = self.inspector.policy
        frame = model_frame(*self.images[image].size, policy.processor, policy.family)
        if stated is None or frame is None:
            return None
        return tuple(frame.to_original(box) for box in stated)

    def _choice(
        self, image: int, number: int, question: Question
    ) -> tuple[str | None, dict[str, float]]:
        """What was chosen, in words, and the probability of each."""
        response, likelihood = self._response(image, number), self._said[image, number][1]
        assert likelihood is not None, "a choice has letters"
        answer = response.answer or likelihood.best
        shares = likelihood.probabilities
        return question.options[answer], {question.options[k]: shares[k] for k in shares}

    def _card(self, conversation: list[dict[str, Any]]) -> dict[str, Any]:
        processor: Any = self.inspector.policy.processor
        prompt = processor.apply_chat_template(
            conversation, tokenize=False, add_generation_prompt=True
        )
        return settings_card(
            self.inspector.settings,
            self.asks,
            prompt,
            references=self.product.record,
            knowledge=self.product.knowledge,
            max_new_tokens=self.inspector.max_new_tokens,
            segmenter=self.inspector.segmenter,
        )
