"""From a source's items to a benchmark: files examined, references chosen, questions asked.

Nothing is written before all files are known to be good.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from anomalyr1.data.fault_lists import refusal
from anomalyr1.data.fingerprint import NEAR_BITS, nearest
from anomalyr1.data.images import BoxOptions
from anomalyr1.data.making.differences import differing, require_templates
from anomalyr1.data.making.examining import Examined, examine, remarks
from anomalyr1.data.making.gradient import coloured
from anomalyr1.data.making.placing import mask_key, place, refuse_collisions, safe_items
from anomalyr1.data.making.questions import (
    Fact,
    Subject,
    Vocabulary,
    build_questions,
    names_no_product,
)
from anomalyr1.data.making.references import as_reference, fill_pools, product_of, set_aside
from anomalyr1.data.making.sources.item import Item, Source
from anomalyr1.data.making.tiling import SMALLEST_PIECE, pieces
from anomalyr1.data.manifest import make_manifest
from anomalyr1.data.many_cores import over_files
from anomalyr1.data.mmad import write_benchmark
from anomalyr1.data.seeding import seeded_order
from anomalyr1.errors import InputError, listed
from anomalyr1.output_folder import new_folder, require_new
from anomalyr1.schema import Sample

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
        near_bits: an image this near an evaluated one is no reference; -1 looks at equal files
            only.
        tile: cut the images into pieces of so many pixels a side (`tiling`); None keeps them whole.
        differences: paint what an image's own template does not show (`differences`).
        gradient: colour images, or pieces, by position (`gradient`).
    """

    seed: int = 0
    boxes: BoxOptions = field(default_factory=BoxOptions)
    references: int = 4
    reserve: float = 0.2
    pool: int = 64
    near_bits: int = NEAR_BITS
    tile: int | None = None
    differences: bool = False
    gradient: bool = False

    def __post_init__(self) -> None:
        if self.tile is not None and self.tile < SMALLEST_PIECE:
            raise InputError(
                f"expected pieces of at least {SMALLEST_PIECE} pixels a side, found {self.tile}; "
                "raise --tile"
            )
        if self.references < 0 or self.pool < 1 or not 0 <= self.reserve < 1:
            raise InputError(
                "expected references of at least 0, pool of at least 1 and reserve in [0, 1), "
                f"found {self.references}, {self.pool} and {self.reserve}; correct them"
            )


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
        out: folder to write to; must be empty or new. A failure leaves it as it was.
        options: the builder's choices.
        facts: questions beyond those that labels and boxes support.
        progress: wraps the loop over images, for a progress bar.

    Returns:
        The JSON file.

    Raises:
        InputError: the folder is not empty, or images or masks cannot be used; the first ten are
            shown, all are listed in a file.
    """
    options = options or BuildOptions()
    require_new(out)
    items, renamed = safe_items(source.items)
    refuse_collisions(items)
    if options.differences:
        require_templates(items)
    source = replace(source, items=tuple(items))
    with (
        new_folder(out),
        pieces(source, options.tile, out, options.boxes, options.seed, progress) as cut,
        differing(cut, options.differences, out) as painted,
        coloured(painted, options.gradient, out) as source,
    ):
        return _build(source, renamed, out, options, facts, progress)


def _build(
    source: Source,
    renamed: dict[str, str],
    out: Path,
    options: BuildOptions,
    facts: FactsOf,
    progress: Progress,
) -> Path:
    items = source.items
    asked, pools, notes = _examine(source, items, options, progress)
    samples = _samples(asked, pools, out, options, facts)
    used = {key for s in samples for key in (s.image, *s.similar_templates, *s.random_templates)}
    pool = [one for members in pools.values() for one in members if one.item.key in used]
    written = [*asked, *pool]
    manifest = make_manifest(
        samples,
        {one.item.key: one.print for one in written},
        root=".",
        source={
            "name": source.name,
            "licence": source.licence,
            "citation": source.citation,
            "url": source.url,
            "left_out": dict(source.left_out),
            "empty_masks": [one.item.key for one in written if one.empty_mask],
        },
        options={**source.options, **{k: v for k, v in asdict(options).items() if k != "seed"}},
        seed=options.seed,
        groups={one.item.key: one.item.group for one in written if one.item.group is not None},
    )
    manifest |= _records(source, written, renamed, [*notes, *_unasked(asked)])
    for one in written:
        place(one.item, one.size, out)
    return write_benchmark(out, samples, manifest=manifest)


def _examine(
    source: Source, items: Sequence[Item], options: BuildOptions, progress: Progress
) -> tuple[list[Examined], dict[tuple[str, str], list[Examined]], list[str]]:
    """The images asked about, the references of each product, and lines for the user.

    Raises:
        InputError: files cannot be used.
    """
    faults: list[str] = []

    def look(batch: list[Item]) -> list[Examined]:
        found = []
        work = partial(examine, options=options.boxes, rescale=source.rescale)
        for _, result in over_files(work, batch, progress):
            if isinstance(result, InputError):
                faults.append(str(result))
            else:
                found.append(result)
        return found

    asked = look([item for item in items if not item.reference])
    candidates: dict[tuple[str, str], list[Item]] = defaultdict(list)
    for item in items:
        if item.reference:
            candidates[product_of(item)].append(item)
    by_product: dict[tuple[str, str], list[Examined]] = defaultdict(list)
    for one in asked:
        by_product[product_of(one.item)].append(one)
    chosen: set[str] = set()
    for product, members in by_product.items():
        if not candidates.get(product):
            chosen |= set_aside(members, options.reserve, options.seed, options.near_bits)
    pools: dict[tuple[str, str], list[Examined]] = defaultdict(list)
    for key in seeded_order(chosen, options.seed, "references"):
        one = as_reference(next(one for one in asked if one.item.key == key))
        pools[product_of(one.item)].append(one)
    asked = [one for one in asked if one.item.key not in chosen]
    ordered = {product: _seeded(found, options.seed) for product, found in candidates.items()}
    filled, dropped = fill_pools(
        ordered, asked, look, options.pool, options.near_bits, source.paired
    )
    if faults:
        raise refusal("{} file{s} cannot be used; mend them:", faults)
    for product, found in filled.items():
        pools[product] += found
    notes = remarks([*asked, *(one for members in pools.values() for one in members)])
    if dropped:
        notes.append(f"{dropped} references look like evaluated images and are not used as such")
    bare = [f"{d}/{c}" for d, c in by_product if options.references and not pools.get((d, c))]
    if bare:
        notes.append(
            f"no reference could be set apart from the evaluated images of: {listed(bare)}"
        )
    return asked, dict(pools), notes


def _seeded(items: Iterable[Item], seed: int) -> list[Item]:
    by_key = {item.key: item for item in items}
    return [by_key[key] for key in seeded_order(by_key, seed, "references")]


def _records(
    source: Source, written: Sequence[Examined], renamed: dict[str, str], notes: list[str]
) -> dict[str, Any]:
    """What the manifest says besides counts and files; only what there is to say."""
    levels = Counter(one.levels for one in written if one.levels is not None)
    entries: dict[str, Any] = {
        "notes": [*source.notes, *notes],
        "names": dict(sorted(renamed.items())),  # safe name -> the source's own
        "grey_levels": dict(sorted(levels.items())),  # rule -> images read by it
    }
    return {key: value for key, value in entries.items() if value}


def _unasked(asked: Sequence[Examined]) -> list[str]:
    """Lines about what the images do not allow to ask."""
    lines = []
    products = sorted({one.item.product for one in asked if names_no_product(one.item.product)})
    if products:
        lines.append(
            f"the product is called {listed(products)}, which names none: what is in the image is "
            "not asked (--set category=NAME names it)"
        )
    if not any(one.item.normal for one in asked):
        lines.append(
            "warning: no image is normal, so every answer to Anomaly Detection is Yes: false "
            "alarms cannot be measured; if a label means in order, give --set normal=LABEL"
        )
    elif all(one.item.normal for one in asked):
        lines.append(
            "warning: every image is normal, so every answer to Anomaly Detection is No: whether "
            "defects are found cannot be measured"
        )
    return lines


def _samples(
    asked: Sequence[Examined],
    pools: dict[tuple[str, str], list[Examined]],
    root: Path,
    options: BuildOptions,
    facts: FactsOf,
) -> list[Sample]:
    subjects = [_subject(one, facts) for one in asked]
    vocabulary = Vocabulary.of(subjects)
    key_of = {one.item.file: one.item.key for members in pools.values() for one in members}
    samples = []
    for one, subject in zip(asked, subjects, strict=True):
        item = one.item
        pool = [other for other in pools.get(product_of(item), ()) if _may_show(other, one)]
        similar = [key_of[file] for file in item.references if file in key_of]
        if not similar:
            order = nearest(one.print, [other.print for other in pool])
            similar = [pool[index].item.key for index in order]
        keys = [other.item.key for other in pool]
        samples.append(
            Sample(
                item.key,
                root,
                build_questions(subject, vocabulary, options.seed),
                mask_key(item),
                tuple(similar[: options.references]),
                tuple(seeded_order(keys, options.seed, item.key)[: options.references]),
                item.boxes,
                item.split,
            )
        )
    return samples


def _may_show(reference: Examined, asked: Examined) -> bool:
    """False for another image of the same part, unless the source itself says to show it."""
    group = reference.item.group
    own = reference.item.file in asked.item.references
    return own or group is None or group != asked.item.group


def _subject(one: Examined, facts: FactsOf) -> Subject:
    item = one.item
    return Subject(
        item.key,
        item.product,
        item.normal,
        one.size,
        item.defects,
        item.boxes,
        facts(item),
    )
