"""Shared prefix against stock TRL on random tiny models: the same numbers."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from accelerate.state import AcceleratorState
from families import both_families, second_slow
from tiny_trainer import SMALL, WIDE, batch, dataset, greedy, make_trainer, reorder
from torch.nn.attention import flex_attention as library
from torch.utils._python_dispatch import TorchDispatchMode

from anomalyr1.config import LoraSection
from anomalyr1.shared_prefix import flex_attention as flex
from anomalyr1.shared_prefix.packing import chunked
from anomalyr1.shared_prefix.prefixes import Prompt, group_equal
from anomalyr1.shared_prefix.vision import RowImages
from anomalyr1.training import sharing

CASES = {
    "one image": ([[SMALL], [SMALL]], {}, {}),
    "no image": ([[], []], {}, {}),
    "two images of different sizes": ([[SMALL, WIDE], [WIDE, SMALL]], {}, {}),
    "prompts of unequal length": ([[SMALL], [SMALL, WIDE, SMALL]], {}, {}),
    "eager attention": ([[SMALL], [WIDE]], {"attention": "eager"}, {}),
    "frozen vision": ([[SMALL], [WIDE]], {"freeze_vision": True, "freeze_projector": True}, {}),
    "adapters, reference by switching off": (
        [[SMALL], [WIDE]],
        {"lora": LoraSection(r=4, alpha=8, dropout=0.0)},
        {"beta": 0.1},
    ),
    "reference copy": ([[SMALL], [WIDE]], {}, {"beta": 0.1}),
    "checkpointing": ([[SMALL], [WIDE]], {}, {"gradient_checkpointing": True}),
    "two updates a rollout": ([[SMALL], [WIDE]], {}, {"num_iterations": 2, "max_steps": 2}),
    "accumulation": (
        [[SMALL], [WIDE]],
        {},
        {"per_device_train_batch_size": 3, "gradient_accumulation_steps": 2},
    ),
    "dapo": ([[SMALL], [WIDE]], {}, {"loss_type": "dapo"}),
    "bnpo": ([[SMALL], [WIDE]], {}, {"loss_type": "bnpo"}),
    "dr_grpo": ([[SMALL], [WIDE]], {}, {"loss_type": "dr_grpo", "scale_rewards": "none"}),
    "entropy bonus": ([[SMALL], [WIDE]], {}, {"entropy_coef": 0.05}),
    "clip higher": (
        [[SMALL], [WIDE]],
        {},
        {"epsilon_high": 0.28, "num_iterations": 3, "max_steps": 3},
    ),
    "sequence level": ([[SMALL], [WIDE]], {}, {"importance_sampling_level": "sequence"}),
}


@both_families("name", CASES, quick=["two images of different sizes"])
def test_one_step_gives_the_same_weights(name, policy_path, tmp_path):
    sizes, policy_options, options = CASES[name]
    data = dataset(sizes)
    weights, logs = [], []
    for shared in (False, True):
        run = make_trainer(
            policy_path,
            tmp_path,
            data,
            shared=shared,
            policy_options=policy_options,
            **options,
        )
        assert run.sharing.logps is run.sharing.rollout is shared
        run.train()
        weights.append({k: v.detach().clone() for k, v in run.model.named_parameters()})
        logs.append(run.state.log_history[0])
    stock, ours = weights
    assert max((stock[k] - ours[k]).abs().max().item() for k in stock) < 1e-4
    for key in ("reward", "entropy", "completions/mean_length"):
        assert logs[1][key] == pytest.approx(logs[0][key], abs=1e-4), key
    if name != "checkpointing":
        assert logs[1]["grad_norm"] == pytest.approx(logs[0]["grad_norm"], rel=1e-3)


@both_families("order", [[0, 1, 2, 3, 4, 5], [5, 0, 3, 1, 4, 2]])
def test_log_probabilities_and_gradients(order, policy_path, tmp_path):
    data = dataset([[SMALL, WIDE], [WIDE]])
    results = []
    for shared in (False, True):
        run = make_trainer(policy_path, tmp_path, data, shared=shared)
        run.model.train()
        tokens, attention, width, vision = batch(run, data, [9, 4, 1, 7, 9, 2])
        tokens, attention = tokens[order], attention[order]
        vision = reorder(vision, order)
        logps, entropies, _ = run._get_per_token_logps_and_entropies(
            run.model, tokens, attention, width, compute_entropy=True, **vision
        )
        mask = attention[:, -width:]
        (logps * mask * torch.arange(1, 7)[:, None]).sum().backward()
        gradients = {k: p.grad for k, p in run.model.named_parameters() if p.grad is not None}
        results.append((logps.detach() * mask, entropies.detach() * mask, gradients))
    (a, ea, ga), (b, eb, gb) = results
    assert torch.allclose(a, b, atol=1e-4) and torch.allclose(ea, eb, atol=1e-4)
    assert a.abs().sum() > 1 and ga.keys() == gb.keys()
    for name, gradient in ga.items():
        assert (gradient - gb[name]).norm() <= 1e-3 * gradient.norm() + 1e-6, name


@both_families("checkpointing", [False, True])
def test_flex_attention_changes_nothing(checkpointing, policy_path, tmp_path, monkeypatch):
    """Its kernel as plain operations: torch refuses its backward pass on a CPU."""
    monkeypatch.setattr(library, "_validate_device", lambda *_: None)
    monkeypatch.setattr(flex, "_compiled", lambda: library.flex_attention)
    data = dataset([[SMALL, WIDE], [WIDE]])
    results = []
    for used in (False, True):
        run = make_trainer(
            policy_path, tmp_path, data, shared=True, gradient_checkpointing=checkpointing
        )
        run.model.train()
        run.sharing.flex = used
        tokens, attention, width, vision = batch(run, data, [9, 4, 1, 7, 9, 2])
        logps, _, _ = run._get_per_token_logps_and_entropies(
            run.model, tokens, attention, width, **vision
        )
        (logps * attention[:, -width:]).sum().backward()
        gradient = torch.cat([p.grad.flatten() for p in run.model.parameters()])
        results.append((logps.detach(), gradient))
    (a, ga), (b, gb) = results
    assert torch.allclose(a, b, atol=1e-5)
    assert 0 < (ga - gb).norm() <= 1e-4 * ga.norm()  # other kernels, the same numbers


def test_flex_attention_on_a_cpu_is_off_and_says_so(tiny_policy, tmp_path, capsys):
    data = dataset([[SMALL], [WIDE]])
    for shared, reason in (
        (True, "torch has no backward pass of it on a CPU"),
        (False, "there are no packed groups without shared prefixes"),
    ):
        run = make_trainer(
            tiny_policy,
            tmp_path,
            data,
            shared=shared,
            policy_options={"attention": "flex_attention"},
            trainer_options={"flex": True},
        )
        assert run.sharing.logps is shared and run.sharing.flex is False
        assert f"FlexAttention: off, {reason}; SDPA takes over\n" in capsys.readouterr().out


@second_slow
def test_chunks_change_nothing(policy_path, tmp_path):
    data = dataset([[SMALL], [WIDE]])
    run = make_trainer(policy_path, tmp_path, data, shared=True)
    tokens, attention, width, vision = batch(run, data, [5, 6, 7, 8, 9, 10])
    with torch.no_grad():
        whole, _, _ = run._get_per_token_logps_and_entropies(
            run.model, tokens, attention, width, **vision
        )
        run.chunk_tokens = 1
        parts, _, _ = run._get_per_token_logps_and_entropies(
            run.model, tokens, attention, width, **vision
        )
    assert torch.allclose(whole, parts, atol=1e-5)


@both_families(
    "policy_options, options",
    [
        ({}, {"beta": 0.1, "num_iterations": 2, "max_steps": 2}),
        (
            {"lora": LoraSection(r=4, alpha=8, dropout=0.0), "freeze_vision": True},
            {"gradient_checkpointing": True},
        ),
    ],
)
def test_a_step_in_chunks_of_completions_gives_the_same_weights(
    policy_options, options, policy_path, tmp_path
):
    weights = []
    for limit in (None, 20):
        run = make_trainer(
            policy_path,
            tmp_path,
            dataset([[SMALL], [WIDE]]),
            policy_options=policy_options,
            trainer_options={"chunk_completions": limit},
            **options,
        )
        assert run.sharing.chunk_completions == limit
        run.train()
        weights.append({k: v.detach().clone() for k, v in run.model.named_parameters()})
    whole, ours = weights
    assert max((whole[k] - ours[k]).abs().max().item() for k in whole) < 1e-4
    assert any((whole[k] != ours[k]).any() for k in whole)  # another order of sums


def test_what_keeps_completions_from_chunks_is_said(tiny_policy, tmp_path, capsys):
    given = {"trainer_options": {"chunk_completions": 20}}
    reentrant = {
        "gradient_checkpointing": True,
        "gradient_checkpointing_kwargs": {"use_reentrant": True},
    }
    for options, reason in (
        ({"policy_options": {"attention": "eager"}}, "the eager kernel attends by a mask"),
        (reentrant, "reentrant checkpointing gives the keys and values of a prompt no gradient"),
    ):
        run = make_trainer(tiny_policy, tmp_path, dataset([[SMALL], [WIDE]]), **given, **options)
        assert run.sharing.logps and run.sharing.chunk_completions is None
        assert f"chunks of completions: off, {reason}" in capsys.readouterr().out


@second_slow
def test_greedy_rollouts_are_token_identical(policy_path, tmp_path):
    data = dataset([[SMALL, WIDE], [], [WIDE]])
    found = [
        greedy(
            make_trainer(policy_path, tmp_path, data, shared=shared, per_device_train_batch_size=9)
        )
        for shared in (False, True)
    ]
    assert found[0] == found[1]
    assert max(len(completion) for completion in found[0]) > 1


def test_what_cannot_be_shared_falls_back_in_one_line(tiny_policy, tmp_path, capsys, monkeypatch):
    import anomalyr1.shared_prefix.attention as sharing

    assert sharing.sharing_obstacle(torch.nn.Linear(1, 1)) == "Linear is no Qwen2.5-VL or Qwen3-VL"
    monkeypatch.setattr(sharing, "MASKED_KERNELS", ())
    run = make_trainer(tiny_policy, tmp_path, dataset([[SMALL], [WIDE]]), shared=True)
    assert run.sharing.logps is False
    printed = capsys.readouterr().out.strip().splitlines()
    assert [line for line in printed if "shared prefix" in line] == [
        "shared prefix: off, the sdpa kernel takes no block mask (policy.attention=sdpa does); "
        "prompts are computed once a completion"
    ]
    run.train()  # stock TRL


def test_accumulation_keeps_the_completions_of_a_prompt_together(
    tiny_policy, tmp_path, monkeypatch
):
    run = make_trainer(
        tiny_policy,
        tmp_path,
        dataset([[SMALL], [WIDE], [SMALL], [WIDE]]),
        shared=True,
        per_device_train_batch_size=3,
        gradient_accumulation_steps=4,
    )
    groups = []

    def counted(found, *rest):
        groups.append([len(group) for group in found])
        return chunked(found, *rest)

    monkeypatch.setattr("anomalyr1.shared_prefix.logprobs.chunked", counted)
    run.train()
    assert groups == [[3]] * 4


@second_slow
def test_bf16_autocast_is_no_less_exact_than_stock(policy_path, tmp_path):
    data = dataset([[SMALL, WIDE], [WIDE]])
    values = {}
    for shared in (False, True):
        for half in (False, True):
            run = make_trainer(policy_path, tmp_path, data, shared=shared)
            run.model.train()
            tokens, attention, width, vision = batch(run, data, [9, 4, 1, 7, 9, 2])
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                logps, _, _ = run._get_per_token_logps_and_entropies(
                    run.model, tokens, attention, width, **vision
                )
            values[shared, half] = (logps * attention[:, -width:]).detach().float()
    exact = values[False, False]
    stock, ours = ((values[shared, True] - exact).abs().max() for shared in (False, True))
    assert 0 < stock < 0.1
    assert ours <= 2 * stock


class CastsOfWeights(TorchDispatchMode):
    """Counts copies in another dtype that are made of a model's weights."""

    def __init__(self, model):
        super().__init__()
        self.weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten._to_copy.default:
            self.count += args[0].untyped_storage().data_ptr() in self.weights
        return func(*args, **(kwargs or {}))


def test_a_rollout_casts_each_weight_once_however_long_it_is(tiny_policy, tmp_path, monkeypatch):
    counts, tokens = {}, {}
    for once in (True, False):
        if not once:
            monkeypatch.setattr(sharing, "_cast_once", lambda _: nullcontext())
        for length in (4, 12):
            AcceleratorState._reset_state(True)
            run = make_trainer(
                tiny_policy, tmp_path, dataset([[SMALL], [WIDE]]), bf16=True,
                max_completion_length=length, generation_kwargs={"min_new_tokens": length},
            )  # fmt: skip
            run.model = run.model_wrapped = run.accelerator.prepare_model(run.model)
            with CastsOfWeights(run.model) as casts:
                tokens[once, length] = greedy(run)
            counts[once, length] = casts.count
    AcceleratorState._reset_state(True)
    assert 0 < counts[True, 4] == counts[True, 12] < counts[False, 4] < counts[False, 12]
    assert all(tokens[True, length] == tokens[False, length] for length in (4, 12))


def test_a_rollout_does_not_hold_the_one_before(tiny_policy, tmp_path):
    run = make_trainer(tiny_policy, tmp_path, dataset([[SMALL], [WIDE]]), max_steps=2)
    sampled, held = run._sampled, []

    def spied(inputs):
        held.append(run._buffered_inputs)
        return sampled(inputs)

    run._sampled = spied
    run.train()
    assert held == [None, None]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"cache_implementation": "static"}, "sampling has cache_implementation=static"),
        ({"generation_kwargs": {"num_beams": 2}}, "sampling has num_beams=2"),
        ({"generation_kwargs": {"use_cache": False}}, "sampling has use_cache=False"),
    ],
)
def test_sampling_with_a_cache_or_an_order_of_its_own_is_trls(
    options, reason, tiny_policy, tmp_path, capsys
):
    run = make_trainer(tiny_policy, tmp_path, dataset([[SMALL], [WIDE]]), **options)
    assert run.sharing.logps and not run.sharing.rollout
    assert f"shared prefix: in part, {reason}; rollouts are sampled as TRL does" in (
        capsys.readouterr().out
    )
    run.train()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"top_entropy_quantile": 0.3}, "grpo.top_entropy_quantile ranks tokens"),
        ({"entropy_coef": 0.5}, "the entropy bonus is a mean"),
    ],
)
def test_what_a_micro_batch_decides_keeps_its_rows(options, reason, tiny_policy, tmp_path, capsys):
    weights = []
    for shared in (False, True):
        run = make_trainer(
            tiny_policy,
            tmp_path,
            dataset([[SMALL], [WIDE], [SMALL], [WIDE]]),
            shared=shared,
            per_device_train_batch_size=3,
            gradient_accumulation_steps=4,
            **options,
        )
        run.train()
        weights.append({k: v.detach().clone() for k, v in run.model.named_parameters()})
    assert f"shared prefix: in part, {reason}" in capsys.readouterr().out
    stock, ours = weights
    assert max((stock[k] - ours[k]).abs().max().item() for k in stock) < 1e-4


def test_equal_pixels_in_different_frames_are_different_images():
    """A plain picture and the same turned on its side: equal patches, other positions."""
    grids, pixels = torch.tensor([[[1, 4, 6]], [[1, 6, 4]]]), torch.ones(24, 8)
    images = RowImages([pixels, pixels], list(grids))
    assert not images.same(0, 1) and images.same(1, 1)
    prompts = [Prompt(torch.tensor([1, 9, 2]), torch.tensor([0, 1, 0]))] * 2
    assert group_equal(prompts, images) == [[0], [1]]
