"""The lessons of a curriculum: sight, language, and both; one step of each and its figure."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from anomalyr1.policy.load import Policy
from anomalyr1.prompts import Template
from anomalyr1.schema import Sample
from anomalyr1.shared_prefix.packing import IGNORED
from anomalyr1.training.curriculum.asking import Asking, Lettered, Rows, completion_loss
from anomalyr1.training.curriculum.image_sets import Pictures, patches
from anomalyr1.training.curriculum.look_ups import CLOSING_WEIGHT, LetterHeads, texts_of
from anomalyr1.training.curriculum.shared_questions import (
    Reading,
    answered,
    asked_for,
    readings,
)
from anomalyr1.training.curriculum.sight import Facts, Heads, share, turned
from anomalyr1.training.curriculum.tower import features

PART_TOKENS = 32_000  # computed at once; more are computed in parts


class SightLesson(Dataset[int]):
    """Vision tower and merger alone, with heads.

    Args:
        policy: learns.
        pictures: what it is shown, turned and mirrored at random.
        heads: learn along.
        batch: images a step, where they are shown at their own side.
        seed: of their order.
        everywhere: weight of what every token is to say of the whole image.
        sides: sides in pixels, one of which a step shows, of a larger one so many fewer images;
            None for that of the images.
    """

    def __init__(
        self,
        policy: Policy,
        pictures: Pictures,
        heads: Heads,
        *,
        batch: int,
        seed: int,
        everywhere: float,
        sides: Sequence[int] | None = None,
    ) -> None:
        self.policy, self.pictures, self.heads = policy, pictures, heads
        self.batch, self.seed, self.everywhere = batch, seed, everywhere
        self.sides = sides or (pictures.side,)
        self.facts = Facts.of(pictures.samples, pictures.side, heads.names)
        self.queries = torch.tensor(pictures.queries)

    def __getitem__(self, step: int) -> int:
        return step

    def backward(self, step: int) -> dict[str, float]:
        """Gradients of one step."""
        rng = random.Random(f"{self.seed} sight {self.everywhere} {step}")
        side = random.Random(f"{self.seed} side {step}").choice(self.sides)
        count = self.batch * self.sides[0] ** 2 // side**2
        chosen = torch.tensor([rng.randrange(len(self.queries)) for _ in range(count)])
        model, device = self.policy.model, self.policy.model.device
        facts = self.facts.rows(chosen).to(device)
        pixels = self.pictures.pixels[self.queries[chosen]].to(device)
        pixels, corners = turned(pixels, facts.corners, rng.randrange(8))
        facts = Facts(facts.kinds, corners, facts.products)
        tokens = features(model, *patches(pixels, self.policy.processor, side))
        losses = self.heads.losses(tokens, facts, self.everywhere)
        torch.autograd.backward(sum(losses.values(), tokens.new_zeros(())))
        return {key: float(value.detach()) for key, value in losses.items()}

    @torch.no_grad()
    def figures(self, held_out: Pictures, side: int) -> dict[str, float]:
        """What the heads read on pictures that were not shown."""
        device = self.policy.model.device
        pixels = held_out.pixels[torch.tensor(held_out.queries)].to(device)
        tokens = features(self.policy.model, *patches(pixels, self.policy.processor, side))
        facts = Facts.of(held_out.samples, held_out.side, self.heads.names).to(device)
        return self.heads.figures(tokens, facts, everywhere=self.everywhere > 0)

    def parameters(self) -> list[nn.Parameter]:
        """Those that learn."""
        part_of = self.policy.family.part_of
        named = self.policy.model.named_parameters()
        tower = [p for name, p in named if part_of(name) != "language"]
        return [*tower, *self.heads.parameters()]


class LanguageLesson(Dataset[list[Lettered]]):
    """The language side alone, on text that tells what the image would show.

    Args:
        policy: learns.
        samples: one question of each is asked.
        asking: writes the rows.
        heads: learn along.
        batch: rows a step.
        look_ups: rows of options alone a step.
        seed: of their order.
    """

    def __init__(
        self,
        policy: Policy,
        samples: Sequence[Sample],
        asking: Asking,
        heads: LetterHeads,
        *,
        batch: int,
        look_ups: int,
        seed: int,
    ) -> None:
        self.policy, self.samples, self.asking, self.heads = policy, samples, asking, heads
        self.batch, self.look_ups, self.seed = batch, look_ups, seed
        self.texts = texts_of(samples)

    def __getitem__(self, step: int) -> list[Lettered]:
        rng = random.Random(f"{self.seed} language {self.batch} {step}")
        rows = []
        if self.look_ups:
            rows.append(self.asking.about_options(self.texts, self.look_ups, rng))
        if self.batch:
            chosen = [rng.choice(self.samples) for _ in range(self.batch)]
            rows.append(self.asking.about_words(chosen, rng))
        return rows

    def backward(self, step: list[Lettered]) -> dict[str, float]:
        """Gradients of one step."""
        found: dict[str, float] = {}
        for part in step:
            told = part.to(self.policy.model.device)
            hidden, layers = self._hidden(told.rows)
            weights = 1 + (CLOSING_WEIGHT - 1) * told.closing
            labels = told.rows.labels
            completion = completion_loss(self.policy.model, hidden, labels, weights)
            losses = {"completion": completion, **self.heads.losses(layers, told.letters, labels)}
            torch.autograd.backward(sum(losses.values(), completion.new_zeros(())) / len(step))
            for key, value in losses.items():
                found[key] = found.get(key, 0.0) + float(value.detach()) / len(step)
        return found

    @torch.no_grad()
    def figures(self, step: list[Lettered]) -> dict[str, float]:
        """What is foretold of the last kind of rows.

        Shares of the completions' tokens, of the letters that close a reasoning, and of whole
        completions.
        """
        told = step[-1].to(self.policy.model.device)
        labels = told.rows.labels[:, 1:]
        hidden, _ = self._hidden(told.rows)
        found = self.policy.model.lm_head(hidden[:, :-1]).argmax(-1)
        wanted, closing = labels != IGNORED, told.closing[:, 1:]
        whole = ((found == labels) | ~wanted).all(1)
        return {
            "tokens": share(found[wanted], labels[wanted]),
            "letters": share(found[closing], labels[closing]),
            "whole": whole.float().mean().item(),
        }

    def _hidden(self, rows: Rows) -> tuple[Tensor, tuple[Tensor, ...]]:
        model: Any = self.policy.model
        output = model.model(
            input_ids=rows.ids, attention_mask=rows.mask, output_hidden_states=True
        )
        return output[0], output.hidden_states

    def parameters(self) -> list[nn.Parameter]:
        """Those that learn."""
        part_of = self.policy.family.part_of
        named = self.policy.model.named_parameters()
        language = [p for name, p in named if part_of(name) == "language"]
        return [*language, *self.heads.parameters()]


@dataclass(frozen=True)
class Seen:
    """One step's images and the questions about them."""

    side: int
    images: tuple[int, ...]  # numbers in the pictures; questions count in this order
    queries: tuple[int, ...]  # places in `images` of those asked about
    samples: tuple[int, ...]
    readings: tuple[Reading, ...]


class JointLesson(Dataset[Seen]):
    """Everything learns: all questions of an image in one step, its image seen by the tower once.

    Args:
        images: a step, at the first of the sides.
        similar: share of the images whose reference is the same view without the defect.
        sides: sides in pixels, one of which a step shows, of a larger one so many fewer images.
        template: that questions with options are asked with.
    """

    def __init__(
        self,
        policy: Policy,
        pictures: Pictures,
        heads: Heads,
        *,
        images: int,
        seed: int,
        sides: Sequence[int],
        similar: float = 0.0,
        sight: float = 0.5,
        template: Template = "choice",
    ) -> None:
        self.policy, self.pictures, self.heads = policy, pictures, heads
        self.images, self.seed, self.sides = images, seed, sides
        self.similar, self.sight = similar, sight
        self.facts = Facts.of(pictures.samples, pictures.side, heads.names)
        self.asking = {
            side: Asking(policy.processor, pictures.side, side, template) for side in sides
        }

    def __getitem__(self, step: int) -> Seen:
        rng = random.Random(f"{self.seed} both {step}")
        side = rng.choice(self.sides)
        count = max(2, self.images * self.sides[0] // side)
        chosen = rng.sample(range(len(self.pictures.samples)), count)
        places: dict[int, int] = {}
        shown = []
        for number in chosen:
            pool = self.pictures.references[number]
            if self.pictures.similar[number] and rng.random() < self.similar:
                pool = self.pictures.similar[number]
            numbers = (rng.choice(pool), self.pictures.queries[number])
            shown.append(tuple(places.setdefault(n, len(places)) for n in numbers))
        samples = [self.pictures.samples[number] for number in chosen]
        rows = self.asking[side].about_pictures(samples, shown, rng)
        read = readings(self.policy.model, rows, self.asking[side].cells, PART_TOKENS)
        return Seen(side, tuple(places), tuple(s[-1] for s in shown), tuple(chosen), tuple(read))

    def backward(self, seen: Seen) -> dict[str, float]:
        """Gradients of one step; the tower runs once."""
        model, device = self.policy.model, self.policy.model.device
        pixels = self.pictures.pixels[list(seen.images)].to(device)
        tokens = features(model, *patches(pixels, self.policy.processor, seen.side))
        facts = self.facts.rows(torch.tensor(seen.samples)).to(device)
        losses = self.heads.losses(tokens[list(seen.queries)], facts)
        told = tokens.detach().requires_grad_()
        total = asked_for(seen.readings)
        completion = 0.0
        for reading in seen.readings:
            loss = answered(model, reading, told, total)
            torch.autograd.backward(loss)
            completion += float(loss.detach())
        assert told.grad is not None
        torch.autograd.backward(
            [tokens, self.sight * sum(losses.values(), told.new_zeros(()))], [told.grad, None]
        )
        return {"completion": completion} | {k: float(v.detach()) for k, v in losses.items()}

    def parameters(self) -> list[nn.Parameter]:
        """All."""
        return [*self.policy.model.parameters(), *self.heads.parameters()]


class InTurns(Dataset[tuple[int, Seen]]):
    """Steps of several lessons, mixed.

    Args:
        lessons: of one policy and the same heads.
        shares: of the steps, one a lesson.
        seed: of their order.
    """

    def __init__(self, lessons: Sequence[JointLesson], shares: Sequence[float], seed: int) -> None:
        self.lessons, self.shares, self.seed = lessons, shares, seed

    def __getitem__(self, step: int) -> tuple[int, Seen]:
        rng = random.Random(f"{self.seed} turns {step}")
        (number,) = rng.choices(range(len(self.lessons)), self.shares)
        return number, self.lessons[number][step]

    def backward(self, step: tuple[int, Seen]) -> dict[str, float]:
        """Gradients of one step."""
        number, seen = step
        return self.lessons[number].backward(seen)

    def parameters(self) -> list[nn.Parameter]:
        """All."""
        return self.lessons[0].parameters()
