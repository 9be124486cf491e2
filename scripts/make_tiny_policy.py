"""Makes data/tiny-policy: a tiny Qwen2.5-VL, taught from nothing on synthetic images.

python scripts/make_tiny_policy.py --out data/tiny-policy     (under three hours on two cores)

Eight stages, each with a held-out figure and a curve: sight where a defect is, sight at every
token, the language side on options and their letters and then on text, both together; then sight at
several sizes and of bare boards and magnetic tiles too, and both together on all of that, half the
references differing from the image in the defect alone; at last a letter and boxes in one answer
too. Run again after an interruption, it goes on where it stopped.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from curriculum_figures import draw_curves
from curriculum_sets import SIDE, Set, corpus, sets
from rich.console import Console
from torch import nn
from torch.utils.data import DataLoader

from anomalyr1.allocator import keep_freed_memory
from anomalyr1.config import PolicyConfig, PromptConfig, load_config
from anomalyr1.data.mmad import load_benchmark
from anomalyr1.evaluation.pipeline import evaluate
from anomalyr1.exposure import write_exposure
from anomalyr1.policy.load import Policy, load_policy
from anomalyr1.policy.tiny import build_tiny_policy
from anomalyr1.prompts import FIXED_PHRASES, Template
from anomalyr1.run_folder import METRICS, POLICY, TRAINING_DATA
from anomalyr1.storage import read_json
from anomalyr1.training.curriculum.asking import Asking
from anomalyr1.training.curriculum.image_sets import Pictures, read_pictures
from anomalyr1.training.curriculum.lessons import (
    InTurns,
    JointLesson,
    LanguageLesson,
    SightLesson,
)
from anomalyr1.training.curriculum.look_ups import LetterHeads
from anomalyr1.training.curriculum.sight import Heads, Names
from anomalyr1.training.curriculum.stage import Plan, run_stage

SIDES = (112, 168, 224, 280, 336)
AT_112 = {"resolutions": 0.4, "forms": 0.7}  # of their steps show the images of the first five
PLANS = {
    "sight": Plan(800, 1e-3),
    "everywhere": Plan(1200, 1e-3),
    "letters": Plan(600, 1.5e-3),
    "language": Plan(800, 1e-3),
    "both": Plan(2000, 1e-3),
    "sizes": Plan(2800, 8e-4),
    "resolutions": Plan(1500, 5e-4),
    "forms": Plan(800, 4e-4),
}
KEPT = (
    "chat_template.jinja",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    TRAINING_DATA,
)


class Making:
    """What the stages share."""

    def __init__(self, work: Path, device: str, workers: int, scale: float, seed: int) -> None:
        self.work, self.device, self.workers = work, device, workers
        self.scale, self.seed = scale, seed
        self.console = Console(soft_wrap=True)
        self.policy: Policy
        self.heads: Heads
        self.letters: LetterHeads

    def load(self, pictures: Pictures, sets: list[Set]) -> None:
        """Random weights and a tokenizer, and the heads that fit the pictures."""
        start = self.work / "start"
        if not (start / "config.json").is_file():
            texts = [text for each in sets for text in corpus(each.train)]
            build_tiny_policy(texts, start, max_pixels=SIDE**2, phrases=FIXED_PHRASES)
        config = PolicyConfig(path=str(start), max_pixels=SIDE**2, freeze_vision=False)
        self.policy = load_policy(config, trainable=True)
        self.policy.model.requires_grad_(True).to(self.device)
        width = self.policy.model.config.text_config.hidden_size
        torch.manual_seed(0)
        self.heads = Heads(width, Names().and_of(pictures.samples)).to(self.device)
        self.letters = LetterHeads(width).to(self.device)

    def run(
        self,
        name: str,
        lesson: SightLesson | LanguageLesson | JointLesson | InTurns,
        figures: Callable[[], dict[str, float]],
    ) -> None:
        """One stage."""
        plan = PLANS[name]
        plan = replace(plan, steps=max(1, round(plan.steps * self.scale)))

        def batches(first: int) -> Iterator[Any]:
            workers = self.workers
            return iter(
                DataLoader(
                    lesson,
                    batch_size=None,
                    sampler=range(first, plan.steps + 1),
                    num_workers=workers,
                    prefetch_factor=4 if workers else None,
                )
            )

        parts = {"model": self.policy.model, "heads": self.heads, "letters": self.letters}
        modules = nn.ModuleDict(parts)
        run_stage(name, self.work / name, plan, modules, lesson, batches, figures, self.console)

    def answers(
        self, name: str, benchmark: Path, side: int, template: Template = "choice"
    ) -> dict[str, float]:
        """Strict accuracy and boxes of the policy as it is now, by greedy answers."""
        folder = self.work / name / "held_out"
        shutil.rmtree(folder, ignore_errors=True)
        self.save(folder / POLICY)
        config = load_config(
            Path("configs/eval/tiny_cpu.yaml"),
            [
                f"run_dir={folder}",
                f"policy.path={folder / POLICY}",
                f"policy.max_pixels={side**2}",
                f"prompt.template={template}",
                f"eval.benchmark={benchmark}",
                "eval.batch_size=128",
                "eval.bootstrap=100",
                "segmentation.kind=none",
            ],
        )
        evaluate(config, Console(quiet=True))
        metrics = read_json(folder / METRICS)
        boxes = metrics["localization"]["boxes"]["pooled"]
        strict = metrics["mmad"]["strict"]["Average"]
        figures = {key: value for key, value in strict.items() if value is not None}
        figures |= {key: boxes[key] for key in ("set_iou_anomalous", "f1@0.5", "f1@0.33")}
        return figures | {"unreadable": metrics["invalid_rate"]}

    def save(self, folder: Path) -> None:
        """The policy as any checkpoint."""
        self.policy.model.save_pretrained(folder)
        self.policy.processor.save_pretrained(folder)


def learn_at_112(making: Making, pictures: Pictures, test: Path) -> None:
    """The five stages on the small images: sight, everywhere, letters, language, both.

    Args:
        making: what the stages share.
        pictures: asked about.
        test: held-out images.
    """
    policy, heads, seed, held_out = making.policy, making.heads, making.seed, read_pictures([test])
    for name, everywhere in (("sight", 0.0), ("everywhere", 1.0)):
        sight = SightLesson(policy, pictures, heads, batch=64, seed=seed, everywhere=everywhere)
        making.run(name, sight, lambda lesson=sight: lesson.figures(held_out, SIDE))  # type: ignore[misc]
    asking = Asking(policy.processor, SIDE, SIDE)

    def words(of: Pictures, batch: int, look_ups: int) -> LanguageLesson:
        rows = {"batch": batch, "look_ups": look_ups}
        return LanguageLesson(policy, of.samples, asking, making.letters, **rows, seed=seed)

    for name, batch, look_ups in (("letters", 0, 32), ("language", 32, 16)):
        told = words(held_out, 4 * batch, 4 * look_ups)
        lesson = words(pictures, batch, look_ups)
        making.run(name, lesson, lambda told=told: told.figures(told[0]))  # type: ignore[misc]
    both = JointLesson(policy, pictures, heads, images=16, seed=seed, sides=(SIDE,))
    making.run("both", both, lambda: making.answers("both", test, SIDE))


def learn_at_all_sizes(
    making: Making, pictures: Pictures, views: Pictures, test: Path, test_large: Path
) -> None:
    """The three stages that show the large images too: sizes, resolutions, forms.

    Args:
        making: what the stages share.
        pictures: the small ones.
        views: the large ones.
        test: held-out images like the small ones.
        test_large: boards and tiles like the large ones.
    """
    policy, seed = making.policy, making.seed
    heads = making.heads = making.heads.knowing(making.heads.names.and_of(views.samples))
    held_out = read_pictures([test_large])
    sizes = SightLesson(policy, views, heads, batch=64, seed=seed, everywhere=1.0, sides=SIDES)
    making.run("sizes", sizes, lambda: sizes.figures(held_out, 224))

    def shares(name: str) -> tuple[float, float]:
        return AT_112[name], 1 - AT_112[name]

    def lessons(template: Template, seed: int) -> list[JointLesson]:
        alike = {"images": 16, "seed": seed, "template": template}
        near = JointLesson(policy, pictures, heads, sides=(SIDE,), **alike)
        far = JointLesson(policy, views, heads, sides=SIDES, similar=0.5, **alike)
        return [near, far]

    def answers(name: str, template: Template) -> dict[str, float]:
        large = making.answers(name, test_large, 224, template)
        return making.answers(name, test, SIDE, template) | {
            f"{key}, boards and tiles at 224": value for key, value in large.items()
        }

    def in_both_forms() -> dict[str, float]:
        at_once = answers("forms", "inspect")
        return answers("forms", "choice") | {
            f"{key}, letter and boxes at once": value for key, value in at_once.items()
        }

    resolutions = InTurns(lessons("choice", seed), shares("resolutions"), seed)
    making.run("resolutions", resolutions, lambda: answers("resolutions", "choice"))
    both_forms = [*lessons("choice", seed + 1), *lessons("inspect", seed + 2)]
    turns = InTurns(both_forms, 2 * shares("forms"), seed + 1)
    making.run("forms", turns, in_both_forms)


def record(policy: Path, start: Path, small: list[Set], wide: list[Set]) -> None:
    """What the policy was shown, by the bytes of the files: an even plate looks like another's."""
    random, similar = (
        PromptConfig(references=2, reference_kind="random"),
        PromptConfig(references=1),
    )
    for sets_of, prompt in ((small, random), (wide, random), (wide, similar)):
        read = [load_benchmark(each.train) for each in sets_of]
        write_exposure(policy, str(start), [(b, b.samples) for b in read], prompt, bytes_alone=True)
        start = policy  # the next sets are added to the record


def main(
    out: Annotated[Path, typer.Option(help="Where the policy goes.")] = Path("data/tiny-policy"),
    work: Annotated[Path, typer.Option(help="Images, states, curves.")] = Path("runs/tiny-policy"),
    images: Annotated[int, typer.Option(help="Drawn at 112 pixels.")] = 10_000,
    large: Annotated[int, typer.Option(help="Drawn at 336 pixels.")] = 3_000,
    seed: Annotated[int, typer.Option(help="Of images and order.")] = 7000,
    scale: Annotated[float, typer.Option(help="Share of every stage's steps.")] = 1.0,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; default: what is here.")] = None,
    processes: Annotated[int, typer.Option(help="That draw images.")] = 2,
    workers: Annotated[int, typer.Option(help="That write rows; 0: the training process.")] = 0,
) -> None:
    """Draw the images, build tokenizer and weights, train, and copy the policy to `out`."""
    keep_freed_memory()
    torch.set_float32_matmul_precision("high")
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    small, wide, (test, test_large) = sets(work / "images", images, large, seed)
    with ProcessPoolExecutor(processes) as pool:  # the large ones are drawn beside the first stages
        drawing = [pool.submit(each.draw) for each in (test, test_large, *small, *wide)]
        for job in drawing[: len(small) + 2]:
            job.result()
        making = Making(work, device, workers, scale, seed)
        pictures = read_pictures([each.train for each in small])
        making.console.print(f"{len(pictures.samples)} images asked about, on {device}")
        making.load(pictures, small[:8])
        learn_at_112(making, pictures, test.train)
        for job in drawing:
            job.result()
    views = read_pictures([each.train for each in wide])
    learn_at_all_sizes(making, pictures, views, test.train, test_large.train)
    finished = work / POLICY
    making.save(finished)
    record(finished, work / "start", small, wide)
    out.mkdir(parents=True, exist_ok=True)
    for name in KEPT:
        shutil.copy2(finished / name, out / name)
    draw_curves(work, list(PLANS), out / "curves.png")
    making.console.print(f"policy: {out}")


if __name__ == "__main__":
    typer.run(main)
