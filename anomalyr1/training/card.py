"""The model card beside every saved policy: what it is, what it was trained on, how to use it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from anomalyr1.config import Config
from anomalyr1.data.mmad import Benchmark
from anomalyr1.schema import Sample
from anomalyr1.storage import write_text

CARD = "README.md"


def write_card(folder: Path, card: str, steps: int) -> None:
    """Put the card into a folder, with the number of steps done by now."""
    write_text(folder / CARD, card.replace("{steps}", str(steps)))


def model_card(
    verb: str, config: Config, used: Sequence[tuple[Benchmark, Sequence[Sample]]]
) -> str:
    """The card's text; `{steps}` stands for the steps done when it is saved.

    Args:
        verb: train or sft.
        config: of the run.
        used: what is trained on, as `training_rows` gave it.
    """
    head: dict[str, Any] = {
        "library_name": "peft" if config.policy.lora else "transformers",
        "pipeline_tag": "image-text-to-text",
        "tags": ["industrial-anomaly-detection", "anomalyr1", "trl", verb_tag(verb)],
    }
    if not Path(config.policy.path).exists():
        head["base_model"] = config.policy.path
    data = "".join(
        f"- `{benchmark.path}`: {len(samples)} images, "
        f"{sum(len(sample.questions) for sample in samples)} questions, "
        f"sha256 `{benchmark.sha256[:16]}`\n"
        for benchmark, samples in used
    )
    method = "supervised fine-tuning on gold reasoning and answers"
    if verb == "train":
        method = f"GRPO with the reward preset `{config.reward.preset}`"
    kind = "a LoRA adapter" if config.policy.lora else "all weights that are not frozen"
    return (
        f"---\n{yaml.safe_dump(head, sort_keys=False)}---\n\n"
        f"# {Path(config.run_dir).name}\n\n"
        "A policy for industrial anomaly detection: a product image and normal references in;\n"
        "reasoning, an answer and boxes out.\n\n"
        f"- Started from: `{config.policy.path}`\n"
        f"- Trained by: {method}, {{steps}} steps, seed {config.seed}; {kind}\n"
        f"- Prompts: template `{config.prompt.template}`, {config.prompt.references} reference "
        f"image(s), images of at most {config.policy.max_pixels} pixels\n\n"
        f"Training data:\n\n{data}\n"
        "Evaluate it on images it has not seen:\n\n```text\n"
        "anomalyr1 eval configs/eval/mmad_1shot_reasoned.yaml policy.path=THIS_FOLDER "
        "eval.benchmark=BENCHMARK\n```\n\n"
        "The training data have licences of their own, which may bind the weights too. No answer "
        "of this\npolicy replaces the inspection of a part.\n"
    )


def verb_tag(verb: str) -> str:
    """The hub's tag of a method.

    >>> verb_tag("train")
    'grpo'
    """
    return "grpo" if verb == "train" else verb
