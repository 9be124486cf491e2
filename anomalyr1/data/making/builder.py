"""From a source's items to a benchmark: files placed, boxes read, questions asked, references."""

from __future__ import annotations

import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from anomalyr1.data.fingerprint import Fingerprint, file_sha256, fingerprint_of, nearest
from anomalyr1.data.images import (
    IMAGE_SUFFIXES,
    BoxOptions,
    boxes_from_mask,
    open_image,
    read_mask,
)
from anomalyr1.data.making.questions import Fact, Subject, Vocabulary, build_questions
from anomalyr1.data.making.sources.item import Item, Source
from anomalyr1.data.manifest import make_manifest
from anomalyr1.data.mmad import write_benchmark
from anomalyr1.data.seeding import seeded_order
from anomalyr1.errors import InputError
from anomalyr1.schema import Box, Sample
from anomalyr1.values import is_plain_path

Progress = Callable[[Iterable[Item]], Iterable[Item]]
FactsOf = Callable[[Item], tuple[Fact, ...]]


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """Choices of the builder; all of them stand in the manifest.

    Attributes:
        seed: decides distractors, order of options, references.
        boxes: how boxes are read from masks.
        references: similar and random references listed for each image, at most.
        reserve: share of the normal images set aside as references where a source has none.
        pool: references kept for each category, at most.
    """

    seed: int = 0
    boxes: BoxOptions = field(default_factory=BoxOptions)
    references: int = 4
    reserve: float = 0.2
    pool: int = 64

    def __post_init__(self) -> None:
        if self.references < 0 or self.pool < 1 or not 0 <= self.reserve < 1:
            raise InputError(
                "expected references of at least 0, pool of at least 1 and reserve in [0, 1), "
                f"found {self.references}, {self.pool} and {self.reserve}"
            )


@dataclass(frozen=True, slots=True)
class _Placed:
    item: Item
    size: tuple[int, int]
    print: Fingerprint
    mask: str | None
    boxes: tuple[Box, ...] | None


def build_benchmark(
    source: Source,
    out: Path,
    options: BuildOptions | None = None,
    *,
    facts: FactsOf = lambda item: (),
    progress: Progress = iter,
) -> Path:
    """Write a benchmark into `out`: images and masks (hard links where possible), JSON, manifest.

    Args:
        source: what a reader found.
        out: folder to write to; must be empty or new.
        options: the builder's choices.
        facts: questions beyond those that labels and boxes support.
        progress: wraps the loop over images, for a progress bar.

    Returns:
        The JSON file.

    Raises:
        InputError: the folder is not empty, or images or masks cannot be used; all are listed.
    """
    options = options or BuildOptions()
    if out.exists() and any(out.iterdir()):
        raise InputError(f"expected {out} to be empty or new, found files in it; choose another")
    _refuse_keys(source.items)
    items = _choose_references(source.items, options)
    placed: list[_Placed] = []
    faults: list[str] = []
    empty: list[str] = []
    for item in progress(items):
        try:
            placed.append(_place(item, out, options.boxes, empty))
        except InputError as fault:
            faults.append(str(fault))
    if faults:
        shutil.rmtree(out, ignore_errors=True)
        raise InputError("\n".join([f"{len(faults)} files cannot be used; mend them:", *faults]))
    samples = _samples(placed, out, options, facts)
    used = {k for s in samples for k in (s.image, *s.similar_templates, *s.random_templates)}
    manifest = make_manifest(
        samples,
        {p.item.key: p.print for p in placed if p.item.key in used},
        root=".",
        source={
            "name": source.name,
            "licence": source.licence,
            "citation": source.citation,
            "url": source.url,
            "left_out": dict(source.left_out),
            "empty_masks": empty,
        },
        options={**source.options, **{k: v for k, v in asdict(options).items() if k != "seed"}},
        seed=options.seed,
        groups={p.item.key: p.item.group for p in placed if p.item.group is not None},
    )
    return write_benchmark(out, samples, manifest=manifest)


def place_file(source: Path, target: Path) -> None:
    """Put a file into the benchmark: a hard link where the file system can, else a copy.

    Raises:
        InputError: another file has that name already; a linked original must not be written to.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        raise InputError(f"expected one file for {target}, found a second one: {source}; rename it")
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copy2(source, target)


def _choose_references(items: Sequence[Item], options: BuildOptions) -> list[Item]:
    """Set normals aside where a category has no reference, and drop those beyond the pool."""
    by_category: dict[tuple[str, str], list[Item]] = defaultdict(list)
    for item in items:
        by_category[item.dataset, item.category].append(item)
    kept = []
    own = {file for item in items for file in item.references}
    for members in by_category.values():
        pool = [item for item in members if item.reference]
        tests = [item for item in members if not item.reference]
        normals = [item for item in tests if item.normal]
        if not pool and options.reserve and len(normals) > 1:
            number = max(1, round(options.reserve * len(normals)))
            chosen = set(_seeded(normals, options.seed)[:number])
            pool = [replace(item, reference=True) for item in normals if item in chosen]
            tests = [item for item in tests if item not in chosen]
        ordered = _seeded(pool, options.seed)
        limited = set(ordered[: options.pool]) | {item for item in pool if item.file in own}
        kept += tests + [item for item in pool if item in limited]
    return kept


def _seeded(items: Iterable[Item], seed: int) -> list[Item]:
    by_key = {item.key: item for item in items}
    return [by_key[key] for key in seeded_order(by_key, seed, "references")]


def _refuse_keys(items: Iterable[Item]) -> None:
    """Names that cannot be a path, and two files under one."""
    seen: dict[str, Path] = {}
    for item in items:
        if not is_plain_path(item.key):
            raise InputError(f"expected names that can be a path, found {item.key!r}; rename it")
        other = seen.setdefault(item.key.casefold(), item.file)
        if other != item.file:
            raise InputError(
                f"expected one file for {item.key}, found {other} and {item.file}; rename one"
            )


def _place(item: Item, out: Path, options: BoxOptions, empty: list[str]) -> _Placed:
    image = open_image(item.file)
    print_ = fingerprint_of(image, file_sha256(item.file))
    mask, boxes = None, item.boxes
    if item.normal:
        boxes = ()
    elif item.mask is not None:
        pixels = read_mask(item.mask)
        if pixels.shape != (image.height, image.width):
            raise InputError(
                f"expected a mask of {image.width} x {image.height} pixels like {item.file}, "
                f"found {pixels.shape[1]} x {pixels.shape[0]} in {item.mask}"
            )
        if pixels.any():
            mask = _place_mask(item, item.mask, out)
            label = item.defects[0] if len(item.defects) == 1 else None
            boxes = boxes_from_mask(pixels, options, label) if boxes is None else boxes
        else:
            empty.append(item.key)
    for box in boxes or ():
        if not (0 <= box.x1 < box.x2 <= image.width and 0 <= box.y1 < box.y2 <= image.height):
            raise InputError(
                f"expected boxes inside the {image.width} x {image.height} pixels of {item.file}, "
                f"found {list(box.xyxy)}"
            )
    place_file(item.file, out / item.key)
    return _Placed(item, image.size, print_, mask, boxes)


def _place_mask(item: Item, mask: Path, out: Path) -> str:
    stem = Path(item.name).stem
    below = f"{item.dataset}/{item.category}/ground_truth/{item.folder}"
    if mask.is_dir():
        for file in sorted(mask.iterdir()):
            if file.suffix.lower() in IMAGE_SUFFIXES:
                place_file(file, out / below / stem / file.name)
        return f"{below}/{stem}"
    key = f"{below}/{stem}_mask{mask.suffix}"
    place_file(mask, out / key)
    return key


def _samples(
    placed: Sequence[_Placed], root: Path, options: BuildOptions, facts: FactsOf
) -> list[Sample]:
    asked = [p for p in placed if not p.item.reference]
    pools: dict[tuple[str, str], list[_Placed]] = defaultdict(list)
    for p in placed:
        if p.item.reference:
            pools[p.item.dataset, p.item.category].append(p)
    subjects = [_subject(p, facts) for p in asked]
    vocabulary = Vocabulary.of(subjects)
    key_of = {p.item.file: p.item.key for p in placed}
    samples = []
    for p, subject in zip(asked, subjects, strict=True):
        pool = pools[p.item.dataset, p.item.category]
        similar = [key_of[file] for file in p.item.references]
        if not similar:
            order = nearest(p.print, [other.print for other in pool])
            similar = [pool[index].item.key for index in order]
        keys = [other.item.key for other in pool]
        samples.append(
            Sample(
                p.item.key,
                root,
                build_questions(subject, vocabulary, options.seed),
                p.mask,
                tuple(similar[: options.references]),
                tuple(seeded_order(keys, options.seed, p.item.key)[: options.references]),
                p.boxes,
            )
        )
    return samples


def _subject(placed: _Placed, facts: FactsOf) -> Subject:
    item = placed.item
    return Subject(
        item.key,
        item.product,
        item.normal,
        placed.size,
        item.defects,
        placed.boxes,
        facts(item),
    )
