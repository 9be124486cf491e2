"""One pass of a batch through the model: its shape, and the most memory it holds at once."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.stats import hypergeom

from anomalyr1.planning.settings import Settings
from anomalyr1.planning.skeleton import Skeleton
from anomalyr1.planning.tape import Layers, Parts, Tape
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
        sequences: rows of the batch as the model sees it; of a shared pass, the groups that stand
            one after the other in its one row.
        length: tokens of each, padding included.
        scored: completion tokens among them.
        images: computed by the vision tower.
        patches: of each image.
        parts: the prompt and the completions of a shared sequence.
        copied: the pixels are gathered for this pass, one copy of each prompt's.
    """

    sequences: int
    length: int
    scored: int
    images: int
    patches: int
    copied: bool
    parts: Parts | None = None

    @property
    def tokens(self) -> int:
        """Tokens run through the language model."""
        return self.sequences * self.length


@dataclass(frozen=True)
class Moment:
    """The bytes of a pass at one moment.

    Attributes:
        where: the stage that is computed.
        activations: kept for backward passes still to come.
        mask: who-sees-whom, with the copies kept by the layers.
        working: what the stage itself needs on top.
        gradients: of weights, so far; 0 where they are held all the time.
    """

    where: str
    activations: int
    mask: int
    working: int
    gradients: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.activations + self.mask + self.working + self.gradients


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


def training_shape(settings: Settings, prompt: PromptTokens, *, shared: bool) -> PassShape:
    """The pass with gradients: one micro-batch of the longest prompts and completions."""
    rows, completion = settings.rows, settings.completion
    if not shared:
        length = prompt.longest + completion
        images, patches = rows * prompt.images, prompt.patches_an_image
        return PassShape(rows, length, rows * completion, images, patches, copied=False)
    prompts, share = groups_in_a_pass(settings)
    length = prompt.longest - 1 + share * (1 + completion)
    scored = rows * completion
    images, patches = prompts * prompt.images, prompt.patches_an_image
    parts = Parts(prompt.longest - 1, share, 1 + completion)
    return PassShape(prompts, length, scored, images, patches, copied=True, parts=parts)


def scoring_shape(settings: Settings, prompt: PromptTokens, *, shared: bool) -> PassShape:
    """A pass without gradients, over whole groups: old or reference log-probabilities."""
    if not shared:
        return training_shape(settings, prompt, shared=False)
    size = min(settings.generations, settings.rollout_rows)
    length = prompt.longest - 1 + size * (1 + settings.completion)
    prompts = min(settings.rollout_groups, max(1, CHUNK_TOKENS // (length + 1)))
    scored = prompts * size * settings.completion
    images, patches = prompts * prompt.images, prompt.patches_an_image
    parts = Parts(prompt.longest - 1, size, 1 + settings.completion)
    return PassShape(prompts, length, scored, images, patches, copied=True, parts=parts)


def prefill_shape(settings: Settings, prompt: PromptTokens, *, shared: bool) -> PassShape:
    """The prompts of a rollout, computed to sample from."""
    prompts = settings.rollout_groups if shared else settings.rollout_rows
    images, patches = prompts * prompt.images, prompt.patches_an_image
    return PassShape(prompts, prompt.longest, 0, images, patches, copied=shared)


@dataclass(frozen=True)
class Stage:
    """One step of a pass: `mask` bytes of its tape are the layer's own copy of the mask."""

    name: str
    tape: Tape
    mask: int = 0


def worst_moment(
    skeleton: Skeleton, shape: PassShape, *, checkpointing: bool, backward: bool
) -> Moment:
    """The moment of a pass at which it holds the most.

    Walks forward through the stages and back again: before a stage runs, what the stages before it
    keep is held; in its backward pass, that, and the gradients of the stages behind it.

    Args:
        skeleton: the policy.
        shape: of the batch.
        checkpointing: layers keep their input only and are computed again.
        backward: there is a backward pass.
    """
    layers = skeleton.layers
    stages = _stages(skeleton, shape, checkpointing=checkpointing, backward=backward)
    resident = _mask(layers, shape)
    kept, masks = _inputs(layers, shape), 0
    moments = []
    for stage in stages:
        moments.append(Moment(stage.name, kept, resident + masks, stage.tape.forward, 0))
        kept += stage.tape.kept - stage.mask
        masks += stage.mask
    gradients = 0
    for stage in reversed(stages):
        kept -= stage.tape.kept - stage.mask
        masks -= stage.mask
        if stage.tape.backward:
            name = f"{stage.name}, backward"
            moments.append(Moment(name, kept, resident + masks, stage.tape.backward, gradients))
            gradients += 0 if layers.held else stage.tape.gradients
    return max(moments, key=lambda moment: moment.total)


def _stages(
    skeleton: Skeleton, shape: PassShape, *, checkpointing: bool, backward: bool
) -> list[Stage]:
    layers, patches = skeleton.layers, shape.images * shape.patches
    flows = backward and layers.vision_flows()
    stages = []
    if shape.images:
        stages.append(Stage("patch embedding", layers.patch_embedding(patches)))
        blocks = {}
        for whole in (False, True):
            taped, untaped = (
                layers.vision_block(shape.images, shape.patches, full=whole, backward=b)
                for b in (flows, False)
            )
            inputs, again = layers.vision_input(patches), flows and checkpointing
            tape = _checkpointed(taped, untaped, inputs, again)
            blocks[whole] = Stage("vision block", tape)
        stages += [blocks[index in layers.full_attention] for index in range(layers.vision_depth)]
        merger = layers.merger(patches, backward=backward, flows=flows)
        stages.append(Stage("projector", merger))
    inputs = layers.language_input(shape.sequences, shape.length)
    table = layers.embedding_gradient()
    stages.append(Stage("embedding", Tape(2 * inputs, 0, (2 * inputs + table) * backward, 0)))
    taped, untaped = (
        layers.language_layer(shape.sequences, shape.length, shape.parts, backward=b)
        for b in (backward, False)
    )
    again = backward and checkpointing
    layer = Stage(
        "language layer",
        _checkpointed(taped, untaped, inputs, again),
        layers.mask_copy(shape.sequences, shape.length, shape.parts) * (backward and not again),
    )
    stages += [layer] * layers.text_depth
    if backward:
        stages.append(Stage("final norm", layers.final_norm(shape.sequences, shape.length)))
    if shape.scored:
        tape = skeleton.head.tape(shape.sequences, shape.length, shape.scored)
        if not backward:
            tape = Tape(tape.forward, 0, 0, 0)
        stages.append(Stage("head", tape))
    return stages


def _checkpointed(taped: Tape, untaped: Tape, inputs: int, again: bool) -> Tape:
    """The tape of a layer that keeps its input and is computed again, from that of the layer."""
    if not again:
        return taped
    # Its incoming gradient waits while it is computed again.
    return Tape(
        untaped.forward, inputs, max(taped.forward, taped.backward) + inputs, taped.gradients
    )


def _mask(layers: Layers, shape: PassShape) -> int:
    """The mask of a pass: bytes, or float32 where the eager kernel adds it to the scores."""
    pairs = layers.mask_pairs(shape.sequences, shape.length, shape.parts)
    return pairs * (4 if layers.eager else 1)


def _inputs(layers: Layers, shape: PassShape) -> int:
    """Pixels gathered for a pass, and the sines and cosines of its positions."""
    pixels = layers.pixels(shape.images * shape.patches) if shape.copied else 0
    width = layers.text.hidden_size // layers.text.num_attention_heads
    return pixels + int(2 * shape.tokens * width * layers.dtype.itemsize)
