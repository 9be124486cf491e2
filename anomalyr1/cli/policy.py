"""Verbs that load a policy: train, sft, eval."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ConfigPath = Annotated[Path, typer.Argument(help="YAML config.", metavar="CONFIG")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(help="section.key=value, applied last.", metavar="[KEY=VALUE]..."),
]


def register(app: typer.Typer) -> None:
    """Add the verbs to the main command."""
    app.command()(train)
    app.command()(sft)
    app.command(name="eval")(evaluate)


def train(config: ConfigPath, overrides: Overrides = None) -> None:
    """Train a policy with GRPO; an interrupted run goes on.

    Example: anomalyr1 train configs/grpo/tiny_cpu.yaml grpo.max_steps=60
    """
    quiet_libraries()
    from trl import GRPOConfig

    from anomalyr1.config import load_config
    from anomalyr1.training.arguments import trl_keys
    from anomalyr1.training.grpo import train as run

    policy = run(load_config(config, overrides or (), {"grpo": trl_keys(GRPOConfig)}))
    _say("policy", policy)


def sft(config: ConfigPath, overrides: Overrides = None) -> None:
    """Fine-tune a policy on gold reasoning and answers; an interrupted run goes on.

    Example: anomalyr1 sft configs/sft/tiny_cpu.yaml sft.max_steps=200
    """
    quiet_libraries()
    from trl import SFTConfig

    from anomalyr1.config import load_config
    from anomalyr1.training.arguments import trl_keys
    from anomalyr1.training.sft import finetune

    policy = finetune(load_config(config, overrides or (), {"sft": trl_keys(SFTConfig)}))
    _say("policy", policy)


def _say(what: str, where: Path) -> None:
    """One of the processes of a run says where something is, and all leave together.

    A process that ends while its group is there may be aborted, and with it the launch.
    """
    from accelerate import PartialState
    from torch import distributed

    state = PartialState()
    if state.is_main_process:
        print(f"{what}: {where}", flush=True)
    if state.num_processes > 1 and distributed.is_initialized():
        state.wait_for_everyone()
        state.destroy_process_group()


def evaluate(config: ConfigPath, overrides: Overrides = None) -> None:
    """Answer a benchmark, make masks, score, and write the report; resumes per question.

    Under `accelerate launch` every process answers a share of the images.

    Example: anomalyr1 eval configs/eval/tiny_cpu.yaml policy.path=runs/tiny/policy
    """
    quiet_libraries()
    from anomalyr1.config import load_config
    from anomalyr1.evaluation.pipeline import evaluate as run

    _say("report", run(load_config(config, overrides or ())))


def quiet_libraries() -> None:
    """Prepare a verb that loads a policy: only warnings, no foreign progress bars, warm memory."""
    import logging
    import os
    import warnings

    from anomalyr1.allocator import keep_freed_memory

    keep_freed_memory()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("DS_LOG_LEVEL", "error")
    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning)
    logging.getLogger("torch.distributed.elastic").setLevel(logging.ERROR)
    import torch
    from datasets import disable_progress_bars
    from transformers.utils import logging as transformers_logging

    if not torch.cuda.is_available():
        # DeepSpeed is imported wherever it is installed and would announce that it found no GPU.
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    disable_progress_bars()
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
