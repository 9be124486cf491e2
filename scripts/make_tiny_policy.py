"""Makes data/tiny-policy: a tiny Qwen2.5-VL, fine-tuned twice on synthetic images.

python scripts/make_tiny_policy.py --out data/tiny-policy     (about an hour on two cores)
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from anomalyr1.allocator import keep_freed_memory
from anomalyr1.config import Config, load_config
from anomalyr1.data.making.synthetic.drawing import synthesize
from anomalyr1.data.mmad import load_benchmark
from anomalyr1.geometry import Frame
from anomalyr1.policy.load import load_policy
from anomalyr1.policy.tiny import build_tiny_policy
from anomalyr1.prompts import FIXED_PHRASES, build_messages, gold_completion, template_for
from anomalyr1.run_folder import POLICY
from anomalyr1.training.sft import finetune
from anomalyr1.training.vision_warmup import warm_up

KEPT = (
    "chat_template.jinja",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
)


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


def main(
    out: Annotated[Path, typer.Option()] = Path("data/tiny-policy"),
    work: Annotated[Path, typer.Option()] = Path("runs/tiny-policy"),
    images: Annotated[int, typer.Option()] = 4000,
    seed: Annotated[int, typer.Option()] = 1000,
    warmup: Annotated[int, typer.Option()] = 500,
    config: Annotated[Path, typer.Option()] = Path("configs/sft/tiny_pretrain.yaml"),
    more: Annotated[Path, typer.Option()] = Path("configs/sft/tiny_continue.yaml"),
) -> None:
    """Draw the images, build tokenizer and weights, train, and copy the policy to `out`."""
    keep_freed_memory()
    bench = work / "benchmark"
    if not bench.exists():
        synthesize(bench, train=images, test=60, seed=seed, size=112)
    start = work / "start"
    base = load_config(config)
    if not start.exists():
        build_tiny_policy(corpus(bench / "train"), start, phrases=FIXED_PHRASES)
        section = replace(base.policy, path=str(start))
        loaded = load_policy(section, trainable=True)
        warm_up(loaded, load_benchmark(bench / "train").samples, steps=warmup, seed=seed)
        loaded.model.save_pretrained(start)
    second = work / "more"
    if not second.exists():
        synthesize(second, train=6000, test=60, seed=3000, size=112)
    policy = start
    for stage, images_of, settings, stage_seed in (
        ("sft", bench, base, seed),
        ("continued", second, load_config(more), 0),
    ):
        policy = finetune(
            Config(
                run_dir=str(work / stage),
                seed=stage_seed,
                data=replace(settings.data, benchmark=str(images_of / "train")),
                prompt=settings.prompt,
                policy=replace(settings.policy, path=str(policy)),
                sft=settings.sft,
            )
        )
    out.mkdir(parents=True, exist_ok=True)
    for name in KEPT:
        shutil.copy2(policy / name, out / name)
    print(f"policy: {out} (from {policy}, {POLICY})")


if __name__ == "__main__":
    typer.run(main)
