"""manifest.json: where a benchmark's images are, where it came from, and what is in it.

It has no dates and no absolute paths of its own, so that the same build gives the same bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from anomalyr1 import __version__
from anomalyr1.data.fingerprint import Fingerprint
from anomalyr1.data.shots import stratum_of
from anomalyr1.schema import Sample

Manifest = dict[str, Any]

TOOL = f"anomalyr1 {__version__}"


def make_manifest(
    samples: Sequence[Sample],
    files: Mapping[str, Fingerprint],
    *,
    root: str,
    source: Mapping[str, Any],
    options: Mapping[str, Any],
    seed: int,
    groups: Mapping[str, str] | None = None,
) -> Manifest:
    """A manifest.

    Args:
        samples: what the benchmark asks about.
        files: fingerprint of every image by its key, references included.
        root: folder of the images, relative to the manifest or absolute.
        source: name, licence, citation and the like.
        options: everything that decided the content besides the seed.
        seed: seed of all choices.
        groups: key -> name of a group of images that belong together (two views of one part, a
            board and its template); a split keeps them on one side.
    """
    groups = groups or {}
    entries = {}
    for key in sorted(files):
        entries[key] = files[key].as_json()
        if key in groups:
            entries[key]["group"] = groups[key]
    return {
        "format": 1,
        "tool": TOOL,
        "root": root,
        "source": dict(source),
        "options": dict(options),
        "seed": seed,
        "counts": count(samples),
        "files": entries,
    }


def count(samples: Iterable[Sample]) -> dict[str, Any]:
    """What is in a benchmark: images, questions and boxes, by category, defect and type."""
    samples = list(samples)
    types = Counter(q.type for s in samples for q in s.questions)
    defects: dict[str, Counter[str]] = {}
    for sample in samples:
        dataset, category, defect = stratum_of(sample)
        defects.setdefault(f"{dataset}/{category}", Counter())[defect] += 1
    references = {key for s in samples for key in (*s.similar_templates, *s.random_templates)}
    return {
        "images": len(samples),
        "normal": sum(s.is_normal for s in samples),
        "abnormal": sum(not s.is_normal for s in samples),
        "references": len(references),
        "boxes": sum(len(s.boxes or ()) for s in samples),
        "questions": sum(types.values()),
        "by_type": dict(sorted(types.items())),
        "by_category": {name: dict(sorted(defects[name].items())) for name in sorted(defects)},
    }


def read_files(manifest: Mapping[str, Any] | None, where: object = None) -> dict[str, Fingerprint]:
    """Fingerprints by key; empty without a manifest or without such a section.

    Args:
        manifest: of a benchmark or a training.
        where: the file it belongs to, for errors.

    Raises:
        InputError: an entry is broken.
    """
    files = (manifest or {}).get("files")
    if not isinstance(files, dict):
        return {}
    of = "" if where is None else f" in the manifest of {where}"
    return {key: Fingerprint.from_json(entry, f"{key}{of}") for key, entry in files.items()}


def read_groups(manifest: Mapping[str, Any] | None) -> dict[str, str]:
    """Group of each image that has one."""
    files = (manifest or {}).get("files")
    if not isinstance(files, dict):
        return {}
    return {
        key: str(entry["group"])
        for key, entry in files.items()
        if isinstance(entry, dict) and "group" in entry
    }
