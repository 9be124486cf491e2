"""The references of a product computed once and kept, against computed for every image.

python scripts/bench_inspect.py                       two references, images inspected one by one
python scripts/bench_inspect.py --references 1 --completion 16

Both sides have the same weights and share prefixes; one keeps the references' keys and values from
image to image. P(anomalous), completions and boxes are checked equal before anything is timed. The
last line is JSON.
"""

from __future__ import annotations

import json
from copy import copy
from typing import Annotated

import numpy as np
import torch
import typer
from bench_cases import SHAPE
from bench_grpo import alternate
from PIL import Image

from anomalyr1.config import PolicyConfig
from anomalyr1.data.making.questions import TEXTS
from anomalyr1.inspection.inspector import Inspector
from anomalyr1.inspection.result import Inspection
from anomalyr1.policy.load import Policy
from anomalyr1.policy.tiny import build_tiny_policy
from anomalyr1.schema import ANOMALY_DETECTION
from anomalyr1.shared_prefix.attention import prepare

TOLERANCE = 1e-4  # of a probability, in float32


def main(
    images: Annotated[int, typer.Option(help="Images, inspected one after the other.")] = 4,
    references: Annotated[int, typer.Option(help="Reference images of the product.")] = 2,
    side: Annotated[int, typer.Option(help="Pixels of an image's sides.")] = 448,
    completion: Annotated[int, typer.Option(help="Tokens of an answer.")] = 32,
    repeats: Annotated[int, typer.Option(help="Timings of each side; the median counts.")] = 3,
) -> None:
    """Time both sides and print the ratio."""
    model, processor = build_tiny_policy(
        TEXTS[ANOMALY_DETECTION], shape=SHAPE, max_pixels=side * side
    )
    processor.tokenizer.padding_side = "left"
    prepare(model.eval())
    model.generation_config.min_new_tokens = completion  # full length, whatever it says
    config = PolicyConfig(path="random weights", max_pixels=side * side)
    keeps = Inspector(Policy(model, processor), config, locate=False, max_new_tokens=completion)
    computes = copy(keeps)
    computes.kept = None
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (images + references, side, side, 3)).astype(np.uint8)
    shown = [Image.fromarray(picture) for picture in pixels[:references]]
    asked = [Image.fromarray(picture) for picture in pixels[references:]]
    sides = {"computed": computes, "kept": keeps}
    counted = {"tokens": 0}
    model.get_input_embeddings().register_forward_hook(
        lambda _, args, __: counted.__setitem__("tokens", counted["tokens"] + args[0].numel())
    )
    tokens: dict[str, int] = {}

    def inspect(name: str) -> list[Inspection]:
        counted["tokens"] = 0
        found = [sides[name].inspect(image, shown) for image in asked]
        tokens[name] = counted["tokens"]
        return found

    inspect("kept")  # the first image of the product computes its references
    difference = 0.0
    for one, other in zip(inspect("computed"), inspect("kept"), strict=True):
        for name in ("probability", "probability_at_once"):
            difference = max(difference, abs(getattr(one, name) - getattr(other, name)))
        if one.completion != other.completion or difference > TOLERANCE:
            raise SystemExit("the two sides differ: a faster wrong answer is worth nothing")
    seconds = alternate({name: lambda name=name: inspect(name) for name in sides}, repeats)
    print(
        json.dumps(
            {
                "ratio": round(seconds["computed"] / seconds["kept"], 2),
                "seconds": seconds,
                "seconds_an_image": round(seconds["kept"] / images, 3),
                "tokens_an_image": {name: count // images for name, count in tokens.items()},
                "largest_difference": difference,
                "completions_equal": True,
                "images": images,
                "references": references,
                "side": side,
                "completion": completion,
                "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
                "threads": torch.get_num_threads(),
                "torch": torch.__version__,
            }
        )
    )


if __name__ == "__main__":
    typer.run(main)
