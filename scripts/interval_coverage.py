"""How often the 95 % intervals hold the truth: drawn benchmarks whose true figures are known.

python scripts/interval_coverage.py                              every case, 200 to 1,000 images
python scripts/interval_coverage.py --images 100 --case rare     figures near 0 or 100 %

A case draws a benchmark again and again from one law, has the functions behind `anomalyr1 score`
and `anomalyr1 compare` make their intervals, and counts how many hold the true figure. The last
line is JSON.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import numpy as np
import typer
from drawn_benchmarks import AnswerLaw, BoxLaw, MaskLaw, PairLaw, ScoreLaw

from anomalyr1.metrics.bootstrap import RESAMPLES
from anomalyr1.metrics.rare_shares import LEVEL

Ends = Mapping[str, tuple[float, float] | None]

# Each is drawn from a generator and a number of images.
CASES: dict[str, Callable[[], Any]] = {
    "answers": lambda: AnswerLaw(),
    "four-sets": lambda: AnswerLaw(datasets=4),
    "alike": lambda: AnswerLaw(alike=0.8),
    "rare": lambda: AnswerLaw(rare=True),
    "scores": lambda: ScoreLaw(apart=1.5),
    "sharp-scores": lambda: ScoreLaw(apart=3.5),
    "compare": lambda: PairLaw(),
    "boxes": lambda: BoxLaw(),
    "masks": lambda: MaskLaw(),
}
SIZES = [200, 500, 1000]
NAMES = list(CASES)
WITHIN = 2.0  # points that coverage may be off


def main(
    images: Annotated[list[int], typer.Option(help="Images of a benchmark.")] = SIZES,
    case: Annotated[list[str], typer.Option(help=f"Of {', '.join(CASES)}.")] = NAMES,
    repeats: Annotated[int, typer.Option(help="Benchmarks drawn of each kind.")] = 1000,
    resamples: Annotated[int, typer.Option(help="Draws behind an interval.")] = RESAMPLES,
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """Print each figure's coverage and mean width; those off by more than two points are marked."""
    results = []
    for name in case:
        law = CASES[name]()
        for count in images:
            started = time.monotonic()
            found = coverage(law, count, repeats, resamples, seed)
            print(f"{name}, {count} images, {repeats} times, {time.monotonic() - started:.0f} s")
            for figure, line in found.items():
                mark = "  !" if abs(line["coverage"] - 100 * LEVEL) > WITHIN else ""
                print(
                    f"  {figure:24}{line['truth']:7.2f}  held {line['coverage']:5.1f} %  "
                    f"width {line['width']:5.2f}{mark}"
                )
            results.append({"case": name, "images": count, "figures": found})
    off = [
        f"{result['case']} {result['images']} {figure}"
        for result in results
        for figure, line in result["figures"].items()
        if abs(line["coverage"] - 100 * LEVEL) > WITHIN
    ]
    told = {"repeats": repeats, "resamples": resamples, "seed": seed, "off": off}
    print(json.dumps({**told, "results": results}))


def coverage(
    law: Any, images: int, repeats: int, resamples: int, seed: int
) -> dict[str, dict[str, float]]:
    """Of each figure: `truth`, `coverage` (percent of the intervals) and mean `width`.

    Args:
        law: has the `truth` of each figure, and draws intervals of them.
        images: of a benchmark.
        repeats: benchmarks.
        resamples: behind an interval.
        seed: of the benchmarks.
    """
    generator = np.random.default_rng(seed)
    held: dict[str, list[bool]] = defaultdict(list)
    widths: dict[str, list[float]] = defaultdict(list)
    for _ in range(repeats):
        ends: Ends = law.intervals(generator, images, resamples)
        for figure, truth in law.truth.items():
            found = ends[figure]
            if found is not None:
                # What is equal but for rounding holds it.
                held[figure].append(found[0] - 1e-9 <= truth <= found[1] + 1e-9)
                widths[figure].append(found[1] - found[0])
    return {
        figure: {
            "truth": round(truth, 3),
            "coverage": round(100 * float(np.mean(held[figure])), 2),
            "width": round(float(np.mean(widths[figure])), 3),
        }
        for figure, truth in law.truth.items()
    }


if __name__ == "__main__":
    typer.run(main)
