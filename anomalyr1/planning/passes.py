"""One pass of a batch through the model: the most memory it holds at once."""

from __future__ import annotations

from dataclasses import dataclass, replace

from anomalyr1.planning.parts import Parts
from anomalyr1.planning.pass_shapes import PassShape
from anomalyr1.planning.skeleton import Skeleton
from anomalyr1.planning.tape import Layers
from anomalyr1.planning.tracing import Tape


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


@dataclass(frozen=True)
class Stage:
    """One step of a pass.

    Attributes:
        name: of it.
        tape: what it takes and keeps.
        mask: bytes of its tape that are the layer's own copy of the mask.
        cast: bytes of the copies that autocast keeps of its weights until the forward pass is over,
            where its tape does not keep them for longer.
    """

    name: str
    tape: Tape
    mask: int = 0
    cast: int = 0


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
    kept, masks, cast = _inputs(layers, shape), 0, 0
    moments = []
    for stage in stages:
        moments.append(Moment(stage.name, kept, resident + masks, stage.tape.forward + cast, 0))
        cast += stage.cast
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
            blocks[whole] = Stage("vision block", tape, cast=_cast(layers, tape) * again)
        stages += [blocks[index in layers.full_attention] for index in range(layers.vision_depth)]
        merger = layers.merger(patches, backward=backward, flows=flows)
        stages.append(Stage("projector", merger))
    inputs = layers.language_input(shape.sequences, shape.length)
    table = layers.embedding_gradient()
    stages.append(Stage("embedding", Tape(2 * inputs, 0, (2 * inputs + table) * backward, 0)))
    again = backward and checkpointing
    if shape.parts is not None and shape.ends:
        stages += _in_chunks(layers, shape, shape.parts, again=again, backward=backward)
    else:
        taped, untaped = (
            layers.language_layer(shape.sequences, shape.length, shape.parts, backward=b)
            for b in (backward, False)
        )
        tape = _checkpointed(taped, untaped, inputs, again)
        copies = layers.mask_copy(shape.sequences, shape.length, shape.parts)
        layer = Stage(
            "language layer", tape, copies * (backward and not again), _cast(layers, tape) * again
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


def _in_chunks(
    layers: Layers, shape: PassShape, parts: Parts, *, again: bool, backward: bool
) -> list[Stage]:
    """Completions in chunks behind one copy of what they share (anomalyr1/shared_prefix/trunk.py).

    The layers hold the keys and values of the trees; of the chunks the last one is kept, and the
    others are computed again one at a time while the gradients of those keys and values add up.
    """
    trees, depth, size = shape.sequences, layers.text_depth, parts.size
    trunk, held = trees * parts.trunk, layers.trunk_bytes(trees * parts.trunk)
    alone = replace(parts, count=0)
    taped, untaped = (
        layers.language_layer(trees, parts.trunk, alone, backward=b, keeps=True)
        for b in (backward, False)
    )
    tape = _checkpointed(taped, untaped, layers.language_input(trees, parts.trunk), again)
    if again or not backward:
        tape = replace(tape, kept=tape.kept + held)
    copies = layers.mask_copy(trees, parts.trunk, alone) * (backward and not again)
    # The weights' gradients are those that the chunks, which come first, have made.
    cast = _cast(layers, tape)
    layer = Stage("language layer", replace(tape, gradients=0), copies, cast * again)
    stages = [layer] * depth
    taped, untaped = (
        layers.chunk_layer(parts, trees, shape.ends, backward=b) for b in (backward, False)
    )
    others = -(-trees * parts.questions * parts.count // shape.ends) - 1
    inputs = layers.language_input(1, shape.ends * size)
    if not backward:
        once = Tape(untaped.forward, 0, 0, 0)
        return [*stages, Stage("chunk of completions", once)]
    one = _checkpointed(taped, untaped, inputs, again)
    # The gradient of all outputs waits; that of the keys and values of all layers grows.
    coming = layers.language_input(trees, shape.length) + held * depth
    recomputed = (depth - 1) * one.kept + one.backward + coming
    stages.append(
        Stage(
            "chunk of completions",
            Tape(untaped.forward, others * inputs, others * inputs + recomputed, 0),
        )
    )
    # Without checkpointing the trunk keeps the weights' copies that this chunk is computed with.
    last = replace(one, kept=one.kept - cast * (not again), backward=one.backward + coming)
    stages += [Stage("layer of the last chunk", last)] * depth
    return [*stages, Stage("final norm", layers.final_norm(1, trunk + shape.ends * size))]


def _checkpointed(taped: Tape, untaped: Tape, inputs: int, again: bool) -> Tape:
    """The tape of a layer that keeps its input and is computed again, from that of the layer."""
    if not again:
        return taped
    # Its incoming gradient waits while it is computed again.
    return Tape(
        untaped.forward, inputs, max(taped.forward, taped.backward) + inputs, taped.gradients
    )


def _cast(layers: Layers, tape: Tape) -> int:
    """Bytes of a layer's weights that learn, in autocast's dtype: its gradients are in float32."""
    return 0 if layers.autocast is None else tape.gradients * layers.autocast.itemsize // 4


def _mask(layers: Layers, shape: PassShape) -> int:
    """The mask of a pass: bytes, or float32 where the eager kernel adds it to the scores."""
    pairs = layers.mask_pairs(shape.sequences, shape.length, shape.parts)
    return pairs * (4 if layers.eager else 1)


def _inputs(layers: Layers, shape: PassShape) -> int:
    """Pixels gathered for a pass, and the sines and cosines of its positions."""
    pixels = layers.pixels(shape.images * shape.patches) if shape.copied else 0
    width = layers.text.hidden_size // layers.text.num_attention_heads
    return pixels + int(2 * shape.tokens * width * layers.dtype.itemsize)
