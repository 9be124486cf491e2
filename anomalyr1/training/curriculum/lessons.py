"""The lessons of a curriculum: sight, language, and both; one step of each and its figure."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from anomalyr1.policy.load import Policy
from anomalyr1.training.curriculum.asking import Asking, Rows, completion_loss
from anomalyr1.training.curriculum.pictures import Pictures, patches
from anomalyr1.training.curriculum.sight import Facts, Heads, features, turned

PART_TOKENS = 24_000  # of rows computed at once; more are computed in parts


class SightLesson:
    """Vision tower and merger alone, with heads."""

    def __init__(
        self,
        policy: Policy,
        pictures: Pictures,
        heads: Heads,
        *,
        batch: int,
        seed: int,
        sides: Sequence[int],
        everywhere: float = 1.0,
    ) -> None:
        self.policy, self.pictures, self.heads = policy, pictures, heads
        self.batch, self.seed, self.sides, self.everywhere = batch, seed, sides, everywhere
        self.facts = Facts.of(pictures.samples, pictures.side)
        self.queries = torch.tensor(pictures.queries)

    def loss(self, step: int) -> dict[str, Tensor]:
        """Of the images of one step."""
        rng = random.Random(f"{self.seed} sight {step}")
        side = rng.choice(self.sides)
        size = max(4, self.batch * self.sides[0] ** 2 // side**2)
        chosen = torch.tensor([rng.randrange(len(self.queries)) for _ in range(size)])
        model, device = self.policy.model, self.policy.model.device
        facts = self.facts.rows(chosen).to(device)
        pixels = self.pictures.pixels[self.queries[chosen]].to(device)
        pixels, corners = turned(pixels, facts.corners, rng.randrange(8))
        facts = Facts(facts.kinds, corners, facts.products)
        seen = features(model, *patches(pixels, self.policy.processor, side))
        return self.heads.losses(seen, facts, self.everywhere)

    @torch.no_grad()
    def figures(self, held_out: Pictures, side: int) -> dict[str, float]:
        """What the heads read on pictures of a held-out side."""
        device = self.policy.model.device
        pixels = held_out.pixels[torch.tensor(held_out.queries)].to(device)
        seen = features(self.policy.model, *patches(pixels, self.policy.processor, side))
        return self.heads.figures(seen, Facts.of(held_out.samples, held_out.side).to(device))

    def parameters(self) -> list[nn.Parameter]:
        """Those that learn."""
        part_of = self.policy.family.part_of
        named = self.policy.model.named_parameters()
        tower = [p for name, p in named if part_of(name) != "language"]
        return [*tower, *self.heads.parameters()]


class LanguageLesson:
    """The language side alone, on text that tells what the image would show."""

    def __init__(
        self, policy: Policy, samples: Sequence[Any], asking: Asking, *, batch: int, seed: int
    ) -> None:
        self.policy, self.samples, self.asking = policy, samples, asking
        self.batch, self.seed = batch, seed

    def rows(self, step: int) -> Rows:
        """The rows of one step."""
        rng = random.Random(f"{self.seed} language {step}")
        chosen = [rng.choice(self.samples) for _ in range(self.batch)]
        return self.asking.about_words(chosen, rng)

    def loss(self, step: int) -> dict[str, Tensor]:
        """Of the rows of one step."""
        model = self.policy.model
        rows = self.rows(step).to(model.device)
        hidden = model.model(input_ids=rows.ids, attention_mask=rows.mask)[0]
        return {"completion": completion_loss(model, hidden, rows.labels)}

    def parameters(self) -> list[nn.Parameter]:
        """Those that learn."""
        part_of = self.policy.family.part_of
        return [p for n, p in self.policy.model.named_parameters() if part_of(n) == "language"]


@dataclass(frozen=True)
class Seen:
    """One step's images and the rows that ask about them."""

    side: int
    images: tuple[int, ...]  # numbers in the pictures; rows count in this order
    queries: tuple[int, ...]  # places in `images` of those asked about
    samples: tuple[int, ...]
    rows: Rows


class JointLesson:
    """Everything learns: all questions of an image in one step, its image seen by the tower once.

    Args:
        similar: share of the images whose reference is the same view without the defect.
        sides: sides in pixels, one of which a step shows; a larger one shows fewer images.
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
    ) -> None:
        self.policy, self.pictures, self.heads = policy, pictures, heads
        self.images, self.seed, self.sides = images, seed, sides
        self.similar, self.sight = similar, sight
        self.facts = Facts.of(pictures.samples, pictures.side)
        self.asking = {side: Asking(policy.processor, pictures.side, side) for side in sides}

    def __len__(self) -> int:
        return 1 << 30

    def __getitem__(self, step: int) -> Seen:
        rng = random.Random(f"{self.seed} both {step}")
        side = rng.choice(self.sides)
        count = max(2, self.images * self.sides[0] ** 2 // side**2)
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
        rows = _placed(self.policy, rows, side)
        return Seen(side, tuple(places), tuple(s[-1] for s in shown), tuple(chosen), rows)

    def backward(self, seen: Seen) -> dict[str, float]:
        """Gradients of one step, rows in parts of like length; the tower runs once."""
        model, device = self.policy.model, self.policy.model.device
        pixels = self.pictures.pixels[list(seen.images)].to(device)
        tokens = features(model, *patches(pixels, self.policy.processor, seen.side))
        facts = self.facts.rows(torch.tensor(seen.samples)).to(device)
        losses = self.heads.losses(tokens[list(seen.queries)], facts)
        told = tokens.detach().requires_grad_()
        total = int((seen.rows.labels[:, 1:] >= 0).sum())
        completion = 0.0
        for part in seen.rows.parts(PART_TOKENS):
            part = part.to(device)
            hidden = _read(model, part, told)
            loss = completion_loss(model, hidden, part.labels, total)
            torch.autograd.backward(loss)
            completion += float(loss.detach())
        assert told.grad is not None
        torch.autograd.backward([tokens, self.sight * sum(losses.values())], [told.grad, None])
        return {"completion": completion} | {k: float(v.detach()) for k, v in losses.items()}

    def parameters(self) -> list[nn.Parameter]:
        """All."""
        return [*self.policy.model.parameters(), *self.heads.parameters()]


def _placed(policy: Policy, rows: Rows, side: int) -> Rows:
    """Rows with the positions of their tokens, which only the CPU is asked for."""
    model: Any = policy.model
    count = side // policy.processor.image_processor.patch_size
    shown = sum(len(numbers) for numbers in rows.images)
    positions, _ = model.model.get_rope_index(
        rows.ids,
        mm_token_type_ids=(rows.ids == model.config.image_token_id).long(),
        image_grid_thw=torch.tensor([[1, count, count]]).repeat(shown, 1),
        attention_mask=rows.mask,
    )
    return replace(rows, positions=positions)


def _read(model: Any, rows: Rows, tokens: Tensor) -> Tensor:
    """Last hidden states of rows whose image tokens are given. tokens (images, cells, width)."""
    at = rows.ids == model.config.image_token_id
    shown = [number for row in rows.images for number in row]
    told = tokens[shown].flatten(0, 1)
    embedded = model.get_input_embeddings()(rows.ids)
    embedded = embedded.masked_scatter(at[..., None].expand_as(embedded), told.to(embedded.dtype))
    output = model.model.language_model(
        inputs_embeds=embedded, position_ids=rows.positions, attention_mask=rows.mask
    )
    hidden: Tensor = output[0]
    return hidden
