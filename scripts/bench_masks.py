"""The boxes of an image segmented together, against one by one, by every segmenter that runs here.

python scripts/bench_masks.py                                    small SAMs with random weights
python scripts/bench_masks.py --only sam2 --checkpoint sam2.1_hiera_tiny.pt

`at_once` hands over an image with all of its boxes, as `anomalyr1 mask` does; `one_by_one` a box a
call, for which the image is encoded once all the same; `afresh` a box and a new copy of the image a
call, as a script does that has no more than an image and a box. The masks of all three are checked
equal before anything is timed. The last line is JSON.
"""

from __future__ import annotations

import importlib.util
import json
from typing import Annotated

import numpy as np
import torch
import typer
from measuring import alternate
from numpy.typing import NDArray

from anomalyr1.schema import Box
from anomalyr1.segmentation.names import SEGMENTERS
from anomalyr1.segmentation.segmenter import Mask, Segmenter, load_segmenter

LIMIT = 1e-3  # share of a mask's pixels: a logit of 1e-7 may fall to either side of 0
RESOLUTION = 1e-4  # seconds; what takes less counts as this
SIDES = ("at_once", "one_by_one", "afresh")


def main(
    images: Annotated[int, typer.Option(min=1, help="Images.")] = 2,
    boxes: Annotated[int, typer.Option(min=1, help="Boxes of an image.")] = 8,
    side: Annotated[int, typer.Option(min=16, help="Pixels of an image's sides.")] = 512,
    repeats: Annotated[int, typer.Option(help="Timings of each side; the median counts.")] = 3,
    only: Annotated[list[str] | None, typer.Option(help="Segmenters; all that run here.")] = None,
    checkpoint: Annotated[
        str | None, typer.Option(help="Real weights of a SAM instead of small random ones.")
    ] = None,
) -> None:
    """Time the three ways and print masks a second and the ratios."""
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 255, (images, side, side, 3)).astype(np.uint8)
    asked = [_boxes(rng, boxes, side) for _ in pictures]
    found = {}
    for name in only or SEGMENTERS:
        segmenter = _segmenter(name, checkpoint)
        if segmenter is None:
            print(f"{name}: not installed")
            continue
        found[name] = _measure(segmenter, pictures, asked, repeats)
        print(f"{name}: {found[name]}", flush=True)
    if not found:
        raise SystemExit("none of these is installed")
    print(
        json.dumps(
            {
                "ratio": found[list(found)[-1]]["ratio"],
                "ratio_of": list(found)[-1],
                "segmenters": found,
                "images": images,
                "boxes": boxes,
                "side": side,
                "weights": checkpoint or "small, random",
                "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
                "threads": torch.get_num_threads(),
                "torch": torch.__version__,
            }
        )
    )


def _measure(
    segmenter: Segmenter,
    pictures: NDArray[np.uint8],
    asked: list[list[Box]],
    repeats: int,
) -> dict[str, object]:
    def masks(way: str) -> list[Mask]:
        made: list[Mask] = []
        for original, boxes in zip(pictures, asked, strict=True):
            picture = original.copy()  # not the array that was encoded last time
            if way == "at_once":
                made += segmenter.masks(picture, boxes)
                continue
            for box in boxes:
                if way == "afresh":
                    picture = original.copy()
                made += segmenter.masks(picture, [box])
        return made

    together = masks("at_once")
    unlike = 0.0
    for way in SIDES[1:]:
        for one, other in zip(together, masks(way), strict=True):
            unlike = max(unlike, float((one != other).mean()))
    if unlike > LIMIT:
        raise SystemExit(f"{segmenter.name}: masks differ in {unlike:.1%} of an image's pixels")
    timed = alternate({way: lambda way=way: masks(way) for way in SIDES}, repeats)
    seconds = {way: max(spent, RESOLUTION) for way, spent in timed.items()}
    return {
        "ratio": round(seconds["afresh"] / seconds["at_once"], 2),
        "ratio_one_by_one": round(seconds["one_by_one"] / seconds["at_once"], 2),
        "masks_per_second": {
            way: round(len(together) / spent, 1) for way, spent in seconds.items()
        },
        "seconds": seconds,
        "largest_share_of_unlike_pixels": unlike,
    }


def _boxes(rng: np.random.Generator, count: int, side: int) -> list[Box]:
    """Of a tenth to a third of the image's sides."""
    extents = rng.integers(side // 10, side // 3, (count, 2))
    corners = [(*rng.integers(0, side - extent),) for extent in extents]
    return [
        Box(x, y, x + width, y + height)
        for (x, y), (width, height) in zip(corners, extents.tolist(), strict=True)
    ]


def _segmenter(name: str, checkpoint: str | None) -> Segmenter | None:
    """None where its package is not there."""
    if name == "sam2" and importlib.util.find_spec("sam2") is None:
        return None
    if checkpoint is not None or not name.startswith("sam"):
        return load_segmenter(name, checkpoint)
    from anomalyr1.segmentation.tiny_sam import tiny_sam2, tiny_sam2_of_the_package, tiny_sam3

    if name == "sam2":
        from sam2.sam2_image_predictor import SAM2ImagePredictor

        from anomalyr1.segmentation.sam2 import Sam2Segmenter

        return Sam2Segmenter(SAM2ImagePredictor(tiny_sam2_of_the_package()), "random")
    from anomalyr1.segmentation.transformers_sam import TransformersSam

    model, processor = tiny_sam2() if name == "sam2-transformers" else tiny_sam3()
    return TransformersSam(name, model, processor, "random")


if __name__ == "__main__":
    typer.run(main)
