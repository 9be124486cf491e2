"""The rows of a rollout with each picture read once, against once a completion.

python scripts/bench_reading.py                 16 questions x 8 completions, images of 448 x 448
python scripts/bench_reading.py --side 1024 --micro-batches 2

Both sides read the same files. TRL reads the rows of a rollout anew for each of its micro-batches;
all rows and their pixels are checked equal before anything is timed. The last line is JSON.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from bench_grpo import alternate
from datasets import Dataset, Features, List
from PIL import Image

from anomalyr1.training.read_once import ReadOnce
from anomalyr1.training.row_pictures import RowPicture


def main(
    questions: Annotated[int, typer.Option(help="Questions of a rollout, an image each.")] = 16,
    generations: Annotated[int, typer.Option(help="Completions of a question.")] = 8,
    references: Annotated[int, typer.Option(help="References, the same of all questions.")] = 1,
    micro_batches: Annotated[int, typer.Option(help="Micro-batches of a rollout.")] = 1,
    side: Annotated[int, typer.Option(help="Pixels of an image's sides.")] = 448,
    repeats: Annotated[int, typer.Option(help="Timings of each side; the median counts.")] = 3,
) -> None:
    """Time both sides and print the ratio."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        paths = [str(Path(folder) / f"{number}.png") for number in range(references + questions)]
        for path in paths:  # a smooth picture with some noise: as large a file as a photograph's
            smooth = np.kron(rng.integers(0, 200, (8, 8, 3)), np.ones((-(-side // 8),) * 2 + (1,)))
            noisy = smooth[:side, :side] + rng.integers(0, 20, (side, side, 3))
            Image.fromarray(noisy.astype(np.uint8)).save(path)
        shared, own = paths[:references], paths[references:]
        rows = Dataset.from_list(
            [{"images": [*shared, path]} for path in own],
            features=Features({"images": List(RowPicture())}),
        )
        rollout = [number for number in range(questions) for _ in range(generations)]

        def read(data: Any) -> list[Any]:
            return [row for _ in range(micro_batches) for row in data.__getitems__(rollout)]

        for one, other in zip(read(rows), read(ReadOnce(rows)), strict=True):
            if not all(map(np.array_equal, one["images"], other["images"])):
                raise SystemExit("the two sides differ: a faster wrong answer is worth nothing")
        sides = {"each": lambda: read(rows), "once": lambda: read(ReadOnce(rows))}
        seconds = alternate(sides, repeats)
    print(
        json.dumps(
            {
                "ratio": round(seconds["each"] / seconds["once"], 2),
                "seconds": seconds,
                "pixels_equal": True,
                "pictures": len(paths),
                "rows": len(rollout) * micro_batches,
                "side": side,
            }
        )
    )


if __name__ == "__main__":
    typer.run(main)
