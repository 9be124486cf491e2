"""Gold boxes for a benchmark that has masks alone, as MMAD has, and a question about them.

Without boxes on record nothing can be scored on where a defect is: neither ROAM's `iou` in training
nor a box in an evaluation.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

from anomalyr1.data.images import BoxOptions, boxes_from_mask, image_size, read_mask
from anomalyr1.data.making.questions import grounding_question
from anomalyr1.data.manifest import make_manifest, read_files, read_groups
from anomalyr1.data.many_cores import over_files
from anomalyr1.data.mask_marks import looks_inverted
from anomalyr1.data.mmad import Benchmark, write_benchmark
from anomalyr1.errors import InputError, listed
from anomalyr1.output_folder import new_folder, require_new
from anomalyr1.schema import GROUNDING, Box, Sample

Progress = Callable[[Iterable[Sample]], Iterable[Sample]]


def add_boxes(
    benchmark: Benchmark,
    out: Path,
    options: BoxOptions,
    *,
    grounding: bool = True,
    seed: int = 0,
    progress: Progress = iter,
) -> Path:
    """Write the benchmark to `out` with boxes, in pixels of its images, which stay where they are.

    Boxes that are on record stay as they are; a normal image has none. A defective image whose
    mask is absent, cannot be read, or does not tell a place has no boxes on record, as before: it
    is counted, and the manifest names it.

    Args:
        benchmark: with masks.
        out: empty or new.
        options: how boxes are made of a mask's components.
        grounding: also ask each image whose boxes are known for them, where nothing asks yet.
        seed: of the question's wording.
        progress: wraps the loop over the images.

    Returns:
        The JSON file.

    Raises:
        InputError: no mask is on record that a box could be made of, or the folder is not empty.
    """
    require_new(out)
    if all(_known(sample) is not None or sample.mask is None for sample in benchmark.samples):
        raise InputError(
            f"expected defective images with a mask and without boxes in {benchmark.path}, found "
            "none; give a benchmark whose records have a mask_path"
        )
    samples: list[Sample] = []
    without: dict[str, str] = {}
    boxes_of = partial(_boxes, options=options)
    for sample, found in over_files(boxes_of, benchmark.samples, progress):
        if isinstance(found, InputError):
            without[sample.image] = str(found)
            samples.append(sample)
        else:
            samples.append(_with(sample, found, grounding, seed))
    with new_folder(out):
        file = write_benchmark(
            out,
            samples,
            records=benchmark.records,
            manifest=_manifest(benchmark, samples, out, options, grounding, seed, without),
        )
    return file


def _boxes(sample: Sample, options: BoxOptions) -> tuple[Box, ...]:
    """The gold boxes of an image.

    Raises:
        InputError: they cannot be known.
    """
    known = _known(sample)
    if known is not None:
        return known
    if sample.mask is None:
        raise InputError("expected a mask_path, found none; give it to know the boxes")
    mask = read_mask(sample.root / sample.mask, image_size(sample.path))
    if not mask.any() or mask.all() or looks_inverted(mask):
        raise InputError(
            f"expected a mask that marks a part of the image at {sample.mask}, found one that "
            "marks nothing, everything, or all of the edge; correct it to know the boxes"
        )
    return boxes_from_mask(mask, options)


def _known(sample: Sample) -> tuple[Box, ...] | None:
    return () if sample.boxes is None and sample.is_normal else sample.boxes


def _with(sample: Sample, boxes: tuple[Box, ...], grounding: bool, seed: int) -> Sample:
    asked = any(question.type == GROUNDING for question in sample.questions)
    more = () if asked or not grounding else (grounding_question(sample.image, boxes, seed),)
    return replace(sample, boxes=boxes, questions=(*sample.questions, *more))


def _manifest(
    benchmark: Benchmark,
    samples: Sequence[Sample],
    out: Path,
    options: BoxOptions,
    grounding: bool,
    seed: int,
    without: Mapping[str, str],
) -> dict[str, object]:
    parent = benchmark.manifest or {}
    manifest = make_manifest(
        samples,
        read_files(benchmark.manifest, benchmark.path),
        root=Path(os.path.relpath(benchmark.root, out)).as_posix(),
        source={
            "name": "boxes",
            "benchmark_sha256": benchmark.sha256,
            "of": parent.get("source"),
        },
        options={**asdict(options), "grounding": grounding},
        seed=seed,
        groups=read_groups(benchmark.manifest),
    )
    if without:
        named = listed(list(without), 3)
        manifest["notes"] = [f"{len(without)} defective images stay without boxes: {named}"]
        manifest["without_boxes"] = [f"{key}: {why}" for key, why in without.items()]
    return manifest
