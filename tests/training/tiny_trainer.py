"""A trainer of the tiny policy, its rows and its micro-batches, as the tests here want them."""

from __future__ import annotations

import torch
from datasets import Dataset, Features, Image, List, Value
from pictures import noise
from tiny_runs import ON_CPU
from trl import GRPOConfig

from anomalyr1.config import PolicyConfig
from anomalyr1.policy.load import load_policy, lora_config
from anomalyr1.training.trainer import PolicyTrainer

SMALL, WIDE = (112, 112), (140, 84)
QUESTIONS = (
    "Is there a defect in the object?",
    "Locate every defect in the image, please.",
    "Tile?",
)


def length_reward(completions, **_):
    return [float(len(completion[0]["content"]) % 7) for completion in completions]


def dataset(sizes: list[list[tuple[int, int]]]) -> Dataset:
    """One row a list of image sizes."""
    rows = []
    for number, row_sizes in enumerate(sizes):
        content = [{"type": "image", "text": None}] * len(row_sizes)
        content = [*content, {"type": "text", "text": QUESTIONS[number % len(QUESTIONS)]}]
        images = [noise(10 * number + i, *size) for i, size in enumerate(row_sizes)]
        rows.append({"prompt": [{"role": "user", "content": content}], "images": images})
    part = {"type": Value("string"), "text": Value("string")}
    message = {"role": Value("string"), "content": List(part)}
    features = Features({"prompt": List(message), "images": List(Image())})
    return Dataset.from_list(rows, features=features)


def make_trainer(
    policy,
    tmp_path,
    data,
    *,
    shared=True,
    kind=PolicyTrainer,
    rewards=(length_reward,),
    policy_options=None,
    trainer_options=None,
    **options,
):
    """One step of six completions, three a prompt, in float32 on the CPU; `options` are TRL's."""
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
        **ON_CPU,
        "save_strategy": "no",
        "disable_tqdm": True,
        "max_grad_norm": 1.0,
        **options,
    }
    return kind(
        model=loaded.model,
        processing_class=loaded.processor,
        reward_funcs=list(rewards),
        args=GRPOConfig(output_dir=str(tmp_path), seed=3, **arguments),
        train_dataset=data,
        peft_config=lora_config(section),
        shared_prefix=shared,
        **(trainer_options or {}),
    )


def greedy(run) -> list[list[int]]:
    """Completions of every row of the trainer's data, G each, by its own rollout."""
    run.generation_config.do_sample = False
    data, prompts = run.train_dataset, []
    for row in (data[i] for i in range(len(data)) for _ in range(run.num_generations)):
        images = iter(row["images"])
        content = [
            {**part, "image": next(images)} if part["type"] == "image" else part
            for part in row["prompt"][0]["content"]
        ]
        prompts.append([{"role": "user", "content": content}])
    ids, images, fields = run._tokenize_prompts(prompts)
    images = [group or [] for group in images]
    tokens: list[list[int]] = run._generate_single_turn(ids, images, fields, run.num_generations)[0]
    return tokens


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
