"""Stock TRL against the shared prefix on the same inputs, in one process.

python scripts/bench_grpo.py                          two 448 x 448 images, C 64, G 8
python scripts/bench_grpo.py --questions 5 --stock-repeats 1
                                                      five prompts about the images, in a tree
python scripts/bench_grpo.py --grid --plot bench.png  also other prompts, images, C and G
python scripts/bench_grpo.py --family qwen3_vl        DeepStack, image tokens of 32 x 32 pixels

Three figures a case: the rollout, the log-probabilities with their backward pass, and a whole step
(both, plus preprocessing, rewards and the optimiser). Tokens, log-probabilities and gradients of
both sides are checked equal before anything is timed. The last line is JSON.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from bench_cases import GRID, HEADLINE, Case, FamilyName, fill, make_trainer, random_policy
from bench_figures import draw, show
from measuring import alternate, check_equal, peak_memory
from rich.console import Console

from anomalyr1.shared_prefix.prefixes import Prompt, beginning
from anomalyr1.training.trainer import PolicyTrainer


def measure(
    case: Case,
    policy: tuple[Any, Any],
    repeats: int,
    folder: Path,
    flex: bool,
    stock_repeats: int | None = None,
    busy: bool = False,
) -> dict[str, Any]:
    """Seconds and peak memory of both sides, their ratios, and what sharing could give at most."""
    clock = time.process_time if busy else time.perf_counter
    slow = {} if stock_repeats is None else {"stock": stock_repeats}
    names = ("stock", "prompts", "shared") if case.questions > 1 else ("stock", "shared")
    sides = {
        name: make_trainer(
            policy,
            case,
            folder / name,
            name != "stock",
            flex=flex,
            by_image=name == "shared" and case.questions > 1,
        )
        for name in names
    }
    inputs = [row for row in sides["stock"].train_dataset for _ in range(case.generations)]
    batches = {name: t._generate_and_score_completions(inputs) for name, t in sides.items()}
    _equal("tokens", [batch["completion_ids"] for batch in batches.values()], limit=0)
    backward = {
        name: lambda t=t: log_probabilities(t, batches["stock"]) for name, t in sides.items()
    }
    memory: dict[str, int] = {}
    logps: dict[str, torch.Tensor] = {}
    for name, run in backward.items():
        memory[name] = peak_memory(
            lambda name=name, run=run: logps.update({name: run()}), sides[name].model
        )
    _equal("log-probabilities", list(logps.values()), limit=1e-4)
    _equal("gradients", [flat_gradient(t) for t in sides.values()], limit=1e-3)
    rollout = {name: rollout_of(t, inputs) for name, t in sides.items()}
    step = {name: lambda t=t: whole_step(t, inputs) for name, t in sides.items()}
    prompt = int(batches["stock"]["prompt_mask"][0].sum())
    g, c, asked = case.generations, case.completion, case.questions
    image = beginning(_prompts(batches["stock"])[::g]) if asked > 1 else 0
    stock_tokens = asked * g * (prompt + c)
    shared_tokens = image + asked * (prompt - image + g * c)
    result: dict[str, Any] = {**asdict(case), "prompt_tokens": prompt}
    for name, runs in (("rollout", rollout), ("backward", backward), ("step", step)):
        seconds = alternate(runs, repeats, slow, clock)
        result[f"{name}_seconds"] = seconds
        result[f"{name}_ratio"] = round(seconds["stock"] / seconds["shared"], 2)
        if asked > 1:
            result[f"{name}_ratio_to_prompts"] = round(seconds["prompts"] / seconds["shared"], 2)
    result["backward_peak_mib"] = {name: round(value / 2**20) for name, value in memory.items()}
    result["backward_peak_ratio"] = round(memory["shared"] / memory["stock"], 2)
    result["token_limit"] = round(stock_tokens / shared_tokens, 2)
    result["share_of_limit"] = round(result["backward_ratio"] / result["token_limit"], 2)
    return result


def _equal(name: str, values: list[torch.Tensor], limit: float) -> None:
    for value in values[1:]:
        check_equal(name, values[0], value, limit)


def _prompts(batch: dict[str, Any]) -> list[Prompt]:
    width = batch["prompt_ids"].size(1)
    kinds = batch.get("mm_token_type_ids", torch.zeros_like(batch["prompt_ids"]))[:, :width]
    given = {"input_ids": batch["prompt_ids"], "attention_mask": batch["prompt_mask"]}
    return Prompt.of_batch({**given, "mm_token_type_ids": kinds})


def rollout_of(trainer: PolicyTrainer, inputs: list[dict[str, Any]]) -> Callable[[], Any]:
    """The sampling of completions alone, prompts already tokenised."""
    size = len(inputs)
    prompts = [
        [{"role": "user", "content": fill(row["prompt"][0]["content"], row["images"])}]
        for row in inputs
    ]
    prompt_ids, images, fields = trainer._tokenize_prompts(prompts)
    return lambda: trainer._generate_single_turn(prompt_ids, images, fields, size)


def log_probabilities(trainer: PolicyTrainer, batch: dict[str, Any]) -> torch.Tensor:
    """Log-probabilities (G, C), their gradient computed."""
    trainer.model.zero_grad()
    logps = score(trainer, batch)
    logps.mean().backward()
    return logps.detach()


def score(trainer: PolicyTrainer, batch: dict[str, Any]) -> torch.Tensor:
    """Log-probabilities (G, C) of a batch's completions."""
    vision = ("pixel_values", "image_grid_thw", "num_images", "mm_token_type_ids")
    logps: torch.Tensor = trainer._get_per_token_logps_and_entropies(
        trainer.model,
        torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1),
        torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1),
        batch["completion_ids"].size(1),
        **{name: batch[name] for name in vision if name in batch},
    )[0]
    return logps


def whole_step(trainer: PolicyTrainer, inputs: list[dict[str, Any]]) -> None:
    """Rollout, rewards, loss, backward, update."""
    trainer._step, trainer._buffered_inputs = 0, None
    trainer.training_step(trainer.model, inputs, None)
    trainer.optimizer.step()
    trainer.model.zero_grad()


def flat_gradient(trainer: PolicyTrainer) -> torch.Tensor:
    """All gradients in one vector of length 1, so that their difference is relative."""
    parts = [p.grad.flatten() for p in trainer.model.parameters() if p.grad is not None]
    vector = torch.cat(parts)
    return vector / vector.norm()


def main(
    images: Annotated[int, typer.Option(help="Pictures in the prompt.")] = HEADLINE.images,
    side: Annotated[int, typer.Option(help="Pixels of their sides.")] = HEADLINE.side,
    completion: Annotated[int, typer.Option(help="Tokens C.")] = HEADLINE.completion,
    generations: Annotated[int, typer.Option(help="Completions G.")] = HEADLINE.generations,
    questions: Annotated[int, typer.Option(help="Prompts about the pictures.")] = 1,
    family: Annotated[FamilyName, typer.Option(help="Of the random policy.")] = "qwen2_5_vl",
    grid: Annotated[bool, typer.Option(help="Other prompt lengths, images, C and G too.")] = False,
    repeats: Annotated[int, typer.Option(help="Timings of each side; the median counts.")] = 3,
    stock_repeats: Annotated[
        int | None,
        typer.Option(min=1, help="Timings of stock TRL, without a run before; default: as all."),
    ] = None,
    busy: Annotated[
        bool, typer.Option(help="Count the process's own seconds: the machine has other work.")
    ] = False,
    threads: Annotated[int | None, typer.Option(help="CPU threads; default: all cores.")] = None,
    flex: Annotated[bool, typer.Option(help="FlexAttention on the shared side (a GPU).")] = False,
    plot: Annotated[Path | None, typer.Option(help="PNG of ratios against the limit.")] = None,
) -> None:
    """Time both sides and print the ratios."""
    if threads is not None:
        torch.set_num_threads(threads)
    console = Console(width=110)
    policy = random_policy(family)
    results = []
    with tempfile.TemporaryDirectory() as folder:
        own = Case(
            images=images,
            side=side,
            completion=completion,
            generations=generations,
            questions=questions,
        )
        for case in (own, *(GRID if grid else ())):
            results.append(measure(case, policy, repeats, Path(folder), flex, stock_repeats, busy))
            show(results[-1:], console)
    if len(results) > 1:
        show(results, console)
    if plot is not None:
        draw(results, plot)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    print(
        json.dumps(
            {
                "ratio": results[0]["step_ratio"],
                "family": family,
                "device": device,
                "threads": torch.get_num_threads(),
                "repeats": {"stock": stock_repeats or repeats, "shared": repeats},
                "torch": torch.__version__,
                "cases": results,
            }
        )
    )


if __name__ == "__main__":
    typer.run(main)
