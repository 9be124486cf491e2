"""How large defects are once a policy's processor has resized their images, at several sizes.

python scripts/defect_sizes.py benchmarks/deeppcb benchmarks/magnetic-tile
"""

from __future__ import annotations

from pathlib import Path
from statistics import fmean, median
from typing import Annotated

import typer

from anomalyr1.config import PolicyConfig
from anomalyr1.data.images import image_size
from anomalyr1.data.mmad import load_benchmark
from anomalyr1.geometry import Frame
from anomalyr1.policy.load import load_processor
from anomalyr1.policy.resizing import image_tokens, resized_size

PIXELS = 10  # what a defect needs along a side to be seen


def main(
    benchmarks: Annotated[list[Path], typer.Argument(help="Folders with mmad.json.")],
    policy: Annotated[Path, typer.Option(help="Whose processor resizes.")] = Path(
        "data/tiny-policy"
    ),
    side: Annotated[list[int] | None, typer.Option(help="Of a square of as many pixels.")] = None,
) -> None:
    """A table for each benchmark: tokens of an image, and the share of defects of PIXELS pixels."""
    for path in benchmarks:
        samples = load_benchmark(path).samples
        boxes = [(image_size(s.path), box) for s in samples for box in s.boxes or ()]
        print(f"\n{path}: {len(samples)} images, {len(boxes)} defects\n")
        print(f"| image | tokens | both sides {PIXELS} pixels | the longer one |\n|-|-|-|-|")
        for length in side or (112, 168, 224, 280, 336):
            area = length * length
            section = PolicyConfig(path=str(policy), min_pixels=area, max_pixels=area)
            processor = load_processor(section)
            sides, tokens = [], []
            for size, box in boxes:
                resized = resized_size(*size, processor)
                seen = Frame.spoken(size, resized, "pixels").to_model(box)
                sides.append(sorted((seen.x2 - seen.x1, seen.y2 - seen.y1)))
                tokens.append(image_tokens(resized, processor))
            shorter, longer = (fmean(s[k] >= PIXELS for s in sides) for k in (0, 1))
            print(f"| {length} x {length} | {median(tokens):g} | {shorter:.1%} | {longer:.1%} |")


if __name__ == "__main__":
    typer.run(main)
