"""Supervised fine-tuning on the questions of an image: stock TRL against one copy of the image.

python scripts/bench_sft.py          two 448 x 448 images, five questions, answers of 64 tokens

Two figures: loss with its backward pass, and a whole step (that, the preparing of images and texts,
and the optimiser). Losses and gradients of both sides are checked equal before anything is timed.
The last line is JSON.
"""

from __future__ import annotations

import json
import tempfile
from copy import deepcopy
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from bench_cases import QUESTION, Case, random_policy, rows
from bench_grpo import flat_gradient
from datasets import Dataset, Features, Image, List, Value
from measuring import alternate, check_equal, peak_memory
from trl import SFTConfig

from anomalyr1.planning.tokens import sharing_ratio
from anomalyr1.shared_prefix.trained_rows import pack_rows
from anomalyr1.training.image_groups import ImageGroups
from anomalyr1.training.sft import TuningTrainer


def questions(case: Case, count: int, tokenizer: Any) -> Dataset:
    """Rows about the same pictures; each asks in other words and is answered at length."""
    words = QUESTION.split()
    shown = rows(case)[0]
    part = List({"type": Value("string"), "text": Value("string")})
    messages = List({"role": Value("string"), "content": part})
    features = Features({"prompt": messages, "completion": messages, "images": List(Image())})
    records = []
    for number in range(count):
        turned = [*words[number:], *words[:number]]
        said = ""
        # The end of the turn is two tokens more.
        while len(tokenizer(said)["input_ids"]) < case.completion - 2:
            said += f"{turned[len(said) % len(turned)]} "
        content = [{"type": "image", "text": None}] * case.images
        asked = [*content, {"type": "text", "text": " ".join(turned)}]
        answer = [{"type": "text", "text": said.strip()}]
        records.append(
            {
                "prompt": [{"role": "user", "content": asked}],
                "completion": [{"role": "assistant", "content": answer}],
                "images": shown["images"],
            }
        )
    return Dataset.from_list(records, features=features)


def make_trainer(
    policy: tuple[Any, Any], data: Dataset, folder: Path, shared: bool
) -> TuningTrainer:
    """A trainer of one side on its own copy of the same weights; a batch is all of the rows."""
    given, processor = policy
    model = type(given)(deepcopy(given.config))
    model.load_state_dict(given.state_dict())
    arguments = SFTConfig(
        output_dir=str(folder / str(shared)),
        max_length=None,
        completion_only_loss=True,
        per_device_train_batch_size=1,
        learning_rate=0.0,
        use_cpu=not torch.cuda.is_available(),
        bf16=False,
        gradient_checkpointing=False,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
    )
    trainer = TuningTrainer(
        model=model,
        processing_class=processor,
        args=arguments,
        train_dataset=data,
        images=ImageGroups(data, [list(range(len(data)))]),
        shared_prefix=shared,
    )
    trainer.create_optimizer_and_scheduler(num_training_steps=1000)
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1
    return trainer


def loss(trainer: TuningTrainer, batch: dict[str, Any]) -> torch.Tensor:
    """The loss of a batch, its gradient computed."""
    trainer.model.zero_grad()
    found: torch.Tensor = trainer.compute_loss(trainer.model, dict(batch))
    found.backward()
    return found.detach()


def whole_step(trainer: TuningTrainer) -> None:
    """Images and texts prepared, loss, backward, update."""
    batch = trainer.data_collator([trainer.train_dataset[0]])
    trainer.training_step(trainer.model, dict(batch))
    trainer.optimizer.step()
    trainer.model.zero_grad()


def measure(case: Case, count: int, folder: Path, repeats: int) -> dict[str, Any]:
    """Seconds and peak memory of both sides, their ratios, and what sharing could give at most."""
    policy = random_policy()
    data = questions(case, count, policy[1].tokenizer)
    sides = {
        name: make_trainer(policy, data, folder, name == "shared") for name in ("stock", "shared")
    }
    batch = sides["stock"].data_collator([sides["stock"].train_dataset[0]])
    passes = {name: lambda t=t: loss(t, batch) for name, t in sides.items()}
    check_equal("losses", *(run() for run in passes.values()), limit=1e-4)
    check_equal("gradients", *(flat_gradient(t) for t in sides.values()), limit=1e-3)
    packed, _ = pack_rows(sides["shared"].model.model, batch)
    first = packed.layout[0].end
    length, answered = batch["attention_mask"].sum() / count, (batch["labels"] >= 0).sum() / count
    result: dict[str, Any] = {
        "images": case.images,
        "side": case.side,
        "questions": count,
        "shared_tokens": first,
        "question_tokens": round(float(length - answered) - first, 1),
        "completion_tokens": round(float(answered), 1),
    }
    steps = {name: lambda t=t: whole_step(t) for name, t in sides.items()}
    for name, runs in (("backward", passes), ("step", steps)):
        seconds = alternate(runs, repeats)
        result[f"{name}_seconds"] = seconds
        result[f"{name}_ratio"] = round(seconds["stock"] / seconds["shared"], 2)
    memory = {name: peak_memory(run, sides[name].model) for name, run in passes.items()}
    result["backward_peak_mib"] = {name: round(value / 2**20) for name, value in memory.items()}
    result["backward_peak_ratio"] = round(memory["shared"] / memory["stock"], 2)
    result["token_limit"] = round(sharing_ratio(first, float(length) - first, count), 2)
    result["share_of_limit"] = round(result["backward_ratio"] / result["token_limit"], 2)
    return result


def main(
    images: Annotated[int, typer.Option(help="Pictures in the prompts.")] = 2,
    side: Annotated[int, typer.Option(help="Pixels of their sides.")] = 448,
    count: Annotated[int, typer.Option("--questions", help="Questions about them.")] = 5,
    completion: Annotated[int, typer.Option(help="Tokens of an answer, about.")] = 64,
    repeats: Annotated[int, typer.Option(help="Timings of each side; the median counts.")] = 3,
    threads: Annotated[int | None, typer.Option(help="CPU threads; default: all cores.")] = None,
) -> None:
    """Time both sides and print the ratios."""
    if threads is not None:
        torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        case = Case(images=images, side=side, completion=completion)
        result = measure(case, count, Path(folder), repeats)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    about = {"device": device, "threads": torch.get_num_threads(), "torch": torch.__version__}
    print(json.dumps({"ratio": result["backward_ratio"], **about, **result}))


if __name__ == "__main__":
    typer.run(main)
