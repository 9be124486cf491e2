"""The cases of the benchmarks: a random policy, its questions, and a trainer of each side."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from datasets import Dataset, Features, Image, List, Value
from PIL import Image as PILImage
from trl import GRPOConfig

from anomalyr1.policy.tiny import TinyShape, build_tiny_policy, train_tokenizer
from anomalyr1.policy.tiny_qwen3 import build_qwen3_model, build_qwen3_processor
from anomalyr1.training.trainer import PolicyTrainer

# 8.5 M parameters: enough that arithmetic, not Python, fills the time.
SHAPE = TinyShape(
    hidden_size=256,
    num_layers=6,
    num_heads=8,
    num_kv_heads=2,
    mrope_section=(4, 6, 6),
    vision_depth=6,
    vision_hidden_size=192,
)
FamilyName = Literal["qwen2_5_vl", "qwen3_vl"]
QUESTION = (
    "Is there any defect in the object? Compare it with the normal object before you answer. "
)


@dataclass(frozen=True)
class Case:
    """Prompts of the same `images` pictures of `side` x `side` pixels, G completions of C each."""

    images: int = 2
    side: int = 448
    words: int = 1  # repetitions of the question
    completion: int = 64
    generations: int = 8
    questions: int = 1  # about the pictures, a prompt each


HEADLINE = Case()
GRID = (
    Case(generations=4),
    Case(generations=16),
    Case(completion=16),
    Case(completion=192),
    Case(images=1),
    Case(images=4),
    Case(images=0, words=20),
    Case(side=224),
)


class Constant:
    """A reward that differs between completions and costs nothing."""

    __name__ = "constant"

    def __call__(self, completions: list[Any], **_: Any) -> list[float]:
        """0, 1, 2, ... over the batch."""
        return [float(index) for index in range(len(completions))]


def random_policy(family: FamilyName = "qwen2_5_vl") -> tuple[Any, Any]:
    """Model and processor of about that size, for pictures of up to 448 x 448 pixels."""
    if family == "qwen2_5_vl":
        return build_tiny_policy([QUESTION], shape=SHAPE, max_pixels=448 * 448)
    tokenizer = train_tokenizer([QUESTION])
    model = build_qwen3_model(tokenizer, replace(SHAPE, mrope_section=(6, 5, 5)))
    return model, build_qwen3_processor(tokenizer, max_pixels=448 * 448)


def make_trainer(
    policy: tuple[Any, Any],
    case: Case,
    folder: Path,
    shared: bool,
    copied: bool = True,
    flex: bool = False,
    by_image: bool = False,
    peft_config: Any = None,
    **options: Any,
) -> PolicyTrainer:
    """A trainer on its own copy of the same weights, or on these themselves.

    With `flex`, the shared side's packed groups attend by FlexAttention, where there is a GPU; with
    `by_image` its prompts share the pictures.
    `options` are TRL's.
    """
    model, processor = policy
    if copied:
        given, model = model, type(model)(deepcopy(model.config))
        model.load_state_dict(given.state_dict())
        model.generation_config = given.generation_config
    arguments: dict[str, Any] = {
        "per_device_train_batch_size": case.generations * case.questions,
        "num_generations": case.generations,
        "max_completion_length": case.completion,
        # Greedy and of full length: both sides give the same tokens to compare.
        "generation_kwargs": {"do_sample": False, "min_new_tokens": case.completion},
        "learning_rate": 0.0,
        "loss_type": "grpo",
        "beta": 0.0,
        "use_cpu": not torch.cuda.is_available(),
        "bf16": False,
        "gradient_checkpointing": False,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
        **options,
    }
    trainer = PolicyTrainer(
        model=model,
        processing_class=processor,
        reward_funcs=[Constant()],
        args=GRPOConfig(output_dir=str(folder / str(shared)), **arguments),
        train_dataset=rows(case),
        peft_config=peft_config,
        shared_prefix=shared,
        flex=shared and flex,
        images=[list(range(case.questions))] if by_image else None,
        run_dir=folder / str(shared),
        keep_every=0,
    )
    trainer.create_optimizer_and_scheduler(num_training_steps=1000)
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1
    return trainer


def rows(case: Case) -> Dataset:
    """Questions about random pictures, each in another order of words."""
    pixels = np.random.default_rng(0).integers(0, 255, (case.images, case.side, case.side, 3))
    row = {
        "sample_id": "row",
        "question_type": "Anomaly Detection",
        "answer": "A",
        "options": None,
        "boxes": None,
        "images": [PILImage.fromarray(picture.astype(np.uint8)) for picture in pixels],
    }
    part = {"type": Value("string"), "text": Value("string")}
    features = Features(
        {
            **{name: Value("string") for name in row if name != "images"},
            "prompt": List({"role": Value("string"), "content": List(part)}),
            "images": List(Image()),
        }
    )
    words, pictures = QUESTION.split(), [{"type": "image", "text": None}] * case.images
    asked = [QUESTION * case.words]
    asked += [" ".join([*words[n:], *words[:n]]) for n in range(1, case.questions)]
    prompts = [
        [{"role": "user", "content": [*pictures, {"type": "text", "text": text}]}] for text in asked
    ]
    return Dataset.from_list([{**row, "prompt": prompt} for prompt in prompts], features=features)


def fill(content: list[dict[str, Any]], images: list[Any]) -> list[dict[str, Any]]:
    """The message with its pictures in place of the placeholders."""
    pictures = iter(images)
    return [
        {"type": "image", "image": next(pictures)} if part["type"] == "image" else part
        for part in content
    ]
