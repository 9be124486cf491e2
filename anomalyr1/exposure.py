"""What a policy was trained on: recorded beside its weights, compared with what it is asked.

`training_data.json` goes with the policy wherever it is copied. It lists, for this run and for
every run its starting policy came from, the fingerprints (sha256 and perceptual hash) of the images
shown, references included.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from anomalyr1.config import PromptConfig
from anomalyr1.data.fingerprint import file_sha256
from anomalyr1.data.leakage import overlap, training_manifest
from anomalyr1.data.mmad import Benchmark
from anomalyr1.errors import InputError
from anomalyr1.run_folder import TRAINING_DATA
from anomalyr1.schema import Sample
from anomalyr1.storage import read_json, write_json


def write_exposure(
    folder: Path,
    started_from: str,
    benchmarks: Sequence[tuple[Benchmark, Sequence[Sample]]],
    prompt: PromptConfig,
    *,
    bytes_alone: bool = False,
) -> None:
    """Record what a run trained on, after what its starting policy had been trained on.

    Args:
        folder: where the trained policy is.
        started_from: path of the starting policy; a hub id has no record.
        benchmarks: each benchmark with the samples of it that were used.
        prompt: says how many references were shown.
        bytes_alone: record nothing of the images' look (`data.leakage.training_manifest`).
    """
    manifests = list(_manifests(started_from))
    for benchmark, samples in benchmarks:
        manifest = training_manifest(
            benchmark, samples, prompt.references, prompt.reference_kind, bytes_alone
        )
        manifests.append(dict(manifest))
    write_json(folder / TRAINING_DATA, {"manifests": manifests})


def seen_images(policy: str, benchmark: Benchmark) -> dict[str, str]:
    """Images of the benchmark that the policy was trained on -> the training image they match."""
    seen: dict[str, str] = {}
    for manifest in _manifests(policy):
        for found in overlap(manifest, benchmark):
            seen.setdefault(found.image, str(found))
    return seen


def refuse_seen(policy: str, seen: dict[str, str], allowed: bool, advice: str) -> None:
    """Stop work on training images, unless it is wanted.

    Args:
        policy: what to call it.
        seen: of `seen_images`.
        allowed: it is wanted.
        advice: what to do else, and how to say that it is wanted.

    Raises:
        InputError: images were seen and `allowed` is False.
    """
    if seen and not allowed:
        examples = "; ".join(f"{image} is {match}" for image, match in list(seen.items())[:3])
        raise InputError(
            f"expected a benchmark that {policy} was not trained on, found {len(seen)} image(s) it "
            f"has seen: {examples}; {advice}"
        )


def whole(path: Path, samples: Sequence[Sample]) -> Benchmark:
    """A part of a mixture as a benchmark of its own."""
    digest = file_sha256(path)
    return Benchmark(path, samples[0].root, tuple(samples), digest)


def _manifests(policy: str) -> Sequence[dict[str, Any]]:
    record = Path(policy) / TRAINING_DATA
    if not record.is_file():
        return ()
    content = read_json(record, "the record of a policy's training data")
    manifests = content.get("manifests") if isinstance(content, dict) else None
    if not isinstance(manifests, list):
        raise InputError(
            f"expected a list under manifests in {record}, found {manifests!r}; put the file back "
            "as training wrote it"
        )
    return manifests
