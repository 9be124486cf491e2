"""Stock `generate` against shared prefixes on the questions of an evaluation, in one process.

python scripts/bench_evaluation.py                    one image, one reference, five questions
python scripts/bench_evaluation.py --questions 1      nothing to share but a reference

Each side answers the same batch greedily with the same weights; the completions are checked equal
before anything is timed. The last line is JSON.
"""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Annotated, Any

import numpy as np
import torch
import typer
from bench_cases import SHAPE
from measuring import alternate
from PIL import Image

from anomalyr1.policy.generate import generate
from anomalyr1.policy.load import Policy
from anomalyr1.policy.tiny import build_tiny_policy
from anomalyr1.shared_prefix.attention import prepare

ASKED = (
    "Is there any defect in the object?",
    "There is a defect in the object. What is the type of the defect?",
    "There is a defect in the object. Where is the defect?",
    "What is the appearance of the defect?",
    "What kind of product is displayed in the image?",
)


def main(
    images: Annotated[int, typer.Option(help="Images in the batch.")] = 2,
    references: Annotated[int, typer.Option(help="Reference images of each.")] = 1,
    questions: Annotated[int, typer.Option(help="Questions about each image, 1 to 5.")] = 5,
    side: Annotated[int, typer.Option(help="Pixels of an image's sides.")] = 448,
    completion: Annotated[int, typer.Option(help="Tokens of an answer.")] = 64,
    repeats: Annotated[int, typer.Option(help="Timings of each side; the median counts.")] = 3,
) -> None:
    """Time both sides and print the ratio."""
    model, processor = build_tiny_policy(list(ASKED), shape=SHAPE, max_pixels=side * side)
    copy = type(model)(deepcopy(model.config))
    copy.load_state_dict(model.state_dict())
    prepare(copy)
    sides = {"stock": Policy(model.eval(), processor), "shared": Policy(copy.eval(), processor)}
    for policy in sides.values():
        # Full length: both sides do the same work, whatever the random weights say.
        policy.model.generation_config.min_new_tokens = completion
    pixels = np.random.default_rng(0).integers(0, 255, (images, 1 + references, side, side, 3))
    pictures = [[Image.fromarray(p.astype(np.uint8)) for p in group] for group in pixels]
    batch = [(group, question) for group in pictures for question in ASKED[:questions]]

    def answer(name: str) -> list[str]:
        return generate(
            sides[name],
            [_message(group, question) for group, question in batch],
            [group for group, _ in batch],
            max_new_tokens=completion,
            share=name == "shared",
        )

    if answer("stock") != answer("shared"):
        raise SystemExit("the two sides answer differently: a faster wrong answer is worth nothing")
    seconds = alternate({name: lambda name=name: answer(name) for name in sides}, repeats)
    print(
        json.dumps(
            {
                "ratio": round(seconds["stock"] / seconds["shared"], 2),
                "seconds": seconds,
                "questions_per_second": round(len(batch) / seconds["shared"], 2),
                "images": images,
                "references": references,
                "questions": questions,
                "side": side,
                "completion": completion,
                "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
                "threads": torch.get_num_threads(),
                "torch": torch.__version__,
            }
        )
    )


def _message(group: list[Any], question: str) -> list[dict[str, Any]]:
    content = [{"type": "image"}] * len(group)
    return [{"role": "user", "content": [*content, {"type": "text", "text": question}]}]


if __name__ == "__main__":
    typer.run(main)
