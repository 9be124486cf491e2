"""The leakage gate: what a policy was trained on against what it is evaluated on.

An image is seen when the same bytes, the same look (perceptual hash; also mirrored or turned) or,
for MVTec-AD and its copy in MMAD (DS-MVTec), the same path was trained on, be it as a question's
image or as a reference.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from anomalyr1.data.fault_lists import refusal
from anomalyr1.data.fingerprint import NEAR_BITS, Fingerprint, file_sha256, fingerprint
from anomalyr1.data.manifest import Manifest, make_manifest, read_files, read_groups
from anomalyr1.data.many_cores import over_files
from anomalyr1.data.mmad import Benchmark, ReferenceKind, choose_references
from anomalyr1.data.turned_copies import SURELY_TURNED, copies
from anomalyr1.errors import InputError
from anomalyr1.schema import Sample

Progress = Callable[[Iterable[str]], Iterable[str]]

BYTES = "images_by_sha256"  # of a manifest that knows its images by their bytes alone
_MVTEC_NAMES = frozenset({"DS-MVTec", "MVTec-AD", "MVTec", "mvtec_anomaly_detection"})


@dataclass(frozen=True, slots=True)
class Overlap:
    """`image` of the evaluated benchmark was seen in training as `seen`.

    `kind` says how it is known; `bits` is the distance of the perceptual hashes (0 where the kind
    is another), and `turn` what was done to the one that was seen ("" for nothing, else a key of
    `turned_copies.TURNS`).
    """

    image: str
    seen: str
    kind: Literal["exact", "near", "path"]
    bits: int = 0
    turn: str = ""

    def __str__(self) -> str:
        """What was seen, and how it is known: `A/nut/test/good/1.png (near, mirrored)`."""
        return f"{self.seen} ({self.kind}{self.turn and ', '}{self.turn})"


def overlap(
    manifest: Mapping[str, Any], benchmark: Benchmark, *, near_bits: int = NEAR_BITS
) -> list[Overlap]:
    """Evaluated images that the manifest of a training run lists, references included.

    Args:
        manifest: of the training benchmark, with `files`.
        benchmark: what is to be evaluated; its fingerprints are taken from its own manifest, and
            computed where that has none.
        near_bits: largest distance of near-duplicates; 0 leaves equal hashes only. Of turned ones
            it is `SURELY_TURNED` at most: a product often looks like another one turned.

    Returns:
        One entry an evaluated image, in the order of the benchmark: the surest kind wins.

    Raises:
        InputError: an image of the benchmark is needed and cannot be read.
    """
    seen = read_files(manifest)
    images = [sample.image for sample in benchmark.samples]
    prints = fingerprints(benchmark, images)
    found: dict[str, Overlap] = {}
    by_sha = dict.fromkeys(known_by_bytes(manifest), "a training image")
    for key, print_ in seen.items():
        by_sha.setdefault(print_.sha256, key)
    aliases = {canonical_key(key): key for key in seen if _is_mvtec(key)}
    names = list(seen)
    for image in images:
        if prints[image].sha256 in by_sha:
            found[image] = Overlap(image, by_sha[prints[image].sha256], "exact")
        elif _is_mvtec(image) and canonical_key(image) in aliases:
            found[image] = Overlap(image, aliases[canonical_key(image)], "path")
    rest = [image for image in images if image not in found]
    pairs = copies(
        [prints[image] for image in rest],
        list(seen.values()),
        near_bits,
        min(near_bits, SURELY_TURNED),
    )
    for row, column, bits, turn in pairs:
        known = found.get(rest[row])
        if known is None or bits < known.bits:
            found[rest[row]] = Overlap(rest[row], names[column], "near", bits, turn)
    return [found[image] for image in images if image in found]


def same_files(asked: Iterable[Path], seen: Iterable[Path]) -> list[tuple[Path, Path]]:
    """The files asked about whose bytes were seen, each with the file they were seen in.

    Only files of one size are read, for others cannot be equal.

    Raises:
        InputError: a file cannot be read.
    """
    sizes: dict[int, list[Path]] = defaultdict(list)
    for path in dict.fromkeys(seen):
        sizes[path.stat().st_size].append(path)
    near = [path for path in dict.fromkeys(asked) if path.stat().st_size in sizes]
    wanted = {path.stat().st_size for path in near}
    known = [path for size in wanted for path in sizes[size]]
    hashes: dict[Path, str] = {}
    for path, found in over_files(file_sha256, list(dict.fromkeys([*near, *known]))):
        if isinstance(found, InputError):
            raise found
        hashes[path] = found
    first = {hashes[path]: path for path in reversed(known)}
    return [(path, first[hashes[path]]) for path in near if hashes[path] in first]


def own_references(samples: Iterable[Sample], prints: Mapping[str, Fingerprint]) -> list[Overlap]:
    """Queries that are shown with themselves as a reference: the same path or the same bytes."""
    found = []
    for sample in samples:
        for key in dict.fromkeys((*sample.similar_templates, *sample.random_templates)):
            if key == sample.image:
                found.append(Overlap(sample.image, key, "path"))
            elif (
                key in prints
                and sample.image in prints
                and prints[key].sha256 == prints[sample.image].sha256
            ):
                found.append(Overlap(sample.image, key, "exact"))
    return found


def training_manifest(
    benchmark: Benchmark,
    samples: Sequence[Sample],
    references: int = 0,
    kind: ReferenceKind = "similar",
    bytes_alone: bool = False,
) -> Manifest:
    """What a training run keeps: fingerprints of the images it shows, references included.

    Args:
        benchmark: what is trained on.
        samples: those of it that are.
        references: number of references shown.
        kind: of references.
        bytes_alone: keep the sha256 of the files and nothing of their look: for drawn pictures,
            of which two from other seeds may look alike (an even plate) and are not the same.

    Raises:
        InputError: an image is needed and cannot be read.
    """
    keys = dict.fromkeys(
        key for s in samples for key in (s.image, *choose_references(s, references, kind))
    )
    groups = read_groups(benchmark.manifest)
    parent = benchmark.manifest or {}
    prints = fingerprints(benchmark, list(keys))
    manifest = make_manifest(
        samples,
        {} if bytes_alone else prints,
        root=benchmark.root.name,  # the record goes where the policy goes, and paths stay here
        source={"name": "training", "benchmark": benchmark.sha256, "of": parent.get("source")},
        options={"references": references, "reference_kind": kind},
        seed=int(parent.get("seed", 0)),
        groups={key: group for key, group in groups.items() if key in keys},
    )
    if bytes_alone:
        manifest[BYTES] = sorted({found.sha256 for found in prints.values()})
    return manifest


def known_by_bytes(manifest: Mapping[str, Any]) -> list[str]:
    """The sha256 of images of which nothing else is on record.

    Raises:
        InputError: they are not a list of texts.
    """
    found = manifest.get(BYTES, [])
    if not isinstance(found, list) or not all(isinstance(value, str) for value in found):
        raise InputError(
            f"expected a list of sha256 under {BYTES} of a training record, found {found!r:.80}; "
            "make the policy again, or take its training_data.json away to go without the check"
        )
    return found


def fingerprints(
    benchmark: Benchmark, keys: Sequence[str], progress: Progress = iter
) -> dict[str, Fingerprint]:
    """Fingerprints by key: those in the benchmark's manifest, and the others from the files.

    Raises:
        InputError: files are needed and cannot be read; all of them are named.
    """
    known = read_files(benchmark.manifest, benchmark.path)
    found, faults = {}, []

    def read(key: str) -> Fingerprint:
        return known[key] if key in known else fingerprint(benchmark.root / key)

    for key, result in over_files(read, keys, progress):
        if isinstance(result, InputError):
            faults.append(f"{key}: {result}")
        else:
            found[key] = result
    if faults:
        raise refusal(
            f"expected every image and reference of {benchmark.path} to be readable, found {{}} "
            "that cannot be read; bring the file{s}, or take the name{s} out of the benchmark:",
            faults,
        )
    return found


def canonical_key(key: str) -> str:
    """One name for an image of MVTec-AD, whether in its own layout or in MMAD's.

    >>> canonical_key("DS-MVTec/pill/image/good/022.png")
    'MVTec-AD/pill/test/good/022.png'
    """
    parts = key.split("/")
    if not _is_mvtec(key):
        return key
    part = "test" if parts[2] == "image" else parts[2]
    return "/".join(("MVTec-AD", parts[1], part, *parts[3:]))


def _is_mvtec(key: str) -> bool:
    parts = key.split("/")
    return len(parts) > 3 and parts[0] in _MVTEC_NAMES
