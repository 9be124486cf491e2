"""Shared prefix against stock TRL on random tiny models: the same numbers."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from datasets import Dataset, Features, Image, List, Value
from PIL import Image as PILImage
from trl import GRPOConfig

from anomalyr1.config import LoraSection, PolicyConfig
from anomalyr1.policy.load import load_policy, lora_config
from anomalyr1.training.shared_prefix import block_mask, group_rows
from anomalyr1.training.sharing import SharedPrefixTrainer

QUESTIONS = (
    "Is there a defect in the object?",
    "Locate every defect in the image, please.",
    "Tile?",
)


def length_reward(completions, **_):
    return [float(len(completion[0]["content"]) % 7) for completion in completions]


def picture(seed: int, width: int, height: int) -> PILImage.Image:
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3)).astype(np.uint8)
    return PILImage.fromarray(pixels)


def dataset(sizes: list[list[tuple[int, int]]]) -> Dataset:
    """One row a list of image sizes."""
    rows = []
    for number, row_sizes in enumerate(sizes):
        content = [{"type": "image", "text": None}] * len(row_sizes)
        content = [*content, {"type": "text", "text": QUESTIONS[number % len(QUESTIONS)]}]
        images = [picture(10 * number + i, *size) for i, size in enumerate(row_sizes)]
        rows.append({"prompt": [{"role": "user", "content": content}], "images": images})
    part = {"type": Value("string"), "text": Value("string")}
    message = {"role": Value("string"), "content": List(part)}
    features = Features({"prompt": List(message), "images": List(Image())})
    return Dataset.from_list(rows, features=features)


def trainer(policy, tmp_path, data, *, shared, policy_options=None, **options):
    section = PolicyConfig(
        path=str(policy),
        max_pixels=112 * 112,
        **{"freeze_vision": False, **(policy_options or {})},
    )
    loaded = load_policy(section, trainable=True)
    arguments = {
        "per_device_train_batch_size": 6,
        "num_generations": 3,
        "max_completion_length": 12,
        "learning_rate": 1e-3,
        "max_steps": 1,
        "loss_type": "grpo",
        "beta": 0.0,
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
        "max_grad_norm": 1.0,
        "logging_steps": 1,
        **options,
    }
    return SharedPrefixTrainer(
        model=loaded.model,
        processing_class=loaded.processor,
        reward_funcs=[length_reward],
        args=GRPOConfig(output_dir=str(tmp_path), seed=3, **arguments),
        train_dataset=data,
        peft_config=lora_config(section),
        shared_prefix=shared,
    )


SMALL, WIDE = (112, 112), (140, 84)
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
    "sequence level": ([[SMALL], [WIDE]], {}, {"importance_sampling_level": "sequence"}),
}


@pytest.mark.parametrize("name", CASES)
def test_one_step_gives_the_same_weights(name, tiny_policy, tmp_path):
    sizes, policy_options, options = CASES[name]
    data = dataset(sizes)
    weights, logs = [], []
    for shared in (False, True):
        run = trainer(
            tiny_policy,
            tmp_path,
            data,
            shared=shared,
            policy_options=policy_options,
            **options,
        )
        assert run.shared_prefix is shared
        run.train()
        weights.append({k: v.detach().clone() for k, v in run.model.named_parameters()})
        logs.append(run.state.log_history[0])
    stock, ours = weights
    assert max((stock[k] - ours[k]).abs().max().item() for k in stock) < 1e-4
    for key in ("reward", "entropy", "completions/mean_length"):
        assert logs[1][key] == pytest.approx(logs[0][key], abs=1e-4), key
    if name != "checkpointing":
        assert logs[1]["grad_norm"] == pytest.approx(logs[0]["grad_norm"], rel=1e-3)


def batch(run, data, completions: list[int]):
    """A micro-batch of random completions of the given lengths, as TRL lays it out."""
    rows = [data[i] for i in range(len(data)) for _ in range(run.num_generations)]
    texts, images = [], []
    for row in rows:
        texts.append(
            run.processing_class.apply_chat_template(
                row["prompt"], tokenize=False, add_generation_prompt=True
            )
        )
        images.append(row["images"])
    inputs = run.processing_class(
        text=texts, images=images if any(images) else None, padding=True, return_tensors="pt"
    )
    width = max(completions)
    ids = torch.randint(20, 200, (len(rows), width), generator=torch.Generator().manual_seed(1))
    mask = torch.arange(width)[None] < torch.tensor(completions)[:, None]
    kinds = torch.cat([inputs["mm_token_type_ids"], torch.zeros_like(ids)], 1)
    vision = {"mm_token_type_ids": kinds, "num_images": [len(group) for group in images]}
    for name in ("pixel_values", "image_grid_thw"):
        if name in inputs:
            vision[name] = inputs[name]
    ids = ids.masked_fill(~mask, run._tokenizer.pad_token_id)
    tokens = torch.cat([inputs["input_ids"], ids], 1)
    attention = torch.cat([inputs["attention_mask"], mask.long()], 1)
    return tokens, attention, width, vision


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4, 5], [5, 0, 3, 1, 4, 2]])
def test_log_probabilities_and_gradients(order, tiny_policy, tmp_path):
    data = dataset([[SMALL, WIDE], [WIDE]])
    results = []
    for shared in (False, True):
        run = trainer(tiny_policy, tmp_path, data, shared=shared)
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


def reorder(vision, order):
    counts = vision["num_images"]
    grids = torch.split(vision["image_grid_thw"], counts)
    pixels = torch.split(vision["pixel_values"], [int(g.prod(-1).sum()) for g in grids])
    return {
        "mm_token_type_ids": vision["mm_token_type_ids"][order],
        "num_images": [counts[i] for i in order],
        "image_grid_thw": torch.cat([grids[i] for i in order]),
        "pixel_values": torch.cat([pixels[i] for i in order]),
    }


def test_chunks_change_nothing(tiny_policy, tmp_path):
    data = dataset([[SMALL], [WIDE]])
    run = trainer(tiny_policy, tmp_path, data, shared=True)
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


def test_greedy_rollouts_are_token_identical(tiny_policy, tmp_path):
    data = dataset([[SMALL, WIDE], [], [WIDE]])
    rows = [data[i] for i in range(3) for _ in range(3)]
    found = []
    for shared in (False, True):
        run = trainer(tiny_policy, tmp_path, data, shared=shared, per_device_train_batch_size=9)
        run.generation_config.do_sample = False
        prompts = []
        for row in rows:
            images = iter(row["images"])
            content = [
                {**part, "image": next(images)} if part["type"] == "image" else part
                for part in row["prompt"][0]["content"]
            ]
            prompts.append([{"role": "user", "content": content}])
        ids, images, fields = run._tokenize_prompts(prompts)
        images = [group or [] for group in images]
        found.append(run._generate_single_turn(ids, images, fields, 3)[0])
    assert found[0] == found[1]
    assert max(len(completion) for completion in found[0]) > 1


def test_what_cannot_be_shared_falls_back_in_one_line(tiny_policy, tmp_path, capsys, monkeypatch):
    import anomalyr1.training.sharing as sharing

    assert sharing.sharing_obstacle(torch.nn.Linear(1, 1)) == "Linear is not a Qwen2.5-VL"
    monkeypatch.setattr(sharing, "MASKED_KERNELS", ())
    run = trainer(tiny_policy, tmp_path, dataset([[SMALL], [WIDE]]), shared=True)
    assert run.shared_prefix is False
    printed = capsys.readouterr().out.strip().splitlines()
    assert [line for line in printed if "shared prefix" in line] == [
        "shared prefix: off, the sdpa kernel takes no block mask (policy.attention=sdpa does); "
        "prompts are computed once a completion"
    ]
    run.train()  # stock TRL


def test_groups_need_equal_tokens_and_equal_pixels():
    ids = torch.tensor([[0, 5, 6], [5, 6, 0], [0, 5, 6], [0, 5, 7]])
    mask = torch.tensor([[0, 1, 1], [1, 1, 0], [0, 1, 1], [0, 1, 1]])
    pixels = [torch.zeros(2), torch.zeros(2), torch.ones(2), torch.zeros(2)]
    assert group_rows(ids, mask) == [[0, 1, 2], [3]]
    assert group_rows(ids, mask, pixels) == [[0, 1], [2], [3]]


def test_block_mask_by_hand():
    # prompt p0 p1, completion 0 (a0 a1), completion 1 (b0), one padding token
    seen = block_mask(torch.tensor([[-1, -1, 0, 0, 1, -7]]))[0, 0].int().tolist()
    assert seen == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 1, 1, 0, 0],
        [1, 1, 0, 0, 1, 0],
        [0, 0, 0, 0, 0, 1],
    ]


def test_policy_section_is_a_plain_record():
    assert dataclasses.asdict(PolicyConfig())["shared_prefix"] is True


def test_accumulation_keeps_the_completions_of_a_prompt_together(tiny_policy, tmp_path):
    run = trainer(
        tiny_policy,
        tmp_path,
        dataset([[SMALL], [WIDE], [SMALL], [WIDE]]),
        shared=True,
        per_device_train_batch_size=3,
        gradient_accumulation_steps=4,
    )
    groups = []
    inner = run._chunks

    def counted(found, mask):
        groups.append([len(group) for group in found])
        return inner(found, mask)

    run._chunks = counted
    run.train()
    assert groups == [[3]] * 4


def test_bf16_autocast_is_no_less_exact_than_stock(tiny_policy, tmp_path):
    data = dataset([[SMALL, WIDE], [WIDE]])
    values = {}
    for shared in (False, True):
        for half in (False, True):
            run = trainer(tiny_policy, tmp_path, data, shared=shared)
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


def test_split_attention_is_masked_attention_over_groups():
    from types import SimpleNamespace

    from anomalyr1.training.split_attention import segments, split_attention

    generator = torch.Generator().manual_seed(0)
    prompts, lengths = [5, 3], [[2, 1, 3], [4]]
    size = 12  # the first sequence has 11 tokens and the second 7: both are padded
    query = torch.randn(2, 4, size, 8, generator=generator)
    key, value = (torch.randn(2, 2, size, 8, generator=generator) for _ in range(2))
    layer = SimpleNamespace(num_key_value_groups=2)
    layout = [
        segments(p, own, torch.device("cpu")) for p, own in zip(prompts, lengths, strict=True)
    ]
    ours, _ = split_attention(layer, query, key, value, None, layout=layout)
    for u, (prompt, own) in enumerate(zip(prompts, lengths, strict=True)):
        order = [-1] * prompt + [g for g, length in enumerate(own) for _ in range(length)]
        mask = block_mask(torch.tensor([order]))[0, 0]
        real = len(order)
        for head in range(4):
            scores = query[u, head, :real] @ key[u, head // 2, :real].T / 8**0.5
            weights = scores.masked_fill(~mask, -torch.inf).softmax(-1)
            expected = weights @ value[u, head // 2, :real]
            torch.testing.assert_close(ours[u, :real, head], expected, rtol=1e-5, atol=1e-5)
        assert (ours[u, real:] == 0).all()
