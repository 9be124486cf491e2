"""`anomalyr1 plan`: what a training run will need, before it starts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from anomalyr1.cli import panels
from anomalyr1.cli.policy import ConfigPath, Overrides, quiet_libraries
from anomalyr1.terminal import results, waiting


def register(app: typer.Typer) -> None:
    """Add the verb to the main command."""
    app.command(rich_help_panel=panels.LOOK_INSIDE)(plan)


def plan(
    config: ConfigPath,
    overrides: Overrides = None,
    accelerate: Annotated[
        Path | None, typer.Option(help="Launch file of accelerate; without one, one process.")
    ] = None,
    gpus: Annotated[
        int | None, typer.Option(help="GPUs over all machines, instead of the file's number.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Estimate parameters, tokens and memory per GPU of `train` from its config alone.

    No weights are read. Memory is that of a step with the longest prompts and completions; where it
    is too much, changes are listed with what each would save. Configs of other verbs are refused.

    Example: anomalyr1 plan configs/grpo/qwen2_5_vl_3b_roam.yaml --accelerate
    configs/accelerate/zero3.yaml
    """
    quiet_libraries()
    from trl import GRPOConfig

    from anomalyr1.config import load_config
    from anomalyr1.planning.plan import make_plan
    from anomalyr1.planning.plan_report import plan_record, print_plan
    from anomalyr1.training.arguments import trl_keys

    run = load_config(config, overrides or (), {"grpo": trl_keys(GRPOConfig)})
    with waiting("planning"):
        made = make_plan(run, accelerate, gpus)
    if as_json:
        print(json.dumps(plan_record(made), indent=2))
    else:
        print_plan(made, results(100))
