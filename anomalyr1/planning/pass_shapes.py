"""What runs through the model at once in the passes of a step: rows, tokens, images."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.stats import hypergeom

from anomalyr1.planning.parts import Parts
from anomalyr1.planning.settings import Settings
from anomalyr1.planning.tokens import PromptTokens
from anomalyr1.training.trainer import PolicyTrainer

# Tokens of one chunk in the passes without gradients.
CHUNK_TOKENS = PolicyTrainer.chunk_tokens
# Chance plays a part in how groups fall into passes; so many passes stay within the estimate.
USUAL = 0.99


@dataclass(frozen=True)
class PassShape:
    """What runs through the model at once.

    Attributes:
        sequences: rows of the batch as the model sees it; of a shared pass, the trees that stand
            one after the other in its one row.
        length: tokens of each, padding included.
        scored: completion tokens among them.
        images: computed by the vision tower.
        patches: of each image.
        parts: of a tree of a shared pass.
        copied: the pixels are gathered for this pass, one copy of each tree's.
        ends: completions computed at once, the others in chunks of as many; 0 is all.
    """

    sequences: int
    length: int
    scored: int
    images: int
    patches: int
    copied: bool
    parts: Parts | None = None
    ends: int = 0

    @property
    def tokens(self) -> int:
        """Tokens run through the language model."""
        return self.sequences * self.length


def groups_in_a_pass(settings: Settings) -> tuple[int, int]:
    """Prompts in a shared pass with gradients, and completions of one of them, at most.

    TRL shuffles the completions of a rollout over its micro-batches; those of one update are then
    sorted by prompt again. A rollout that serves several updates leaves its groups torn between
    them, by chance: then the share is that which a group exceeds in one pass out of a hundred.
    """
    rows, group = settings.rows, min(settings.generations, settings.rollout_rows)
    if settings.update_rows == settings.rollout_rows:
        # Whole groups one after the other, cut every `rows` rows.
        prompts = -(-(group - math.gcd(rows, group) + rows) // group)
        return min(prompts, settings.rollout_groups), min(group, rows)
    usual = hypergeom.ppf(USUAL, settings.rollout_rows, group, settings.update_rows)
    mean = group * settings.update_rows / settings.rollout_rows
    prompts = math.ceil((rows - 1) / mean) + 1
    return min(prompts, settings.rollout_groups, rows), min(int(usual), rows)


def training_shape(
    settings: Settings, prompt: PromptTokens, *, shared: bool, chunk_tokens: int | None = None
) -> PassShape:
    """The pass with gradients: one micro-batch of the longest prompts and completions.

    Args:
        settings: of the run.
        prompt: of its questions.
        shared: prompts are computed once for their completions.
        chunk_tokens: of completions that are computed at once; None is all.
    """
    rows, completion = settings.rows, settings.completion
    if not shared:
        length = prompt.longest + completion
        images, patches = rows * prompt.images, prompt.patches_an_image
        return PassShape(rows, length, rows * completion, images, patches, copied=False)
    prompts, share = groups_in_a_pass(settings)
    return _packed(settings, prompt, prompts, share, rows * completion, chunk_tokens)


def scoring_shape(
    settings: Settings, prompt: PromptTokens, *, shared: bool, chunk_tokens: int | None = None
) -> PassShape:
    """A pass without gradients, over whole groups: old or reference log-probabilities."""
    if not shared:
        return training_shape(settings, prompt, shared=False)
    size = min(settings.generations, settings.rollout_rows)
    length = prompt.longest - 1 + size * (1 + settings.completion)
    prompts = min(settings.rollout_groups, max(1, CHUNK_TOKENS // (length + 1)))
    scored = prompts * size * settings.completion
    return _packed(settings, prompt, prompts, size, scored, chunk_tokens)


def prefill_shapes(settings: Settings, prompt: PromptTokens, *, shared: bool) -> list[PassShape]:
    """The prompts of a rollout, computed to sample from; images first where rows go on from them.

    Which makes fewer tokens is found out as `prefixes.cheapest_beginnings` does.
    """
    rows, prompts = settings.rollout_rows, settings.rollout_groups
    patches, own = prompt.patches_an_image, prompt.longest - prompt.of_image
    if not shared:
        return [PassShape(rows, prompt.longest, 0, rows * prompt.images, patches, copied=False)]
    trees = _trees(prompts, prompt)
    if trees < prompts and trees * prompt.of_image + rows * own < prompts * prompt.longest:
        images = trees * prompt.images
        return [
            PassShape(trees, prompt.of_image, 0, images, patches, copied=True),
            PassShape(rows, own, 0, 0, 0, copied=False),
        ]
    return [PassShape(prompts, prompt.longest, 0, trees * prompt.images, patches, copied=True)]


def _trees(prompts: int, prompt: PromptTokens) -> int:
    """What so many prompts, one after the other, begin with: their images, or each with itself."""
    asked = int(prompt.questions)
    if not prompt.of_image or asked < 2:
        return prompts
    if prompts % asked == 0:
        return prompts // asked
    return min(prompts, -(-(prompts - 1) // asked) + 1)  # cut anywhere: the ends of two images


def _packed(
    settings: Settings,
    prompt: PromptTokens,
    prompts: int,
    share: int,
    scored: int,
    chunk_tokens: int | None,
) -> PassShape:
    """So many prompts with so many completions each as trees in one sequence."""
    size, trees = 1 + settings.completion, _trees(prompts, prompt)
    parts = Parts(prompt.longest - 1, share, size)
    if trees < prompts:
        own = prompt.longest - 1 - prompt.of_image
        parts = Parts(own, share, size, prompt.of_image, -(-prompts // trees))
    ends = max(1, chunk_tokens // size) if chunk_tokens else 0
    if ends >= trees * parts.questions * share:
        ends = 0
    images, patches = trees * prompt.images, prompt.patches_an_image
    return PassShape(
        trees, parts.tokens, scored, images, patches, copied=True, parts=parts, ends=ends
    )
