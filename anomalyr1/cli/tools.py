"""`anomalyr1 merge` and `anomalyr1 doctor`: what comes after a training, and before one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anomalyr1.cli import panels
from anomalyr1.cli.policy import Overrides, quiet_libraries
from anomalyr1.terminal import notes, progress, results, waiting


def register(app: typer.Typer) -> None:
    """Add the verbs to the main command."""
    app.command(rich_help_panel=panels.TRAIN)(merge)
    app.command(rich_help_panel=panels.LOOK_INSIDE)(doctor)


def merge(
    run: Annotated[Path, typer.Argument(help="Run folder, or a folder with adapter_config.json.")],
    out: Annotated[Path, typer.Option("--out", help="Folder to write; empty or new.")],
    dtype: Annotated[
        str, typer.Option(help="auto (the base's own), float32, bfloat16 or float16.")
    ] = "auto",
) -> None:
    """Merge a LoRA adapter into its base model: one checkpoint that needs neither peft nor base.

    Runs on the CPU. The logits of a prompt with an image are compared before and after, and once
    more with the saved files; where they differ, nothing is written.

    Example: anomalyr1 merge runs/qwen2_5_vl_3b/lora --out runs/qwen2_5_vl_3b/lora/merged
    """
    quiet_libraries()
    import torch
    from accelerate.utils import patch_environment

    from anomalyr1.policy.adapters import ADAPTER_CONFIG
    from anomalyr1.policy.merge import merge_adapter
    from anomalyr1.run_folder import POLICY, TRAINING_DATA

    below = run / POLICY
    adapter = below if below.is_dir() and not (run / ADAPTER_CONFIG).is_file() else run
    # Saving imports deepspeed where it is installed, which without a GPU would say so.
    cpu = {} if torch.cuda.is_available() else {"ds_accelerator": "cpu"}
    with patch_environment(**cpu):
        done = merge_adapter(adapter, out, dtype=dtype, carry=(TRAINING_DATA,))
    console = notes()
    console.print(f"merged: {adapter} into {done.base}, {done.dtype}")
    console.print(
        f"logits: largest difference {done.difference:.1e} of their scale "
        f"(allowed {done.tolerance:g}); the adapter moves them by {done.moved:.1e}"
    )
    if done.moved == 0:
        print("note: the adapter changes nothing; was it trained?")
    elif done.difference > done.moved / 4:
        print(
            f"note: rounding to {done.dtype} takes much of what the adapter does; "
            "--dtype float32 keeps it"
        )
    print(f"policy: {done.out}")


def doctor(
    config: Annotated[
        Path | None, typer.Argument(help="YAML config to look at too.", metavar="CONFIG")
    ] = None,
    overrides: Overrides = None,
) -> None:
    """Look at this machine, and at what a config asks of it; exit status 1 on any problem.

    Nothing is trained, written or downloaded. A note is worth knowing, a problem is in the way.

    Example: anomalyr1 doctor configs/grpo/tiny_cpu.yaml
    """
    from anomalyr1.doctor.examine import examine, try_libraries
    from anomalyr1.doctor.lines import print_report, problems

    with waiting("trying the libraries"):
        machine = try_libraries()
    parts = examine(
        machine,
        config,
        overrides or (),
        progress=progress("opening files"),
        prepare=quiet_libraries,
    )
    print_report(parts, results())
    if problems(parts):
        raise typer.Exit(1)
