"""Makes data/tiny-policy: a tiny Qwen2.5-VL, taught from nothing on synthetic images.

python scripts/make_tiny_policy.py --out data/tiny-policy     (under three hours on two cores)

Run again after an interruption: every stage goes on where it stopped.
"""

from __future__ import annotations

import shutil
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from torch import nn
from torch.utils.data import DataLoader

from anomalyr1.allocator import keep_freed_memory
from anomalyr1.config import PolicyConfig
from anomalyr1.data.making.synthetic.drawing import synthesize
from anomalyr1.data.mmad import load_benchmark
from anomalyr1.geometry import Frame
from anomalyr1.policy.load import Policy, load_policy
from anomalyr1.policy.tiny import TinyShape, build_tiny_policy
from anomalyr1.prompts import FIXED_PHRASES, build_messages, gold_completion, template_for
from anomalyr1.training.curriculum.asking import Asking
from anomalyr1.training.curriculum.lessons import JointLesson, LanguageLesson, SightLesson
from anomalyr1.training.curriculum.pictures import read_pictures
from anomalyr1.training.curriculum.sight import Heads
from anomalyr1.training.curriculum.stage import Plan, run_stage


def corpus(benchmark: Path) -> list[str]:
    """Everything the policy will read and write on this benchmark."""
    texts = []
    for sample in load_benchmark(benchmark).samples:
        frame = Frame(224, 224, 112, 112)
        for question in sample.questions:
            template = template_for(question)
            for message in build_messages(sample, question, template, references=1):
                texts += [part["text"] for part in message["content"] if part["type"] == "text"]
            texts.append(gold_completion(sample, question, template, frame))
    return texts


def draw(job: tuple[Path, int, int, int]) -> None:
    out, images, seed, size = job
    if not out.exists():
        synthesize(out, train=images, test=6, seed=seed, size=size)


def main(
    out: Annotated[Path, typer.Option()] = Path("data/tiny-policy"),
    work: Annotated[Path, typer.Option()] = Path("runs/tiny-policy"),
    images: Annotated[int, typer.Option()] = 10_000,
    seed: Annotated[int, typer.Option()] = 7000,
    device: Annotated[str, typer.Option()] = "cuda" if torch.cuda.is_available() else "cpu",
    processes: Annotated[int, typer.Option()] = 2,
    shape: Annotated[str, typer.Option()] = "",
    sight: Annotated[int, typer.Option()] = 1500,
    everywhere: Annotated[int, typer.Option()] = 500,
    language: Annotated[int, typer.Option()] = 400,
    both: Annotated[int, typer.Option()] = 1200,
    rate: Annotated[float, typer.Option()] = 1e-3,
    both_rate: Annotated[float, typer.Option()] = 1e-3,
    batch: Annotated[int, typer.Option()] = 16,
    bench: Annotated[Path | None, typer.Option()] = None,
    threads: Annotated[int, typer.Option()] = 2,
) -> None:
    keep_freed_memory()
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision("high")
    console = Console(soft_wrap=True)
    sets = [(bench or work / "images") / f"{n:02d}" for n in range(images // 500)]
    test = (bench or work / "images") / "test"
    jobs = [(path, 500, seed + n, 112) for n, path in enumerate(sets)]
    with ProcessPoolExecutor(processes) as pool:
        list(pool.map(draw, [*jobs, (test, 120, seed + 999, 112)]))
    pictures = read_pictures([path / "train" for path in sets])
    held_out = read_pictures([test / "train"])
    console.print(f"{len(pictures.samples)} samples, {len(pictures.pixels)} images")
    start = work / "start"
    torch.manual_seed(seed)
    kw: dict[str, Any] = eval(f"dict({shape})")
    if not start.exists():
        build_tiny_policy(
            [t for path in sets[:8] for t in corpus(path / "train")],
            start,
            phrases=FIXED_PHRASES,
            shape=TinyShape(**kw),
        )
    config = PolicyConfig(path=str(start), max_pixels=12544)
    policy = load_policy(replace(config, freeze_vision=False), trainable=True)
    policy.model.requires_grad_(True)
    policy.model.to(device)
    console.print(sum(p.numel() for p in policy.model.parameters()))
    kinds = {box.label for s in pictures.samples for box in s.boxes or ()}
    heads = Heads(
        policy.model.config.text_config.hidden_size,
        len(kinds),
        len({s.category for s in pictures.samples}),
    ).to(device)
    modules = nn.ModuleDict({"model": policy.model, "heads": heads})

    def plain(lesson):
        def backward(step):
            losses = lesson.loss(step)
            torch.autograd.backward(sum(losses.values()))
            return {k: float(v.detach()) for k, v in losses.items()}

        return backward

    for name, steps, weight in (("sight", sight, 0.0), ("everywhere", everywhere, 1.0)):
        lesson = SightLesson(
            policy, pictures, heads, batch=64, seed=seed, sides=[112], everywhere=weight
        )
        run_stage(name, work / name, Plan(steps, rate), modules, lesson.parameters(),
                  plain(lesson), lambda: lesson.figures(held_out, 112), console)
    talk = LanguageLesson(policy, pictures.samples[:3000], Asking(policy.processor, 112, 112), batch=32, seed=seed)
    run_stage("language", work / "language", Plan(language, rate), modules, talk.parameters(),
              plain(talk), dict, console)
    joint = JointLesson(policy, pictures, heads, images=batch, seed=seed, sides=[112])
    done = 0
    loader = iter(DataLoader(joint, batch_size=None, sampler=range(1, both + 1),
                             num_workers=2 if device == "cuda" else 0, prefetch_factor=4 if device == "cuda" else None))
    run_stage("both", work / "both", Plan(both, both_rate), modules, joint.parameters(),
              lambda step: joint.backward(next(loader)), dict, console)
    out.mkdir(parents=True, exist_ok=True)
    policy.model.to("cpu").save_pretrained(out)
    policy.processor.save_pretrained(out)
    console.print(f"policy: {out}")


if __name__ == "__main__":
    typer.run(main)
