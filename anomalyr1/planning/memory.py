"""Memory of one GPU in every phase of a training step, by part."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from anomalyr1.config import Config
from anomalyr1.planning.architecture import Architecture, Count, held_dtype
from anomalyr1.planning.cards import GIB
from anomalyr1.planning.pass_shapes import PassShape, prefill_shapes, scoring_shape, training_shape
from anomalyr1.planning.passes import Moment, worst_moment
from anomalyr1.planning.settings import Settings, chunk_of_completions, shares_prefix
from anomalyr1.planning.sharding import Sharding
from anomalyr1.planning.skeleton import Skeleton, Weight, build_skeleton
from anomalyr1.planning.states import States, hold
from anomalyr1.planning.tokens import PromptTokens

# CUDA's context with its kernels, cuBLAS workspaces and NCCL's buffers; none of it is a tensor.
CUDA_CONTEXT = GIB

# What memory is spent on, in the order of the report.
PARTS = (
    "weights",
    "gathered weights",
    "cast weights",
    "reference policy",
    "optimiser state",
    "gradients",
    "gradient buckets",
    "float32 gradients",
    "images",
    "activations",
    "attention mask",
    "working set",
    "KV cache",
    "CUDA context",
)

_MIXED = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class PassPlan:
    """The pass with gradients in one of its forms."""

    shared: bool
    checkpointing: bool
    shape: PassShape
    worst: Moment


@dataclass(frozen=True)
class Estimate:
    """Memory of one process.

    Attributes:
        parameters: by part of the policy.
        weights: the same by dtype.
        dtype: of the base weights as they are loaded; of the mixed precision where the launch casts
            them.
        states: what is held whatever the batch.
        phases: phase -> part -> bytes.
        passes: the pass with gradients; the run's own form first.
    """

    parameters: dict[str, Count]
    weights: tuple[Weight, ...]
    dtype: str
    states: States
    phases: dict[str, dict[str, int]]
    passes: tuple[PassPlan, ...]

    @property
    def peak_phase(self) -> str:
        """The phase that needs the most."""
        return max(self.phases, key=lambda phase: sum(self.phases[phase].values()))

    @property
    def peak(self) -> int:
        """Bytes of that phase."""
        return sum(self.phases[self.peak_phase].values())


def estimate(
    config: Config,
    architecture: Architecture,
    settings: Settings,
    sharding: Sharding,
    prompt: PromptTokens,
    *,
    other_forms: bool = False,
) -> Estimate:
    """Estimate the memory of one process in a step after the first.

    Args:
        config: the run.
        architecture: of the policy.
        settings: of the `grpo` section.
        sharding: who holds what.
        prompt: tokens of the prompts; the longest is planned for.
        other_forms: plan the pass with gradients in the forms the config does not choose as well.
    """
    mixed = None if settings.mixed == "no" else _MIXED[settings.mixed]
    splits = sharding.deepspeed or sharding.kind == "FSDP"
    # DeepSpeed and FSDP compute with weights of the mixed dtype, the others cast in autocast.
    dtype = mixed if splits and mixed else held_dtype(architecture.config, config.policy)
    skeleton = build_skeleton(
        architecture,
        config.policy,
        dtype=dtype,
        autocast=None if splits else mixed,
        upcast_trained=not splits,
        cuda=not settings.cpu,
        gradients_held=splits or settings.accumulation > 1,
    )
    total = sum(count.total for count in skeleton.parameters.values())
    # Without autocast all of a model is widened where what learns is, and so is its reference.
    size = dtype.itemsize if splits or mixed else max(4, dtype.itemsize)
    reference = 0 if skeleton.layers.adapted else total * size
    if architecture.adapter is not None:  # the adapter as it was, beside the one that learns
        reference = skeleton.parameters["LoRA"].total * (dtype.itemsize if splits else 4)
    states = hold(skeleton, sharding, settings, reference=reference * (settings.beta > 0))
    own = (shares_prefix(config), settings.checkpointing)
    forms = [own]
    if other_forms:
        able = (True, False) if skeleton.layers.masked else (False,)
        forms += [(s, c) for s in able for c in (True, False) if (s, c) != own]
    chunk = chunk_of_completions(config, sharding.splits_weights)
    passes = tuple(_pass_plan(skeleton, settings, prompt, chunk, *form) for form in forms)
    phases = _phases(skeleton, settings, sharding, prompt, states, passes[0], chunk)
    name = str(dtype).removeprefix("torch.")
    return Estimate(skeleton.parameters, skeleton.weights, name, states, phases, passes)


def _pass_plan(
    skeleton: Skeleton,
    settings: Settings,
    prompt: PromptTokens,
    chunk: int | None,
    shared: bool,
    checkpointing: bool,
) -> PassPlan:
    shape = training_shape(settings, prompt, shared=shared, chunk_tokens=chunk)
    worst = worst_moment(skeleton, shape, checkpointing=checkpointing, backward=True)
    return PassPlan(shared, checkpointing, shape, worst)


def _phases(
    skeleton: Skeleton,
    settings: Settings,
    sharding: Sharding,
    prompt: PromptTokens,
    states: States,
    own: PassPlan,
    chunk: int | None,
) -> dict[str, dict[str, int]]:
    held = {
        "weights": states.weights,
        "optimiser state": states.optimizer,
        "gradient buckets": states.buckets,
        "reference policy": states.reference,
        # TRL keeps the float32 patches of every completion of a rollout, repeated for each.
        "images": skeleton.layers.pixels(settings.rollout_rows * prompt.patches),
        "CUDA context": 0 if settings.cpu else CUDA_CONTEXT,
    }
    between = sharding.kind == "ZeRO-3" or settings.samples_between
    stay = {"gradients": states.gradients} if between else {}
    # Those of a pass with gradients are kept for its backward half, among its activations.
    cast = {"cast weights": _cast_weights(skeleton)}
    phases: dict[str, dict[str, int]] = {}
    if settings.vllm is None:
        cache, working = _rollout(skeleton, settings, prompt, own.shared)
        gathered = states.gathered_rollout
        rollout = {"gathered weights": gathered, "KV cache": cache, "working set": working}
        phases["rollout"] = held | stay | cast | rollout
    if settings.beta or settings.scores_old:
        shape = scoring_shape(settings, prompt, shared=own.shared, chunk_tokens=chunk)
        worst = worst_moment(skeleton, shape, checkpointing=False, backward=False)
        gathered_too = {"gathered weights": states.gathered}
        phases["scoring"] = held | stay | cast | gathered_too | _parts(worst)
    phases["training pass"] = (
        held
        | {"gathered weights": states.gathered}
        | _parts(own.worst)
        | {"gradients": states.gradients if skeleton.layers.held else own.worst.gradients}
    )
    phases["optimiser step"] = held | {
        "gradients": states.gradients,
        "float32 gradients": states.step,
    }
    return phases


def _cast_weights(skeleton: Skeleton) -> int:
    """Bytes of the copies that autocast keeps of weights that learn until the model has answered.

    It makes them without gradients too; what is frozen is cast anew each time and let go.
    """
    narrow = skeleton.layers.autocast
    if narrow is None:
        return 0
    wide = (w.number for w in skeleton.weights if w.trained and w.itemsize > narrow.itemsize)
    return sum(wide) * narrow.itemsize


def _parts(worst: Moment) -> dict[str, int]:
    return {
        "activations": worst.activations,
        "attention mask": worst.mask,
        "working set": worst.working,
    }


def _rollout(
    skeleton: Skeleton, settings: Settings, prompt: PromptTokens, shared: bool
) -> tuple[int, int]:
    """KV cache and working set of sampling: bytes of the later or the larger moment."""
    layers, text = skeleton.layers, skeleton.layers.text
    width = text.hidden_size // text.num_attention_heads * text.num_key_value_heads
    token = 2 * layers.text_depth * width * layers.dtype.itemsize
    shapes = prefill_shapes(settings, prompt, shared=shared)
    prefill = max(
        worst_moment(skeleton, shape, checkpointing=False, backward=False).total for shape in shapes
    )
    rows, prompts = settings.rollout_rows, sum(shape.tokens for shape in shapes)
    cache = (prompts + rows * settings.completion) * token
    # The last logits are copied to float32, divided by the temperature, turned to probabilities.
    step = rows * text.vocab_size * (layers.dtype.itemsize + 3 * 4)
    if not shared:
        # The stock cache copies a layer's keys, then its values, for every token.
        step += cache // (2 * layers.text_depth)
    if prompts * token + prefill > cache + step:
        return prompts * token, prefill
    return cache, step
