"""Benchmarks in MMAD's format: read, write, and say which files they need.

MMAD (ICLR 2025, github.com/jam-cc/MMAD) keeps one JSON object, keyed by the query image's path
relative to the data root. `anomalyr1.data.benchmark_records` has the form of one record. A file of
RobustMAD's (`anomalyr1.data.robustmad`) is read as if it were in that form.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from anomalyr1.data.benchmark_records import (
    Record,
    note_unwritable,
    read_record,
    write_record,
)
from anomalyr1.data.fault_lists import refusal
from anomalyr1.data.robustmad import is_robustmad, robustmad_records
from anomalyr1.errors import InputError, one_line
from anomalyr1.schema import Sample
from anomalyr1.storage import read_json, write_json
from anomalyr1.text_files import read_bytes
from anomalyr1.values import is_below, is_plain_path

BENCHMARK_NAME = "mmad.json"
MANIFEST_NAME = "manifest.json"
_UNWRITABLE = re.compile(rb"\\u[dD][89a-fA-F]|NaN|Infinity|[eE]\+?\d\d\d")

ReferenceKind = Literal["similar", "random"]


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A benchmark as read from disk.

    `path` is the JSON file, `root` the folder its keys are relative to, `sha256` the hash of the
    JSON file's bytes, `manifest` what stands in manifest.json beside it (None without one) and
    `records` the JSON records as they were read, which rewriting starts from.
    """

    path: Path
    root: Path
    samples: tuple[Sample, ...]
    sha256: str
    manifest: dict[str, Any] | None = None
    records: Mapping[str, Record] = field(default_factory=dict, repr=False)


def load_benchmark(path: Path | str, *, root: Path | None = None) -> Benchmark:
    """Read a benchmark and refuse it when its structure is wrong.

    Files are not opened here: `data.check` does that, and `missing_files` before a run.

    Args:
        path: a folder with mmad.json (and manifest.json, whose `root` says where the images are,
            relative to that folder or absolute), or the JSON file itself.
        root: the image folder, where the manifest's is to be overridden.

    Raises:
        InputError: one line when the file is missing or broken; else a line with the number of
            faults, then the first ten; a file has all of them.
    """
    benchmark, faults = read_benchmark(path, root=root)
    if faults:
        raise refusal(f"{benchmark.path} has {{}} fault{{s}}; mend the records:", faults)
    return benchmark


def read_benchmark(path: Path | str, *, root: Path | None = None) -> tuple[Benchmark, list[str]]:
    """Read a benchmark and every structural fault in it; the samples are those without a fault.

    Raises:
        InputError: there is no JSON file, or it is not an object of records.
    """
    path = Path(path)
    file = path / BENCHMARK_NAME if path.is_dir() else path
    faults: list[str] = []
    records, sha256, unwritable = _read_records(file, faults)
    if is_robustmad(records):
        records = robustmad_records(records["images"], faults)
    manifest = _read_manifest(file.parent / MANIFEST_NAME)
    folder = (root or _root(file.parent, manifest)).absolute()
    samples = []
    for key, record in records.items():
        if unwritable:
            note_unwritable(key, record, faults)
        sample = read_record(key, record, folder, faults)
        if sample is not None:
            samples.append(sample)
    faults += _symlink_faults(folder, samples)
    return Benchmark(file, folder, tuple(samples), sha256, manifest, records), faults


def write_benchmark(
    folder: Path,
    samples: Iterable[Sample],
    *,
    manifest: Mapping[str, Any] | None = None,
    records: Mapping[str, Record] | None = None,
) -> Path:
    """Write `folder`/mmad.json, and manifest.json when there is one; returns the JSON file.

    Args:
        folder: made when it does not exist.
        samples: written in this order.
        manifest: its `root` must be the folder that the samples' keys are relative to.
        records: records as read, whose unknown keys are kept (`Benchmark.records`).
    """
    records = records or {}
    file = folder / BENCHMARK_NAME
    if manifest is not None:  # first: the records are not read without the root that it names
        write_json(folder / MANIFEST_NAME, dict(manifest))
    write_json(file, {s.image: write_record(s, records.get(s.image)) for s in samples})
    return file


def choose_references(
    sample: Sample, count: int, kind: ReferenceKind = "similar"
) -> tuple[str, ...]:
    """The first `count` references of a sample; fewer when its record has fewer.

    The other kind of template fills up what the asked kind lacks.
    """
    first, second = sample.similar_templates, sample.random_templates
    if kind == "random":
        first, second = second, first
    return tuple(dict.fromkeys((*first, *second)))[:count]


def missing_files(
    samples: Iterable[Sample], references_used: int = 0, kind: ReferenceKind = "similar"
) -> list[str]:
    """Images (and the references a run would show) that are not there, as paths below the root."""
    listings: dict[Path, set[str]] = {}
    missing: dict[str, None] = {}
    for sample in samples:
        for key in (sample.image, *choose_references(sample, references_used, kind)):
            path = sample.root / key
            if path.parent not in listings:
                listings[path.parent] = _names(path.parent)
            if path.name not in listings[path.parent]:
                missing[key] = None
    return list(missing)


def _read_records(file: Path, faults: list[str]) -> tuple[dict[str, Any], str, bool]:
    """The records, the hash of the file, and whether it may hold what no other file can."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) != len(pairs):
            names = [name for name, _ in pairs]
            twice = dict.fromkeys(name for name in names if names.count(name) > 1)
            faults.extend(f"{name}: this key is given twice in one object" for name in twice)
        return value

    content = read_bytes(file, f"a benchmark ({BENCHMARK_NAME})")
    try:
        records = json.loads(content, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"expected a benchmark at {file}, found broken JSON ({one_line(error)}); mend the file"
        ) from None
    if not isinstance(records, dict) or not records:
        found = "an empty object" if records == {} else type(records).__name__
        raise InputError(
            f"expected an object of records keyed by image path in {file}, found {found}; mend it"
        )
    return records, hashlib.sha256(content).hexdigest(), bool(_UNWRITABLE.search(content))


def _read_manifest(file: Path) -> dict[str, Any] | None:
    if not file.exists():
        return None
    manifest = read_json(file, "a manifest")
    if not isinstance(manifest, dict):
        raise InputError(
            f"expected an object in {file}, found {type(manifest).__name__}; mend the manifest"
        )
    return manifest


def _root(folder: Path, manifest: dict[str, Any] | None) -> Path:
    root = (manifest or {}).get("root", ".")
    if not isinstance(root, str) or not root or not is_plain_path(root):
        raise InputError(
            f"expected root to be a folder in {folder / MANIFEST_NAME}, found {root!r}; "
            "give it relative to the manifest, or absolute"
        )
    return Path(os.path.normpath(folder / root))


def _symlink_faults(root: Path, samples: Iterable[Sample]) -> list[str]:
    """Paths that a symbolic link leads out of the root; one listing a folder, no call a file."""
    real_root = os.path.realpath(root)
    wanted: dict[str, set[str]] = {}
    for sample in samples:
        mask = (sample.mask,) if sample.mask else ()
        for key in (sample.image, *mask, *sample.similar_templates, *sample.random_templates):
            parent, _, name = key.rpartition("/")
            wanted.setdefault(parent, set()).add(name)
    faults = []
    for parent, names in wanted.items():
        folder = os.path.join(root, parent)  # noqa: PTH118
        if not is_below(os.path.realpath(folder), real_root):
            faults.append(f"{parent}: a symbolic link leads out of the root {root}")
            continue
        faults += [
            f"{parent}/{name}: a symbolic link leads out of the root {root}"
            for name in sorted(_links(folder) & names)
            if not is_below(os.path.realpath(f"{folder}/{name}"), real_root)
        ]
    return faults


def _links(folder: str) -> set[str]:
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if entry.is_symlink()}
    except OSError:
        return set()


def _names(folder: Path) -> set[str]:
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if entry.is_file()}
    except OSError:
        return set()
