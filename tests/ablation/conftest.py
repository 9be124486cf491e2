"""Configs that an ablation of the toy benchmark is made of."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_runs import ON_CPU, write_config


@pytest.fixture
def configs(tmp_path, toy_benchmark, tiny_policy) -> Path:
    """A folder with a training and an evaluation config."""
    policy = {"path": tiny_policy, "max_pixels": 12544, "freeze_vision": False}
    common = {**ON_CPU, "max_steps": 1, "per_device_train_batch_size": 4, "learning_rate": 1e-3}
    write_config(
        tmp_path / "train.yaml",
        policy=policy,
        data={"benchmark": toy_benchmark, "question_types": ["Defect Grounding"]},
        preflight={"skip": True},
        grpo={**common, "num_generations": 2, "max_completion_length": 8},
    )
    write_config(
        tmp_path / "sft.yaml", policy=policy, data={"benchmark": toy_benchmark}, sft=common
    )
    short = {"max_new_tokens": 8, "limit": 2, "allow_seen": True}
    write_config(
        tmp_path / "eval.yaml",
        policy={"path": "nowhere", "max_pixels": 12544},
        eval={"benchmark": toy_benchmark, **short},
        segmentation={"kind": "none"},
    )
    return tmp_path
