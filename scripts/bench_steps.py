"""Whole GRPO steps of the trainer on the whole Qwen2.5-VL-3B, random weights, against the plan.

python scripts/bench_steps.py                                a GPU of 80 GB, four minutes
python scripts/bench_steps.py --tiny                         the same code on a laptop

For adapters and for all weights, the shared prefix with SDPA and with FlexAttention, and stock TRL:
the seconds of a step and of its parts, and the most memory that each phase of it takes beside what
`anomalyr1 plan` expects there. bfloat16; one prompt with two images a step. Each result is a line
of JSON; the quick sides come first, as time may run out. scripts/bench_passes.py holds the sides
equal; here they are timed.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from bench_cases import HEADLINE, QUESTION, Case, make_trainer
from bench_grpo import log_probabilities, rollout_of, whole_step
from measuring import alternate, peak_memory
from planned import planned_phases
from random_policies import (
    NAME,
    Learning,
    let_learn,
    name_tokens,
    published_config,
    random_weights,
    twin,
)
from result_lines import Book

from anomalyr1.config import LoraSection, PolicyConfig
from anomalyr1.planning.live import nbytes
from anomalyr1.policy.load import load_policy, lora_config
from anomalyr1.policy.tiny import build_processor, train_tokenizer
from anomalyr1.training.trainer import PolicyTrainer

TINY = "data/tiny-policy"
MIB = 2**20
LEARNS = {"lora": LoraSection(), "full": None}
# A phase of the plan, and what is run to see its peak.
PHASES = {"rollout": "rollout", "training pass": "forward_backward", "step": "step"}


def policy_of(section: PolicyConfig, device: torch.device) -> tuple[Any, Any]:
    """Model and processor: the trained tiny policy, or random weights that speak QUESTION."""
    if section.path == TINY:
        loaded = load_policy(section, trainable=True)
        return loaded.model, loaded.processor
    tokenizer = train_tokenizer([QUESTION])
    config = published_config(section.path)
    name_tokens(config, tokenizer)  # its vocabulary stays whole, as the head's memory does
    model = random_weights(config, device, torch.bfloat16)
    return model, build_processor(tokenizer, section.min_pixels, section.max_pixels)


def measure(
    policy: tuple[Any, Any], section: PolicyConfig, case: Case, side: str, repeats: int
) -> dict[str, Any]:
    """Seconds and peak memory of a side, and what the plan says of it."""
    learning: Learning = "full" if section.lora is None else "lora"
    model = twin(policy[0])
    if learning == "full":
        let_learn(model, learning)
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(
            (model, policy[1]),
            case,
            Path(folder),
            shared=side != "stock",
            copied=False,
            flex=side == "flex",
            peft_config=lora_config(section),
            bf16=True,
        )
        if side == "flex" and not trainer.sharing.flex:
            return {"skipped": "FlexAttention does not run here"}
        # As `train` does before its first step: autocast around the whole model.
        trainer.model = trainer.accelerator.prepare_model(trainer.model)
        trainer.model_wrapped = trainer.model
        inputs = [trainer.train_dataset[0]] * case.generations
        whole_step(trainer, inputs)  # makes what is made once: optimiser state, compiled kernels
        batch = trainer._generate_and_score_completions(inputs)
        runs = {
            "step": lambda: whole_step(trainer, inputs),
            "rollout": rollout_of(trainer, inputs),
            "forward_backward": lambda: log_probabilities(trainer, batch),
        }
        seen = {name: seconds_and_peak(trainer, run, repeats) for name, run in runs.items()}
        prompt = int(batch["prompt_mask"][0].sum())
        patches = int(batch["image_grid_thw"][: case.images].prod(-1).sum())
    return {
        "prompt_tokens": prompt,
        "seconds": {name: seconds for name, (seconds, _) in seen.items()},
        "peak_mib": {phase: round(seen[name][1] / MIB) for phase, name in PHASES.items()},
        "planned_mib": expected(section, case, prompt, patches),
    }


def seconds_and_peak(trainer: PolicyTrainer, run: Any, repeats: int) -> tuple[float, int]:
    """Median seconds, and bytes at the peak: on a GPU of the timed runs, else of one more."""
    if not torch.cuda.is_available():
        return timed(run, repeats), total_peak(trainer, run)
    trainer.model.zero_grad(set_to_none=True)
    torch.cuda.reset_peak_memory_stats()
    return timed(run, repeats), torch.cuda.max_memory_allocated()


def timed(run: Any, repeats: int) -> float:
    """Median seconds of what has been run before."""
    return alternate({"run": run}, repeats, slow={"run": repeats})["run"]


def total_peak(trainer: PolicyTrainer, run: Any) -> int:
    """Bytes at the peak on a CPU, weights and optimiser state included."""
    beyond = peak_memory(run, trainer.model)
    states = [v for s in trainer.optimizer.state.values() for v in s.values()]
    held = [*trainer.model.parameters(), *(v for v in states if isinstance(v, torch.Tensor))]
    return beyond + sum(nbytes(tensor) for tensor in held)


def expected(section: PolicyConfig, case: Case, prompt: int, patches: int) -> dict[str, int]:
    """The plan's MiB by phase, without CUDA's context, which no allocator counts."""
    grpo = {
        "per_device_train_batch_size": case.generations,
        "num_generations": case.generations,
        "max_completion_length": case.completion,
        "gradient_checkpointing": False,
        "bf16": True,
        "use_cpu": not torch.cuda.is_available(),
    }
    phases = planned_phases(section, grpo, prompt, case.images, patches)
    sums = {
        phase: round(sum(size for part, size in parts.items() if part != "CUDA context") / MIB)
        for phase, parts in phases.items()
    }
    return {**sums, "step": max(sums.values())}


def main(
    tiny: Annotated[bool, typer.Option(help="The tiny policy and a small batch.")] = False,
    quick: Annotated[bool, typer.Option(help="Stock and shared prefix alone.")] = False,
    learns: Annotated[str, typer.Option(help="lora, full or both.")] = "both",
    side: Annotated[str, typer.Option(help="shared, flex, stock or all.")] = "all",
    repeats: Annotated[int, typer.Option(help="Timings of each; the median counts.")] = 1,
    seconds: Annotated[float, typer.Option(help="Begin nothing new after so many.")] = 600,
    out: Annotated[Path | None, typer.Option(help="File that lines of JSON are added to.")] = None,
) -> None:
    """Time whole steps, count their memory, and write a line of JSON for each result."""
    book = Book(out, time.monotonic() + seconds)
    case = replace(HEADLINE, completion=128)
    if tiny:
        case = replace(case, side=112, completion=8)
    pixels = case.side**2
    base = PolicyConfig(
        path=TINY if tiny else NAME, dtype="bfloat16", min_pixels=pixels, max_pixels=pixels
    )
    policy = policy_of(base, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    sides = [name for name in ("shared", "stock") if quick] or ["shared", "flex", "stock"]
    for kind in [name for name in LEARNS if learns in ("both", name)]:
        for name in [name for name in sides if side in ("all", name)]:
            section = replace(base, lora=LEARNS[kind], shared_prefix=name != "stock")
            found = book.attempt(
                lambda s=section, n=name: measure(policy, s, case, n, repeats)  # type: ignore[misc]
            )
            policy[0].zero_grad()
            book.write(what="step", learns=kind, variant=name, **asdict(case), **found)


if __name__ == "__main__":
    typer.run(main)
