"""`data check`: all that is wrong with a benchmark, records and files; nothing is repaired."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from anomalyr1.data.checking.findings import Finding, mmad_findings, record_findings
from anomalyr1.data.fingerprint import (
    NEAR_BITS,
    Fingerprint,
    file_sha256,
    fingerprint_of,
    near_pairs,
    nearest,
)
from anomalyr1.data.images import image_size, mask_file, open_image, read_mask
from anomalyr1.data.manifest import read_files, read_groups
from anomalyr1.data.mmad import Benchmark, read_benchmark
from anomalyr1.errors import InputError
from anomalyr1.geometry import LARGEST_ASPECT_RATIO, too_extreme
from anomalyr1.schema import Sample, is_normal_key

Progress = Callable[[Iterable[str]], Iterable[str]]

BOX_COVERS = 0.5  # share of a mask's pixels that the boxes must hold
_PILLS = frozenset(f"DS-MVTec/pill/image/good/{number:03d}.png" for number in range(22))


@dataclass(frozen=True, slots=True)
class _Seen:
    size: tuple[int, int]
    print: Fingerprint


def check_benchmark(
    path: Path | str, *, near_bits: int = NEAR_BITS, progress: Progress = iter
) -> list[Finding]:
    """Open every file that a benchmark names and list what is wrong.

    Args:
        path: folder with mmad.json, or the file.
        near_bits: near-duplicates within this distance are warned of; -1 for none.
        progress: wraps the loop over images, for a progress bar.

    Returns:
        Errors first; within a level in the order of the file.

    Raises:
        InputError: there is no benchmark, or it is not an object of records.
    """
    benchmark, faults = read_benchmark(path)
    findings = [Finding("error", "record", *_named(fault)) for fault in faults]
    for sample in benchmark.samples:
        findings += record_findings(sample, benchmark.records[sample.image])
    findings += mmad_findings(benchmark.samples)
    seen: dict[str, _Seen] = {}
    findings += _image_findings(benchmark, seen, progress)
    for sample in benchmark.samples:
        if sample.image in seen:
            findings += _mask_findings(sample, seen[sample.image].size)
    findings += _manifest_findings(benchmark, seen)
    findings += _duplicates(benchmark, seen, near_bits)
    findings += _wrong_pills(seen)
    return sorted(findings, key=lambda finding: finding.level)


def _named(fault: str) -> tuple[str, str]:
    image, _, message = fault.partition(": ")
    return image, message


def _image_findings(
    benchmark: Benchmark, seen: dict[str, _Seen], progress: Progress
) -> Iterator[Finding]:
    """Decode every image once; references too. A missing one is named with who asks for it."""
    askers: dict[str, str] = {}
    for sample in benchmark.samples:
        askers[sample.image] = ""
    for sample in benchmark.samples:
        for key in (*sample.similar_templates, *sample.random_templates):
            askers.setdefault(key, sample.image)
    for key in progress(list(askers)):
        what = f"reference of {askers[key]}: " if askers[key] else ""
        path = benchmark.root / key
        try:
            image = open_image(path)
            seen[key] = _Seen(image.size, fingerprint_of(image, file_sha256(path)))
        except InputError as fault:
            yield Finding("error", "file", key, f"{what}{fault}")
            continue
        if too_extreme(*image.size):
            shape = f"{image.width} x {image.height} pixels, more than {LARGEST_ASPECT_RATIO} to 1"
            yield Finding("error", "shape", key, f"{what}{shape}: no policy here takes it")


def _mask_findings(sample: Sample, size: tuple[int, int]) -> Iterator[Finding]:
    def error(kind: str, message: str) -> Finding:
        return Finding("error", kind, sample.image, message)

    width, height = size
    for box in sample.boxes or ():
        if box.x1 < 0 or box.y1 < 0 or box.x2 > width or box.y2 > height:
            yield error("boxes", f"the box {list(box.xyxy)} leaves the {width} x {height} pixels")
    if sample.mask is None or sample.is_normal:
        return
    path = mask_file(sample.root / sample.mask)
    try:
        if path is None:
            raise InputError(f"expected a mask at {sample.mask}, found no such file")
        masks = sorted(path.iterdir()) if path.is_dir() else [path]
        sizes = {image_size(mask) for mask in masks if mask.is_file()}
        mask = read_mask(path)
    except InputError as fault:
        yield error("mask", str(fault))
        return
    if sizes != {size}:
        other = ", ".join(f"{w} x {h}" for w, h in sorted(sizes))
        yield error("mask", f"the mask has {other} pixels, the image {width} x {height}")
        return
    if not mask.any():
        yield error("mask", "the mask marks nothing, the path says that there is a defect")
        return
    if sample.boxes:
        covered = np.zeros_like(mask)
        empty = 0
        for box in sample.boxes:
            part = np.s_[int(box.y1) : round(box.y2), int(box.x1) : round(box.x2)]
            covered[part] = True
            empty += not mask[part].any()
        share = float(mask[covered].sum() / mask.sum())
        if share < BOX_COVERS or empty:
            yield error(
                "mask",
                f"mask and boxes disagree: {share:.0%} of the mask lie in boxes, "
                f"{empty} of {len(sample.boxes)} boxes hold none of it",
            )


def _manifest_findings(benchmark: Benchmark, seen: Mapping[str, _Seen]) -> Iterator[Finding]:
    for key, print_ in read_files(benchmark.manifest).items():
        if key in seen and seen[key].print.sha256 != print_.sha256:
            yield Finding("error", "manifest", key, "the file is not the one in manifest.json")


def _duplicates(
    benchmark: Benchmark, seen: Mapping[str, _Seen], near_bits: int
) -> Iterator[Finding]:
    """Equal files among the images asked about and the references, and images that look equal."""
    by_hash: dict[str, list[str]] = defaultdict(list)
    for key, image in seen.items():
        by_hash[image.print.sha256].append(key)
    for first, *others in by_hash.values():
        for other in others:
            yield Finding("error", "duplicate", other, f"the same file as {first}")
    if near_bits < 0:
        return
    groups = read_groups(benchmark.manifest)
    keys = [s.image for s in benchmark.samples if s.image in seen]
    prints = [seen[key].print for key in keys]
    for a, b, bits in near_pairs(prints, prints, near_bits):
        same_group = groups.get(keys[a], keys[a]) == groups.get(keys[b], keys[b])
        if a < b and not same_group and prints[a].sha256 != prints[b].sha256:
            message = f"looks like {keys[a]} ({bits} of 256 bits differ)"
            yield Finding("warning", "near-duplicate", keys[b], message)


def _wrong_pills(seen: Mapping[str, _Seen]) -> Iterator[Finding]:
    """MMAD's hub copy had metal nuts in place of 22 normal pills (its issues 15 and 19)."""
    suspects = sorted(_PILLS & seen.keys())
    nuts = [k for k in seen if k.split("/")[1:2] == ["metal_nut"] and is_normal_key(k)]
    pills = [k for k in seen if k.split("/")[1:2] == ["pill"] and k not in _PILLS]
    for key in suspects:
        if not nuts or not pills:
            message = "MMAD's hub copy had a metal nut here (issue 15); look at the image"
            yield Finding("warning", "known fault", key, message)
            continue
        others = pills + nuts
        closest = others[nearest(seen[key].print, [seen[k].print for k in others])[0]]
        if closest in nuts:
            message = f"looks like {closest}: MMAD's hub copy has metal nuts here (issue 15)"
            yield Finding("error", "known fault", key, message)
