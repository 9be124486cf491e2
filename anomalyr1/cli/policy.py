"""Verbs that load a policy: train, sft, eval."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from anomalyr1.cli import panels
from anomalyr1.cli.verbs import resumable
from anomalyr1.terminal import is_verbose

if TYPE_CHECKING:
    from anomalyr1.config import Config

ConfigPath = Annotated[Path, typer.Argument(help="YAML config.", metavar="CONFIG")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(help="section.key=value, applied last.", metavar="[KEY=VALUE]..."),
]


def register(app: typer.Typer) -> None:
    """Add the verbs to the main command."""
    app.command(rich_help_panel=panels.TRAIN)(sft)
    app.command(rich_help_panel=panels.TRAIN)(train)
    app.command(name="eval", rich_help_panel=panels.EVALUATE)(evaluate)


def train(config: ConfigPath, overrides: Overrides = None) -> None:
    """Train a policy with GRPO; an interrupted run goes on.

    Example: anomalyr1 train configs/grpo/tiny_cpu.yaml grpo.max_steps=60
    """
    quiet_libraries()
    from trl import GRPOConfig

    from anomalyr1.config import load_config
    from anomalyr1.training.arguments import trl_keys
    from anomalyr1.training.grpo import train as run

    _carry_out(run, load_config(config, overrides or (), {"grpo": trl_keys(GRPOConfig)}), "policy")


def sft(config: ConfigPath, overrides: Overrides = None) -> None:
    """Fine-tune a policy on gold reasoning and answers; an interrupted run goes on.

    Example: anomalyr1 sft configs/sft/tiny_cpu.yaml sft.max_steps=200
    """
    quiet_libraries()
    from trl import SFTConfig

    from anomalyr1.config import load_config
    from anomalyr1.training.arguments import trl_keys
    from anomalyr1.training.sft import finetune

    read = load_config(config, overrides or (), {"sft": trl_keys(SFTConfig)})
    _carry_out(finetune, read, "policy")


def _carry_out(work: Callable[[Config], Path], config: Config, what: str) -> None:
    """Do it; one of the processes says where the result is, and all leave together.

    A process that ends while its group is there may be aborted, and with it the launch.
    """
    from accelerate import PartialState
    from torch import distributed

    with resumable(*(["resume=auto"] if config.resume == "never" else [])):
        where = work(config)
    state = PartialState()
    if state.is_main_process:
        print(f"{what}: {where}", flush=True)
    if state.num_processes > 1 and distributed.is_initialized():
        state.wait_for_everyone()
        state.destroy_process_group()


def evaluate(
    config: ConfigPath,
    overrides: Overrides = None,
    limit: Annotated[
        int | None, typer.Option(help="Ask about so many images, by data set, class and label.")
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(help="i/n: the i-th of n parts, in its own folder; gather joins them."),
    ] = None,
) -> None:
    """Answer a benchmark, make masks, score, and write the report; resumes per question.

    Under `accelerate launch` every process answers a share of the images. Machines that share
    nothing answer a shard each.

    Example: anomalyr1 eval configs/eval/tiny_cpu.yaml policy.path=runs/tiny/policy
    """
    quiet_libraries()
    from anomalyr1.config import load_config
    from anomalyr1.evaluation.pipeline import evaluate as run

    given = {"eval.limit": limit, "eval.shard": shard}
    options = [f"{key}={value}" for key, value in given.items() if value is not None]
    _carry_out(run, load_config(config, [*(overrides or ()), *options]), "report")


def quiet_libraries() -> None:
    """Prepare a verb that loads a policy: warm memory, and libraries that say nothing.

    Under --verbose they say what they do, with the time.
    """
    import logging
    import os
    import warnings

    from anomalyr1.allocator import keep_freed_memory

    keep_freed_memory()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("DS_LOG_LEVEL", "error")
    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    if is_verbose():
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    else:
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
    if is_verbose():
        transformers_logging.set_verbosity_info()
    else:
        transformers_logging.set_verbosity_error()
