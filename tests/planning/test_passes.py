"""Shapes of a pass and bytes of its stages, against numbers made by hand or by a real layer."""

from __future__ import annotations

import pytest
import torch
from peft import get_peft_model

from anomalyr1.config import Config, LoraSection, PolicyConfig
from anomalyr1.planning.architecture import read_architecture
from anomalyr1.planning.head import Head
from anomalyr1.planning.live import LiveBytes, nbytes
from anomalyr1.planning.memory import estimate
from anomalyr1.planning.pass_shapes import groups_in_a_pass, scoring_shape, training_shape
from anomalyr1.planning.passes import _cast, _stages, worst_moment
from anomalyr1.planning.settings import read_settings
from anomalyr1.planning.sharding import Sharding
from anomalyr1.planning.skeleton import build_skeleton
from anomalyr1.planning.tokens import PromptTokens, sharing_ratio
from anomalyr1.policy.load import load_policy, lora_config
from anomalyr1.policy.precision import learn_in_float32

PROMPT = PromptTokens("made up", 1, 100, 100.0, 0, 2, 200)


def settings(rows=8, generations=8, accumulation=1, steps=None, **keys):
    grpo = {
        "per_device_train_batch_size": rows,
        "num_generations": generations,
        "gradient_accumulation_steps": accumulation,
        "max_completion_length": 50,
        "bf16": False,
        "use_cpu": True,
        **keys,
    }
    if steps is not None:
        grpo["steps_per_generation"] = steps
    return read_settings(Config(grpo=grpo), 1)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"rows": 64}, (8, 8)),  # one pass a rollout: its groups are whole
        ({"rows": 8, "accumulation": 2}, (1, 8)),  # sorted again, a group a pass
        ({"rows": 4, "accumulation": 4}, (1, 4)),  # half a group a pass
        ({"rows": 12, "accumulation": 2}, (2, 8)),  # one and a half groups
        ({"rows": 6, "accumulation": 4}, (2, 6)),  # cut anywhere: the ends of two groups
        # two updates a rollout: of 16 rows, 8 are drawn; a group has up to 6 among them
        ({"rows": 8, "steps": 2}, (2, 6)),
    ],
)
def test_prompts_of_a_pass(given, expected):
    assert groups_in_a_pass(settings(**given)) == expected


def test_prompts_of_a_pass_that_stays_as_it_was_shuffled():
    """Eight of 64 rows of eight prompts: no prompt has a pass of its own."""
    assert groups_in_a_pass(settings(accumulation=8)) == (1, 8)
    for torn in ({"top_entropy_quantile": 0.2}, {"entropy_coef": 0.01}):
        prompts, largest = groups_in_a_pass(settings(accumulation=8, **torn))
        assert prompts == 8 and 1 < largest < 8


def phases_of(policy, **keys):
    config = Config(policy=policy, grpo={"use_cpu": True, "bf16": False, **keys})
    made = read_settings(config, 1)
    return estimate(config, read_architecture(policy), made, Sharding(), PROMPT).phases


def test_gradients_wait_while_a_rollout_comes_between(tiny_policy):
    policy = PolicyConfig(path=str(tiny_policy))
    keys = {"gradient_accumulation_steps": 4, "per_device_train_batch_size": 8}
    between = phases_of(policy, steps_per_generation=2, **keys)
    assert between["rollout"]["gradients"] > 0
    assert "gradients" not in phases_of(policy, steps_per_generation=4, **keys)["rollout"]


def test_a_reference_is_as_wide_as_it_is_held(tiny_policy, tmp_path):
    """In float32 where nothing casts, like the policy; of an adapter a copy of its own."""
    half = tmp_path / "half"
    load_policy(PolicyConfig(path=str(tiny_policy), dtype="bfloat16")).model.save_pretrained(half)
    policy = PolicyConfig(path=str(half), dtype="bfloat16")
    count = parameters_of(policy)
    for bf16, size in ((False, 4), (True, 2)):
        assert phases_of(policy, beta=0.1, bf16=bf16)["scoring"]["reference policy"] == size * count
    section = PolicyConfig(path=str(tiny_policy), lora=LoraSection(r=4, alpha=8))
    adapter = get_peft_model(load_policy(section).model, lora_config(section))
    adapter.save_pretrained(tmp_path / "adapter")
    trained = sum(p.numel() for p in adapter.parameters() if p.requires_grad)
    policy = PolicyConfig(path=str(tmp_path / "adapter"))
    assert phases_of(policy, beta=0.1)["rollout"]["reference policy"] == 4 * trained
    assert phases_of(policy, beta=0.0)["rollout"]["reference policy"] == 0


def parameters_of(policy) -> int:
    """Parameters of the whole policy."""
    return sum(weight.number for weight in skeleton_of(policy).weights)


def test_shapes_by_hand():
    # 99 + 8 x (1 + 50) tokens of one prompt and its completions; its two images once
    shape = training_shape(settings(accumulation=2), PROMPT, shared=True)
    assert (shape.sequences, shape.length, shape.images) == (1, 507, 2)
    shape = training_shape(settings(accumulation=2), PROMPT, shared=False)
    assert (shape.sequences, shape.length, shape.images) == (8, 150, 16)
    assert shape.scored == 8 * 50
    # whole groups of 100 + 8 x 51 = 508 tokens, as many as a chunk takes
    shape = scoring_shape(settings(rows=256), PROMPT, shared=True)
    assert shape.sequences == 8192 // 508


def test_the_limit_ratio():
    assert sharing_ratio(1000, 250, 8) == pytest.approx(8 * 1250 / 3000)
    assert sharing_ratio(1000, 1e-9, 8) == pytest.approx(8)
    assert sharing_ratio(100, 50, 1) == 1


@pytest.mark.parametrize(
    ("section", "checks"),
    [({}, {}), ({"attention": "eager"}, {}), ({"lora": LoraSection(r=4, alpha=8)}, {})],
    ids=["sdpa", "eager", "lora"],
)
def test_a_traced_layer_is_the_real_one(tiny_policy, section, checks):
    policy = PolicyConfig(path=str(tiny_policy), freeze_vision=False, **section)
    skeleton = skeleton_of(policy)
    tape = skeleton.layers.language_layer(2, 40)
    model = load_policy(policy, trainable=True).model.train()
    if policy.lora is not None:
        from peft import get_peft_model

        model = get_peft_model(model, lora_config(policy)).get_base_model()
    layer = model.model.language_model.layers[0]
    turn = torch.zeros(2, 40, 16)
    mask = torch.ones(40, 40).tril().bool().expand(2, 1, 40, 40).contiguous()
    if policy.attention == "eager":
        mask = torch.zeros(2, 1, 40, 40).masked_fill(~mask, -1e9)
    seed = torch.zeros(1, requires_grad=True)
    with LiveBytes() as live:
        hidden = seed.expand(2, 40, 64).clone()
        output = layer(hidden, attention_mask=mask, position_embeddings=(turn, turn))
        assert live.peak == tape.forward
        size = nbytes(output)
        del hidden
        assert live.now - size == tape.kept
        live.restart_peak()
        output.backward(torch.zeros_like(output))
    # The output waits here, which a running model has let go.
    assert live.peak == pytest.approx(tape.backward + size, rel=0.02)
    assert tape.gradients == sum(nbytes(p) for p in layer.parameters() if p.requires_grad)


def skeleton_of(policy, **options):
    defaults = {
        "dtype": torch.float32,
        "autocast": None,
        "upcast_trained": True,
        "cuda": False,
        "gradients_held": False,
    }
    return build_skeleton(read_architecture(policy), policy, **{**defaults, **options})


def test_what_a_large_layer_keeps_by_hand():
    policy = PolicyConfig()
    # as under ZeRO, which computes with 16-bit weights
    skeleton = skeleton_of(policy, dtype=torch.bfloat16, upcast_trained=False, cuda=True)
    length, width, middle, states = 1024, 2048, 11008, 256
    tape = skeleton.layers.language_layer(1, length)
    # Bytes a token. Two norms: the input in float32, its root, the normalised copy, the output.
    norms = 2 * (4 * width + 4 + 2 * width + 2 * width)
    # Queries, keys and values as the kernel takes them (keys and values for every query head), its
    # output as it leaves it, log-sum-exp of the 16 heads.
    attention = 4 * 2 * width + 4 * 16
    # Gate, its SiLU, up, their product.
    mlp = 4 * 2 * middle
    mask = 2 * length
    assert states == skeleton.layers.text.num_key_value_heads * 128
    assert tape.kept / length == pytest.approx(norms + attention + mlp + mask, rel=0.01)
    assert skeleton.layers.mask_copy(1, length) == mask * length


def test_checkpointing_keeps_the_inputs_of_the_layers(tiny_policy):
    policy = PolicyConfig(path=str(tiny_policy))
    skeleton = skeleton_of(policy)
    shape = training_shape(settings(accumulation=2), PROMPT, shared=True)
    moments = {
        checkpointing: worst_moment(skeleton, shape, checkpointing=checkpointing, backward=True)
        for checkpointing in (True, False)
    }
    assert moments[True].activations < moments[False].activations
    # 51 tokens of two query heads a key head, behind 99 of prompt: a byte a pair; without
    # checkpointing a float32 copy in each of the two layers stays
    assert moments[True].mask == 2 * 51 * 150
    assert moments[False].mask == 2 * 51 * 150 * (1 + 2 * 4)


def test_the_head_by_hand():
    head = Head(64, 50_000, hidden_bytes=2, tile_bytes=2, weight_bytes=2, trained=True, cuda=True)
    tape = head.tape(sequences=1, length=507, scored=400)
    picked = 400 * 64 * 2
    tile = 400 * 32768 * 2
    assert tape.kept == picked
    assert tape.forward == 507 * 64 * 2 + picked + tile
    # float32 sums of both gradients and their 16-bit copies
    sums = 400 * 64 * (4 + 2) + 50_000 * 64 * (4 + 2)
    assert tape.backward == picked + tile + sums
    assert tape.gradients == 50_000 * 64 * 2
    # A tile has at most 4096 tokens.
    long = head.tape(sequences=8, length=1000, scored=8000)
    assert long.forward == 8000 * 64 * 2 * 2 + 4096 * 32768 * 2


def test_the_tile_is_that_of_the_installed_trl():
    from trl.kernels.chunked_logprob import TOKEN_CHUNK_SIZE
    from trl.trainer import utils

    from anomalyr1.planning import head, pass_shapes
    from anomalyr1.training.trainer import PolicyTrainer

    assert head.TILE_TOKENS == TOKEN_CHUNK_SIZE
    assert head.TILE_WORDS == utils._CHUNKED_LOGPROB_CHUNK_SIZE
    assert PolicyTrainer.chunk_tokens == pass_shapes.CHUNK_TOKENS


@pytest.mark.parametrize(
    ("section", "autocast", "held"),
    [
        # frozen tower and projector in 2 bytes, the language model in 4
        ({}, torch.bfloat16, {(2, False), (4, True)}),
        # layers take one dtype where nothing casts
        ({}, None, {(4, False), (4, True)}),
        ({"lora": LoraSection(r=4, alpha=8)}, torch.bfloat16, {(2, False), (4, True)}),
    ],
    ids=["autocast", "plain", "lora"],
)
def test_what_learns_is_counted_in_float32(tiny_policy, section, autocast, held):
    policy = PolicyConfig(path=str(tiny_policy), freeze_projector=True, **section)
    skeleton = skeleton_of(policy, dtype=torch.bfloat16, autocast=autocast)
    assert {(weight.itemsize, weight.trained) for weight in skeleton.weights} == held
    tape = skeleton.layers.language_layer(2, 40)
    assert tape.gradients == 4 * sum(
        p.numel()
        for p in skeleton.layers._inner.language_model.layers[0].parameters()
        if p.requires_grad
    )


def test_autocast_keeps_copies_of_what_learns_while_it_samples(tiny_policy):
    policy = PolicyConfig(path=str(tiny_policy), dtype="bfloat16", freeze_projector=True)
    model = load_policy(policy, trainable=True).model
    learn_in_float32(model, autocast=True)
    ids = torch.randint(100, 250, (1, 8))
    casting = torch.autocast("cpu", dtype=torch.bfloat16)
    with torch.no_grad(), casting, LiveBytes() as live:
        model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)
        kept = live.now

    def planned(**keys):
        phases = phases_of(policy, beta=0.04, **keys)
        return {phases[phase]["cast weights"] for phase in ("rollout", "scoring")}

    [copies] = planned(bf16=True)
    assert copies == pytest.approx(kept, rel=0.01)  # norms are not cast
    assert planned(bf16=False) == {0}


def test_checkpointed_layers_leave_autocasts_copies_until_the_pass_is_over(tiny_policy):
    """A forward half under autocast, weights in float32: what is left of it before it is over."""
    policy = PolicyConfig(path=str(tiny_policy), freeze_projector=True)
    model = load_policy(policy, trainable=True).model.train()
    model.gradient_checkpointing_enable({"use_reentrant": False})
    layers = model.model.language_model.layers
    states = torch.randn(1, 4, model.config.text_config.hidden_size, requires_grad=True)
    places = torch.arange(4).expand(3, 1, 4)
    sines = model.model.language_model.rotary_emb(states, places)
    with torch.autocast("cpu", torch.bfloat16), LiveBytes() as live:
        for layer in layers:
            states = layer(states, position_embeddings=sines, attention_mask=None)
        kept = live.now
    skeleton = skeleton_of(policy, autocast=torch.bfloat16, gradients_held=True)
    copies = _cast(skeleton.layers, skeleton.layers.language_layer(1, 4)) * len(layers)
    assert copies == pytest.approx(kept, rel=0.05)
    assert _cast(skeleton_of(policy).layers, skeleton_of(policy).layers.language_layer(1, 4)) == 0

    few = PromptTokens("made up", 1, 4, 4.0, 0, 0, 0)
    shape = training_shape(settings(2, 2, max_completion_length=2), few, shared=True)
    stages = _stages(skeleton, shape, checkpointing=True, backward=True)
    assert sum(stage.cast for stage in stages) == copies
    assert not any(
        stage.cast for stage in _stages(skeleton, shape, checkpointing=False, backward=True)
    )
