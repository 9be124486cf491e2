"""Run by test_image_trees_processes.py in two processes: trainings by image, stock and in trees.

The launch file decides between DDP, FSDP2 and DeepSpeed; for the latter two the processes are taken
for GPUs, as `as_gpus.py` has it.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))


def settings(run_dir: Path, policy: str, benchmark: str, *, processes: int, shared: bool):
    """Three steps, of two images each: GRPO asks two questions of an image, SFT all of them."""
    from tiny_runs import toy_run

    from anomalyr1.config import DataConfig

    config = toy_run(run_dir, policy, benchmark)
    common = {"max_steps": 3, "learning_rate": 1e-3, "save_steps": 3}
    rows, images = 16 // processes, 2 // processes
    return replace(
        config,
        data=DataConfig(benchmark=benchmark, limit=4, group_by_image=True),
        policy=replace(config.policy, shared_prefix=shared),
        keep_completions_every=1,
        grpo={**config.grpo, **common, "per_device_train_batch_size": rows, "beta": 0.05},
        sft={**config.sft, **common, "per_device_train_batch_size": images},
    )


def both(out: Path, policy: str, benchmark: str, processes: int) -> None:
    """Train by both verbs, stock and in trees, each in a folder of its name."""
    from accelerate.state import AcceleratorState

    from anomalyr1.training.grpo import train
    from anomalyr1.training.sft import finetune

    for shared in (False, True):
        for name in ("train", "sft"):
            folder = out / f"{name}-{'trees' if shared else 'stock'}"
            config = settings(folder, policy, benchmark, processes=processes, shared=shared)
            if name == "train":
                data = replace(config.data, images_per_rollout=2 // processes)
                config = replace(config, data=data)
            # What a launch file leaves to the trainer is that trainer's.
            AcceleratorState._reset_state()
            {"train": train, "sft": finetune}[name](config)


def main(out: str, policy: str, benchmark: str) -> None:
    import os

    import accelerate.accelerator
    import transformers.training_args
    from accelerate import PartialState
    from accelerate.utils import DistributedType

    if {"ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED"} & os.environ.keys():
        os.environ["ACCELERATE_TORCH_DEVICE"] = "cpu"
        PartialState._prepare_backend = lambda *_, **__: ("gloo", DistributedType.MULTI_GPU)
        transformers.training_args.is_torch_bf16_gpu_available = lambda *_: True
        accelerate.accelerator.is_bf16_available = lambda *_: True
        PartialState()  # the processes find each other before any settings are read
    both(Path(out), policy, benchmark, int(os.environ["WORLD_SIZE"]))


if __name__ == "__main__":
    main(*sys.argv[1:])
