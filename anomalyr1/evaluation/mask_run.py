"""`anomalyr1 mask`: predictions -> masks, their pictures and their COCO results; no policy."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from anomalyr1 import run_folder
from anomalyr1.evaluation.boxed_predictions import BoxedPredictions
from anomalyr1.evaluation.coco_results import write_coco
from anomalyr1.evaluation.image_readings import ImageReading
from anomalyr1.evaluation.localization import read_masks
from anomalyr1.evaluation.mask_pictures import draw_masks, draw_sheets
from anomalyr1.evaluation.masks import Progress, extend_masks
from anomalyr1.evaluation.shards import Shard
from anomalyr1.run_lock import run_lock
from anomalyr1.segmentation.segmenter import Segmenter

Bars = Callable[[str], Progress]  # what is being done -> a progress bar


@dataclass(frozen=True)
class MasksMade:
    """What a run has left.

    Attributes:
        lines: the file of masks.
        images: with a line in it.
        new: made by this run.
        pictures: the folder of pictures and results.
        sheets: contact sheets; none of a shard.
        results: COCO's results; None of a shard, and where no box encloses a pixel.
    """

    lines: Path
    images: int
    new: int
    pictures: Path
    sheets: tuple[Path, ...] = ()
    results: Path | None = None


def run_masks(
    boxed: BoxedPredictions,
    segmenter: Segmenter,
    out: Path | None = None,
    *,
    shard: Shard | None = None,
    most: int = 48,
    bars: Bars = lambda _: iter,
) -> MasksMade:
    """Make masks and draw them; what stands already, also of an evaluation, is not made again.

    A shard keeps its lines to itself. A run without one gathers those of all that have ended, makes
    what is missing, and writes sheets and results.

    Args:
        boxed: predictions with boxes.
        segmenter: makes the masks.
        out: the folder of masks; `masks` beside the predictions by default, where `score` looks.
        shard: the share of this run; None does it all.
        most: images on a contact sheet.
        bars: progress.

    Raises:
        InputError: another run is at work here, an image cannot be used, or nothing can be written.
    """
    usual = boxed.file.parent / run_folder.MASKS
    out = out or usual
    images: Sequence[ImageReading] = boxed.images
    lines, pictures = out / run_folder.masks_file(segmenter.name), out / segmenter.name
    with ExitStack() as held:
        if shard is None:
            # An evaluation makes the same file, and holds its own folder.
            held.enter_context(run_lock(usual.parent if out.resolve() == usual.resolve() else out))
            shards = sorted((pictures / run_folder.MASK_SHARDS).glob("*-of-*"))
            for folder in shards:
                held.enter_context(run_lock(folder))
            file, others = lines, [_lines_of(folder) for folder in shards]
        else:
            name = run_folder.masks_shard(segmenter.name, shard.number, shard.of)
            held.enter_context(run_lock(out / name))
            shards, images = [], shard.share(images)
            file, others = _lines_of(out / name), [lines]
        bar = bars(f"masks: {segmenter.name}")
        new = extend_masks(file, images, boxed.root, segmenter, others=others, progress=bar)
        rows = read_masks(file, images)
        draw_masks(images, rows, boxed.root, pictures, bars("pictures"))
        if shard is not None:
            return MasksMade(file, len(images), new, pictures)
        sheets = draw_sheets(images, rows, pictures, most)
        _, results = write_coco(images, rows, boxed.scores, pictures)
        for folder in shards:
            shutil.rmtree(folder, ignore_errors=True)
    return MasksMade(lines, len(images), new, pictures, tuple(sheets), results)


def _lines_of(shard: Path) -> Path:
    return shard / run_folder.masks_file(run_folder.MASKS)
