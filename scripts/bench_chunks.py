"""A large group's completions in chunks behind their prompt, against all of them at once.

python scripts/bench_chunks.py      two 448 x 448 images, 64 completions of 256 tokens, chunks of 7

Seconds and peak memory of log-probabilities with their backward pass. Those and the gradients are
checked equal before anything is timed. The last line is JSON.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from bench_cases import Case, fill, make_trainer, random_policy
from bench_grpo import flat_gradient, log_probabilities
from measuring import alternate, check_equal, peak_memory

from anomalyr1.training.trainer import PolicyTrainer


def random_batch(trainer: PolicyTrainer, case: Case) -> dict[str, Any]:
    """The first row's prompt with G random completions of C tokens, as TRL lays them out."""
    row = trainer.train_dataset[0]
    said = [{"role": "user", "content": fill(row["prompt"][0]["content"], row["images"])}]
    group = case.generations
    inputs = trainer.processing_class.apply_chat_template(
        [said] * group, add_generation_prompt=True, tokenize=True, return_dict=True
    )
    ids = torch.as_tensor(inputs["input_ids"])
    shape = (group, case.completion)
    drawn = torch.randint(20, 60, shape, generator=torch.Generator().manual_seed(0))
    kinds = torch.as_tensor(inputs["mm_token_type_ids"])
    return {
        "prompt_ids": ids,
        "prompt_mask": torch.ones_like(ids),
        "completion_ids": drawn,
        "completion_mask": torch.ones_like(drawn),
        "pixel_values": torch.as_tensor(inputs["pixel_values"]),
        "image_grid_thw": torch.as_tensor(inputs["image_grid_thw"]),
        "num_images": [case.images] * group,
        "mm_token_type_ids": torch.nn.functional.pad(kinds, (0, case.completion)),
    }


def main(
    images: Annotated[int, typer.Option(help="Pictures in the prompt.")] = 2,
    side: Annotated[int, typer.Option(help="Pixels of their sides.")] = 448,
    completion: Annotated[int, typer.Option(help="Tokens C.")] = 256,
    generations: Annotated[int, typer.Option(help="Completions G.")] = 64,
    chunk: Annotated[int, typer.Option(help="Completions of a chunk.")] = 7,
    repeats: Annotated[int, typer.Option(help="Timings of each side; the median counts.")] = 3,
    threads: Annotated[int | None, typer.Option(help="CPU threads; default: all cores.")] = None,
) -> None:
    """Time both sides, count their memory, and print the ratios."""
    if threads is not None:
        torch.set_num_threads(threads)
    case = Case(images=images, side=side, completion=completion, generations=generations)
    policy = random_policy()
    with tempfile.TemporaryDirectory() as folder:
        sides = {
            name: make_trainer(policy, case, Path(folder) / name, shared=True)
            for name in ("whole", "chunks")
        }
        # An end of a row is a completion behind the prompt's last token.
        sides["chunks"].sharing.chunk_completions = chunk * (1 + completion)
        batch = random_batch(sides["whole"], case)
        passes = {name: lambda t=t: log_probabilities(t, batch) for name, t in sides.items()}
        check_equal("log-probabilities", *(run() for run in passes.values()), limit=1e-4)
        check_equal("gradients", *(flat_gradient(t) for t in sides.values()), limit=1e-3)
        memory = {name: peak_memory(run, sides[name].model) for name, run in passes.items()}
        seconds = alternate(passes, repeats)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    print(
        json.dumps(
            {
                "ratio": round(seconds["chunks"] / seconds["whole"], 2),
                "peak_ratio": round(memory["chunks"] / memory["whole"], 2),
                "device": device,
                "threads": torch.get_num_threads(),
                "torch": torch.__version__,
                "prompt_tokens": batch["prompt_ids"].size(1),
                "completion_tokens": completion,
                "completions": generations,
                "completions_a_chunk": chunk,
                "seconds": seconds,
                "peak_mib": {name: round(value / 2**20) for name, value in memory.items()},
            }
        )
    )


if __name__ == "__main__":
    typer.run(main)
