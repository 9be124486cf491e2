"""Rows of tokens: questions with their gold completions, about pictures or about what is told."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from anomalyr1.data.shuffling import shuffle_options
from anomalyr1.geometry import Frame
from anomalyr1.gold_completions import gold_completion
from anomalyr1.prompts import Template, build_messages, template_for
from anomalyr1.schema import Question, Sample
from anomalyr1.shared_prefix.packing import IGNORED
from anomalyr1.training.curriculum.look_ups import Span, lines_in, look_ups, said_in
from anomalyr1.values import in_words


@dataclass(frozen=True)
class Rows:
    """Padded on the right.

    Attributes:
        ids: (rows, length).
        mask: (rows, length), 1 where a row has a token.
        labels: (rows, length), the token where it belongs to the completion.
        images: for each row the numbers of the images it shows, in order.
    """

    ids: Tensor
    mask: Tensor
    labels: Tensor
    images: tuple[tuple[int, ...], ...] = ()

    def to(self, device: torch.device) -> Rows:
        """On another device."""
        return Rows(
            self.ids.to(device),
            self.mask.to(device),
            self.labels.to(device),
            self.images,
        )


@dataclass(frozen=True)
class Lettered:
    """Rows of text alone, with what is known of the options' letters in them.

    Attributes:
        rows: no images.
        letters: (rows, length), number of the option whose line, or whose text in the reasoning,
            a token is of; `IGNORED` elsewhere.
        closing: (rows, length), whether a token is the letter that closes a reasoning.
    """

    rows: Rows
    letters: Tensor
    closing: Tensor

    def to(self, device: torch.device) -> Lettered:
        """On another device."""
        return Lettered(self.rows.to(device), self.letters.to(device), self.closing.to(device))


class Asking:
    """Writes rows for one tokenizer and one size of images.

    Args:
        processor: of the policy.
        drawn: side in pixels of the images as they are on disk, in which gold boxes are.
        side: side in pixels at which the policy is shown them.
        template: that questions with options are asked with.

    Attributes:
        cells: merged tokens along a side.
    """

    def __init__(
        self, processor: Any, drawn: int, side: int, template: Template = "choice"
    ) -> None:
        self.template = template
        self.tokenizer = processor.tokenizer
        cell = processor.image_processor.patch_size * processor.image_processor.merge_size
        self.mark = processor.image_token
        self.cells = side // cell
        self.widened = self.mark * self.cells**2
        self.frame = Frame(drawn, drawn, side, side)
        self.end = processor.tokenizer.eos_token

    def about_pictures(
        self,
        samples: Sequence[Sample],
        images: Sequence[tuple[int, ...]],
        rng: random.Random,
    ) -> Rows:
        """Every question of some samples, options in new order.

        Args:
            samples: those asked about.
            images: for each the numbers of its references, then its own.
            rng: of the order of options.
        """
        prompts, completions, shown = [], [], []
        for sample, numbers in zip(samples, images, strict=True):
            for question in sample.questions:
                asked = _shuffled(question, sample, rng)
                prompts.append(self._prompt(sample, asked, len(numbers) - 1))
                completions.append(self._completion(sample, asked))
                shown.append(numbers)
        return self._rows(self._ids(prompts), self._ids(completions), shown)

    def about_words(self, samples: Sequence[Sample], rng: random.Random) -> Lettered:
        """One question of each sample, which is told in words in place of the image.

        What the image would show (the defect with its box, or that there is none; the product;
        what else a question asks for) stands where the image would stand.
        """
        prompts, completions = [], []
        for sample in samples:
            asked = _shuffled(rng.choice(sample.questions), sample, rng)
            told = _told(sample, asked, self.frame)
            prompt = self._prompt(sample, asked, 0)
            mark = f"<|vision_start|>{self.widened}<|vision_end|>"
            prompts.append(prompt.replace(mark, told))
            completions.append(self._completion(sample, asked))
        return self._lettered(prompts, completions)

    def about_options(self, texts: Sequence[str], count: int, rng: random.Random) -> Lettered:
        """Rows of options and nothing else, in which some are named with their letters."""
        drawn = [look_ups(texts, rng) for _ in range(count)]
        return self._lettered([a for a, _ in drawn], [b + self.end for _, b in drawn])

    def _prompt(self, sample: Sample, question: Question, references: int) -> str:
        template = template_for(question, self.template)
        messages = build_messages(sample, question, template, references=references)
        text: str = self.tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True
        )
        return text.replace(self.mark, self.widened)

    def _completion(self, sample: Sample, question: Question) -> str:
        template = template_for(question, self.template)
        gold = gold_completion(sample, question, template, self.frame)
        return f"{gold}{self.end}"

    def _ids(self, texts: list[str]) -> list[list[int]]:
        ids: list[list[int]] = self.tokenizer(texts, padding=False)["input_ids"]
        return ids

    def _rows(
        self,
        before: list[list[int]],
        after: list[list[int]],
        images: Sequence[tuple[int, ...]] = (),
    ) -> Rows:
        length = max(len(a) + len(b) for a, b in zip(before, after, strict=True))
        ids = torch.full((len(before), length), self.tokenizer.pad_token_id)
        mask, labels = torch.zeros_like(ids), torch.full_like(ids, IGNORED)
        for row, (a, b) in enumerate(zip(before, after, strict=True)):
            whole = torch.tensor(a + b)
            ids[row, : len(whole)], mask[row, : len(whole)] = whole, 1
            labels[row, len(a) : len(whole)] = whole[len(a) :]
        return Rows(ids, mask, labels, tuple(images))

    def _lettered(self, prompts: list[str], completions: list[str]) -> Lettered:
        before, after = (
            self.tokenizer(texts, padding=False, return_offsets_mapping=True)
            for texts in (prompts, completions)
        )
        rows = self._rows(before["input_ids"], after["input_ids"])
        letters = torch.full_like(rows.ids, IGNORED)
        closing = torch.zeros_like(rows.ids, dtype=torch.bool)
        for row, (prompt, completion) in enumerate(zip(prompts, completions, strict=True)):
            asked, told = before["offset_mapping"][row], after["offset_mapping"][row]
            said = said_in(completion)
            _mark(letters[row], asked, lines_in(prompt))
            _mark(letters[row, len(asked) :], told, [span for span, _ in said])
            for place, (first, last) in enumerate(told, len(asked)):
                closing[row, place] = any(first <= at < last for _, at in said)
        return Lettered(rows, letters, closing)


def _mark(letters: Tensor, tokens: Sequence[tuple[int, int]], known: Sequence[Span]) -> None:
    for place, (first, last) in enumerate(tokens):
        for begin, end, letter in known:
            if begin <= first and last <= end:
                letters[place] = letter


def completion_loss(
    model: Any, hidden: Tensor, labels: Tensor, weights: Tensor | None = None
) -> Tensor:
    """Mean cross-entropy of the completions' tokens.

    Args:
        model: whose head is asked, at those tokens alone.
        hidden: (rows, length, width), the last layer's.
        labels: (rows, length).
        weights: (rows, length), of each token in the mean; all the same where none are given.
    """
    wanted = labels[:, 1:] != IGNORED
    logits = model.lm_head(hidden[:, :-1][wanted]).float()
    if weights is None:
        return cross_entropy(logits, labels[:, 1:][wanted])
    each = cross_entropy(logits, labels[:, 1:][wanted], reduction="none")
    weight = weights[:, 1:][wanted]
    return (each * weight).sum() / weight.sum()


def _shuffled(question: Question, sample: Sample, rng: random.Random) -> Question:
    if question.is_grounding:
        return question
    return shuffle_options(question, sample.image, rng.randrange(10**6))


def _told(sample: Sample, question: Question, frame: Frame) -> str:
    product = in_words(sample.category)
    boxes = [frame.to_model(box) for box in sample.boxes or ()]
    seen = [f"{box.label} at {[round(v) for v in box.xyxy]}" for box in boxes] or ["no defect"]
    facts = [product, *seen]
    if not question.is_grounding and not question.presupposes_defect:
        facts.append(question.options[question.answer or ""].rstrip("."))
    return "; ".join(facts)
