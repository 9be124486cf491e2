"""`data check`: all that is wrong with a benchmark, records and files; nothing is repaired."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from anomalyr1.data.checking.copied import Look, copy_findings, group_findings
from anomalyr1.data.checking.coverage import coverage_findings
from anomalyr1.data.checking.findings import Finding, mmad_findings, record_findings
from anomalyr1.data.fingerprint import (
    NEAR_BITS,
    Fingerprint,
    file_sha256,
    fingerprint_of,
    nearest,
)
from anomalyr1.data.images import image_size, is_image, mask_file, open_image, read_mask
from anomalyr1.data.making.grouping import name_groups, told_ungrouped
from anomalyr1.data.manifest import read_files, read_groups
from anomalyr1.data.many_cores import over_files
from anomalyr1.data.mask_marks import looks_inverted
from anomalyr1.data.mmad import BENCHMARK_NAME, Benchmark, read_benchmark
from anomalyr1.errors import InputError, listed
from anomalyr1.geometry import LARGEST_ASPECT_RATIO, too_extreme
from anomalyr1.schema import Box, Sample, is_normal_key

Progress = Callable[[Iterable[Any]], Iterable[Any]]

BOX_COVERS = 0.5  # share of a mask's pixels that the boxes must hold
_PILLS = frozenset(f"DS-MVTec/pill/image/good/{number:03d}.png" for number in range(22))


_ROUNDING = 1.0  # pixels by which the rounding of other tools puts a box outside its image


@dataclass(frozen=True, slots=True)
class _Seen:
    size: tuple[int, int]
    print: Fingerprint


@dataclass(frozen=True, slots=True)
class _Marked:
    """What the check of one mask needs, small enough to hand to another process."""

    image: str
    root: Path
    mask: str
    boxes: tuple[Box, ...]
    size: tuple[int, int]


def check_benchmark(
    path: Path | str,
    *,
    root: Path | None = None,
    near_bits: int = NEAR_BITS,
    group: str | None = None,
    progress: Progress = iter,
) -> list[Finding]:
    """Open every file that a benchmark names and list what is wrong.

    Args:
        path: folder with mmad.json, or the file; or a folder of such folders (the sides of a
            split), each of which is checked, and all against each other.
        root: folder of the images, where the manifest's is to be overridden.
        near_bits: near-duplicates within this distance are warned of; -1 for none.
        group: names groups of images by their keys, as `data build --set group=` does.
        progress: wraps the loop over images, for a progress bar.

    Returns:
        Errors first; within a level in the order of the file.

    Raises:
        InputError: there is no benchmark, or it is not an object of records.
    """
    sides = benchmark_sides(Path(path))
    findings: list[Finding] = []
    looks: list[Look] = []
    for name, folder in sides.items():
        found, look = _check_side(folder, root, near_bits, group, progress)
        if len(sides) > 1:
            found = [Finding(f.level, f.kind, f"{name}: {f.image}", f.message) for f in found]
        findings += found
        looks += look.by_side(name if len(sides) > 1 else None)
    findings += copy_findings(looks, near_bits)
    findings += group_findings(looks)
    return sorted(findings, key=lambda finding: finding.level)


def benchmark_sides(path: Path) -> dict[str, Path]:
    """The benchmark at `path` under its name, or the sides of a split below it."""
    if path.is_dir() and not (path / BENCHMARK_NAME).exists():
        below = sorted(file.parent for file in path.glob(f"*/{BENCHMARK_NAME}"))
        if below:
            return {folder.name: folder for folder in below}
    return {path.name: path}


def _check_side(
    path: Path, root: Path | None, near_bits: int, group: str | None, progress: Progress
) -> tuple[list[Finding], Look]:
    benchmark, faults = read_benchmark(path, root=root)
    findings = [Finding("error", "record", *_named(fault)) for fault in faults]
    for sample in benchmark.samples:
        findings += record_findings(sample, benchmark.records[sample.image])
    findings += mmad_findings(benchmark.samples)
    findings += coverage_findings(benchmark.samples)
    seen: dict[str, _Seen] = {}
    findings += _image_findings(benchmark, seen, progress)
    for sample in benchmark.samples:
        if sample.image in seen:
            findings += _boxes_outside(sample, seen[sample.image].size)
    findings += _mask_findings(benchmark, seen, progress)
    findings += _manifest_findings(benchmark, seen)
    findings += _same_files(benchmark, seen)
    findings += _wrong_pills(seen)
    groups = read_groups(benchmark.manifest)
    if group is not None:
        parts = [(s.image, *s.similar_templates, *s.random_templates) for s in benchmark.samples]
        named, without = name_groups(dict.fromkeys(key for keys in parts for key in keys), group)
        groups |= named
        findings += [Finding("warning", "group", "", line) for line in told_ungrouped(without)]
    return findings, Look(benchmark.samples, {k: s.print for k, s in seen.items()}, groups)


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
    missing: list[Finding] = []
    known = read_files(benchmark.manifest, benchmark.path)
    work = [(key, known.get(key)) for key in askers]
    for (key, _), result in over_files(partial(_see, root=benchmark.root), work, progress):
        what = f"reference of {askers[key]}: " if askers[key] else ""
        if isinstance(result, _Seen):
            seen[key] = result
            if too_extreme(*result.size):
                width, height = result.size
                shape = f"{width} x {height} pixels, more than {LARGEST_ASPECT_RATIO} to 1"
                yield Finding("error", "shape", key, f"{what}{shape}: no policy here takes it")
            continue
        finding = Finding("error", "file", key, f"{what}{result}")
        if (benchmark.root / key).exists():
            yield finding
        else:
            missing.append(finding)
    yield from _by_folder(missing)


def _see(work: tuple[str, Fingerprint | None], root: Path) -> _Seen:
    """An image, decoded; its fingerprint follows from its bytes, so one on record is taken."""
    key, known = work
    image, sha256 = open_image(root / key), file_sha256(root / key)
    if known is not None and known.sha256 == sha256:
        return _Seen(image.size, known)
    return _Seen(image.size, fingerprint_of(image, sha256))


def _by_folder(missing: Iterable[Finding]) -> Iterator[Finding]:
    """The missing files of one folder as one finding with their number."""
    folders: dict[str, list[Finding]] = defaultdict(list)
    for finding in missing:
        folders[finding.image.rpartition("/")[0]].append(finding)
    for folder, findings in folders.items():
        if len(findings) == 1:
            yield findings[0]
            continue
        names = listed([finding.image.rpartition("/")[2] for finding in findings], 3)
        message = f"{len(findings)} files of this folder are missing: {names}; check the root"
        yield Finding("error", findings[0].kind, folder, message)


def _boxes_outside(sample: Sample, size: tuple[int, int]) -> Iterator[Finding]:
    width, height = size
    for box in sample.boxes or ():
        out = max(-box.x1, -box.y1, box.x2 - width, box.y2 - height)
        if out > 0:
            level: Any = "warning" if out <= _ROUNDING else "error"
            message = f"the box {list(box.xyxy)} leaves the {width} x {height} pixels"
            yield Finding(level, "boxes", sample.image, message)


def _mask_findings(
    benchmark: Benchmark, seen: Mapping[str, _Seen], progress: Progress
) -> Iterator[Finding]:
    masks, missing = [], []
    for sample in benchmark.samples:
        if sample.mask is None or sample.is_normal or sample.image not in seen:
            continue
        if mask_file(benchmark.root / sample.mask) is None:
            message = f"expected a mask at {sample.mask}, found no such file"
            missing.append((sample.image, Finding("error", "mask", sample.mask, message)))
            continue
        size = seen[sample.image].size
        boxes = sample.boxes or ()
        masks.append(_Marked(sample.image, benchmark.root, sample.mask, boxes, size))
    for marked, result in over_files(_check_mask, masks, progress):
        if isinstance(result, InputError):
            yield Finding("error", "mask", marked.image, str(result))
        elif result is not None:
            yield result
    image_of = {finding.image: image for image, finding in missing}
    for finding in _by_folder(finding for _, finding in missing):
        image = image_of.get(finding.image, finding.image)
        yield Finding("error", "mask", image, finding.message)


def _check_mask(marked: _Marked) -> Finding | None:
    """What is wrong with one mask.

    Raises:
        InputError: it cannot be read.
    """

    def error(message: str) -> Finding:
        return Finding("error", "mask", marked.image, message)

    path = mask_file(marked.root / marked.mask)
    assert path is not None
    files = sorted(filter(is_image, path.iterdir())) if path.is_dir() else [path]
    sizes = {image_size(file) for file in files}
    mask = read_mask(path)
    if sizes != {marked.size}:
        other = ", ".join(f"{w} x {h}" for w, h in sorted(sizes))
        width, height = marked.size
        return error(f"the mask has {other} pixels, the image {width} x {height}")
    if not mask.any():
        return error("the mask marks nothing, the path says that there is a defect")
    if marked.boxes:
        covered = np.zeros_like(mask)
        empty = 0
        for box in marked.boxes:
            rows = slice(max(0, int(box.y1)), max(0, round(box.y2)))
            part = rows, slice(max(0, int(box.x1)), max(0, round(box.x2)))
            covered[part] = True
            empty += not mask[part].any()
        share = float(mask[covered].sum() / mask.sum())
        if share < BOX_COVERS or empty:
            return error(
                f"mask and boxes disagree: {share:.0%} of the mask lie in boxes, "
                f"{empty} of {len(marked.boxes)} boxes hold none of it"
            )
    if looks_inverted(mask):
        message = "the mask marks all of the image's edge and leaves ground inside: is it inverted?"
        return Finding("warning", "mask", marked.image, message)
    if mask.all():
        message = "the mask marks every pixel, so it says nothing about the place"
        return Finding("warning", "mask", marked.image, message)
    return None


def _manifest_findings(benchmark: Benchmark, seen: Mapping[str, _Seen]) -> Iterator[Finding]:
    for key, print_ in read_files(benchmark.manifest, benchmark.path).items():
        if key in seen and seen[key].print.sha256 != print_.sha256:
            yield Finding("error", "manifest", key, "the file is not the one in manifest.json")


def _same_files(benchmark: Benchmark, seen: Mapping[str, _Seen]) -> Iterator[Finding]:
    """Equal files among the images asked about and the references; two references may be equal."""
    asked = {sample.image for sample in benchmark.samples}
    by_hash: dict[str, list[str]] = defaultdict(list)
    for key, image in seen.items():
        by_hash[image.print.sha256].append(key)
    for first, *others in by_hash.values():
        for other in others:
            shown = asked.isdisjoint((first, other))
            message = f"the same file as {first}"
            yield Finding("warning" if shown else "error", "duplicate", other, message)


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
