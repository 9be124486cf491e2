"""Train and test out of one benchmark, so that no image of one side shows up on the other.

`division` decides who goes where; here the references follow, and both sides are written. No image
that is evaluated is a reference of anything.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from anomalyr1.data.checking.findings import is_normal_reference
from anomalyr1.data.fingerprint import Fingerprint, file_sha256
from anomalyr1.data.leakage import Progress, fingerprints
from anomalyr1.data.making.division import SplitOptions, assign, lacking
from anomalyr1.data.making.grouping import name_groups, told_ungrouped
from anomalyr1.data.manifest import make_manifest, read_groups
from anomalyr1.data.mmad import MANIFEST_NAME, Benchmark, write_benchmark
from anomalyr1.data.seeding import seeded_order
from anomalyr1.data.turned_copies import copies
from anomalyr1.errors import InputError, listed
from anomalyr1.output_folder import new_folder, require_new
from anomalyr1.schema import Sample
from anomalyr1.storage import read_json, write_json

SIDES = ("train", "test")


def split_benchmark(
    benchmark: Benchmark, out: Path, options: SplitOptions, progress: Progress = iter
) -> dict[str, Path]:
    """Write `out`/train and `out`/test, which point back to the benchmark's image folder.

    Returns:
        The JSON file of each side.

    Raises:
        InputError: there is too little to divide, the folder is not empty, or an image that has
            no fingerprint on record cannot be read.
    """
    require_new(out)
    keys = dict.fromkeys(key for s in benchmark.samples for key in _all_images(s))
    prints = fingerprints(benchmark, list(keys), progress)
    groups, notes = read_groups(benchmark.manifest), []
    if options.group is not None:
        named, without = name_groups(keys, options.group)
        groups |= named
        notes += told_ungrouped(without)
    sides, dropped, bits = divide(benchmark.samples, prints, groups, options)
    if bits != options.near_bits:
        kept = f"those within {bits}" if bits >= 0 else "equal files alone"
        notes.append(
            f"near-duplicates within {options.near_bits} bits join too many images for a division; "
            f"{kept} are kept together"
        )
    notes += _told(benchmark.samples, sides, groups, options)
    with new_folder(out):
        return _write(
            benchmark, out, options, sides, prints, groups, {"dropped": dropped, "notes": notes}
        )


def _write(
    benchmark: Benchmark,
    out: Path,
    options: SplitOptions,
    sides: Mapping[str, Sequence[Sample]],
    prints: Mapping[str, Fingerprint],
    groups: Mapping[str, str],
    more: Mapping[str, Sequence[str]],
) -> dict[str, Path]:
    root = Path(os.path.relpath(benchmark.root, out / "train"))
    files = {}
    for side in SIDES:
        files[side] = write_benchmark(out / side, sides[side], records=benchmark.records)
    hashes = {side: file_sha256(files[side]) for side in SIDES}
    for side in SIDES:
        used = {key for s in sides[side] for key in _all_images(s)}
        manifest = make_manifest(
            sides[side],
            {key: prints[key] for key in used},
            root=root.as_posix(),
            source={
                "name": "split",
                "side": side,
                "benchmark_sha256": benchmark.sha256,
                "of": (benchmark.manifest or {}).get("source"),
            },
            options={k: v for k, v in asdict(options).items() if k != "seed"},
            seed=options.seed,
            groups={key: groups[key] for key in used if key in groups},
        )
        manifest["sha256"] = hashes
        manifest |= {key: list(value) for key, value in more.items()}
        write_json(out / side / MANIFEST_NAME, manifest)
    return files


def read_split_options(manifest_file: Path) -> tuple[SplitOptions, dict[str, str], str]:
    """Options, hashes of both sides, and the parent's hash, from a manifest of a split.

    Raises:
        InputError: the file is not the manifest of a split.
    """
    manifest = read_json(manifest_file, "the manifest of a split")
    try:
        options = SplitOptions(**manifest["options"], seed=manifest["seed"])
        return options, dict(manifest["sha256"]), str(manifest["source"]["benchmark_sha256"])
    except (KeyError, TypeError, ValueError):
        raise InputError(
            f"expected the manifest of a split at {manifest_file}, found another file; "
            "give manifest.json of its train or test folder"
        ) from None


def divide(
    samples: Sequence[Sample],
    prints: Mapping[str, Fingerprint],
    groups: Mapping[str, str],
    options: SplitOptions,
) -> tuple[dict[str, list[Sample]], list[str], int]:
    """The samples of each side with their references, the images of neither, the distance used.

    Raises:
        InputError: a side would be empty.
    """
    (train, test), bits = _assign(samples, prints, groups, options)
    trained, evaluated = {s.image for s in train}, {s.image for s in test}
    train_blocked = _blocked(train, test, prints, groups, options.near_bits)
    test_blocked = _blocked(test, test, prints, groups, options.near_bits, parts_apart=True)
    normals = [s.image for s in samples if s.is_normal and s.image in trained]
    sides = {}
    for side, kept, refused in (
        ("train", trained, evaluated | train_blocked),
        ("test", evaluated, evaluated | test_blocked),
    ):
        sides[side] = [
            replace(_with_references(s, refused, normals, options), split=side)
            for s in samples
            if s.image in kept
        ]
    return sides, [s.image for s in samples if s.image not in trained | evaluated], bits


def _assign(
    samples: Sequence[Sample],
    prints: Mapping[str, Fingerprint],
    groups: Mapping[str, str],
    options: SplitOptions,
) -> tuple[tuple[list[Sample], list[Sample]], int]:
    """Both sides, and the distance within which near-duplicates are together on one.

    Photos that follow one another closely, or of a fixed camera, are near each other in one chain,
    and no division is left, or one without normal images on a side; then only the nearer ones are
    kept together: a half, a quarter, ... of the distance, at last equal files. What a side lacks
    even then (of images in one group, say) asks for no smaller distance.

    Raises:
        InputError: a side would be empty at any distance.
    """
    bits, first = options.near_bits, None
    unavoidable: list[tuple[str, str]] | None = None
    while True:
        try:
            train, test = assign(samples, prints, groups, replace(options, near_bits=bits))
        except InputError as fault:
            first = first or fault
            if bits < 0:
                raise first from None
        else:
            missing = lacking(samples, train, test) if options.holdout == "image" else []
            if missing and bits >= 0:
                if unavoidable is None:
                    unavoidable = _lacking_anyway(samples, prints, groups, options)
                missing = [one for one in missing if one not in unavoidable]
            if not missing or bits < 0:
                return (train, test), bits
        bits = bits // 2 if bits > 0 else -1


def _lacking_anyway(
    samples: Sequence[Sample],
    prints: Mapping[str, Fingerprint],
    groups: Mapping[str, str],
    options: SplitOptions,
) -> list[tuple[str, str]]:
    """What a side has none of where only equal files and groups are kept together."""
    train, test = assign(samples, prints, groups, replace(options, near_bits=-1))
    return lacking(samples, train, test)


def _told(
    samples: Sequence[Sample],
    sides: Mapping[str, Sequence[Sample]],
    groups: Mapping[str, str],
    options: SplitOptions,
) -> list[str]:
    """Lines about what a side has none of, and about groups that the records' sides share."""
    notes = []
    products = {side: {(s.dataset, s.category) for s in sides[side]} for side in SIDES}
    divided = [s for s in samples if all((s.dataset, s.category) in products[k] for k in SIDES)]
    if options.holdout == "image":
        divided = list(samples)
    for side, kind in lacking(divided, sides["train"], sides["test"]):
        notes.append(f"{side} has no {kind}")
    if options.holdout == "recorded":
        held = [{groups[s.image] for s in sides[side] if s.image in groups} for side in SIDES]
        if shared := sorted(held[0] & held[1]):
            notes.append(f"{len(shared)} groups are on both recorded sides: {listed(shared, 3)}")
    return notes


def _blocked(
    samples: Iterable[Sample],
    test: Sequence[Sample],
    prints: Mapping[str, Fingerprint],
    groups: Mapping[str, str],
    near_bits: int,
    parts_apart: bool = False,
) -> set[str]:
    """References of the samples that look like, or belong to, an evaluated image.

    With `parts_apart` the images of one group are taken to be told apart (a board and its own
    template), as they may be within the evaluated side.
    """
    references = list(
        dict.fromkeys(k for s in samples for k in (*s.similar_templates, *s.random_templates))
    )
    held = set() if parts_apart else {groups[s.image] for s in test if s.image in groups}
    blocked = {key for key in references if groups.get(key) in held}
    hashes = {prints[s.image].sha256 for s in test}
    blocked |= {key for key in references if prints[key].sha256 in hashes}
    if near_bits >= 0:
        pairs = copies(
            [prints[key] for key in references], [prints[s.image] for s in test], near_bits
        )
        for row, column, *_ in pairs:
            group = groups.get(references[row])
            if not (parts_apart and group is not None and group == groups.get(test[column].image)):
                blocked.add(references[row])
    return blocked


def _with_references(
    sample: Sample, refused: set[str], normals: Sequence[str], options: SplitOptions
) -> Sample:
    """References that may stay; where none may, normal training images of the category."""

    def allowed(keys: Iterable[str]) -> tuple[str, ...]:
        kept = [k for k in keys if k not in refused and k != sample.image]
        return tuple([k for k in kept if is_normal_reference(k)][: options.references])

    similar, random = allowed(sample.similar_templates), allowed(sample.random_templates)
    had = sample.similar_templates or sample.random_templates
    if had and not similar and not random:
        prefix = f"{sample.dataset}/{sample.category}/"
        pool = [key for key in normals if key.startswith(prefix)]
        random = allowed(seeded_order(pool, options.seed, sample.image, "references"))
    return replace(sample, similar_templates=similar, random_templates=random)


def _all_images(sample: Sample) -> tuple[str, ...]:
    return (sample.image, *sample.similar_templates, *sample.random_templates)
