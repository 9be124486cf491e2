"""A benchmark of procedural images: train and test over one folder of images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from anomalyr1.data.fingerprint import Fingerprint, file_sha256, fingerprint_of, near_pairs
from anomalyr1.data.images import BoxOptions, Mask, boxes_from_mask, resize_mask
from anomalyr1.data.making.questions import Subject, Vocabulary, build_questions, words
from anomalyr1.data.making.synthetic.defects import KINDS, add_defect
from anomalyr1.data.making.synthetic.lighting import (
    GRADIENT,
    Camera,
    dust,
    photograph,
    uneven_light,
)
from anomalyr1.data.making.synthetic.products import PRODUCTS, Draw
from anomalyr1.data.making.synthetic.scene import Scene
from anomalyr1.data.making.synthetic.wording import defect_facts
from anomalyr1.data.manifest import make_manifest
from anomalyr1.data.mmad import write_benchmark
from anomalyr1.data.seeding import digest, seeded_order
from anomalyr1.errors import InputError
from anomalyr1.output_folder import new_folder
from anomalyr1.schema import Box, Sample

DATASET = "Synthetic"
REFERENCES_PER_PRODUCT = 8
REFERENCES_PER_IMAGE = 2
MIN_SIZE = 56
SUPERSAMPLING = 1.5  # images are drawn larger and reduced, so that edges are smooth
HARD_NEGATIVE_SHARE = 0.35  # of the images, for dust and for uneven light separately
_ATTEMPTS = 20

SOURCE = {
    "name": "synth",
    "dataset": DATASET,
    "licence": "Apache-2.0 (made by this program)",
    "citation": "none",
}

Progress = Callable[[Iterable[int]], Iterable[int]]


def synthesize(
    out: Path,
    *,
    train: int,
    test: int,
    seed: int = 0,
    size: int = 224,
    similar: bool = False,
    bgr: bool = False,
    products: Mapping[str, Draw] = PRODUCTS,
    progress: Progress = iter,
) -> tuple[Path, Path]:
    """Draw images and write the benchmarks `out`/train and `out`/test over `out`/images.

    Half of each side is normal. Products and defects come in turn, so that counts are even. Every
    image's references are normal images of its product that no question is about.

    Args:
        out: folder to write to; must be empty or new.
        train: images asked about in train.
        test: images asked about in test.
        seed: decides everything.
        size: side of the square images in pixels.
        similar: draw for every image the same view without its defect too, photographed anew, as
            its similar reference.
        bgr: with red and blue in each other's place; see `Camera`.
        products: what is drawn, in turn.
        progress: wraps the loop over images, for a progress bar.

    Returns:
        The two JSON files.

    Raises:
        InputError: a number is out of range, the folder holds something else already, or no scene
            has a place for a defect.
    """
    if train < 1 or test < 1 or size < MIN_SIZE:
        raise InputError(
            f"expected at least 1 image on each side and a size of {MIN_SIZE} pixels or more, "
            f"found train {train}, test {test}, size {size}; raise them"
        )
    with new_folder(out):
        return _write(out, train, test, seed, Camera(size, bgr), similar, products, progress)


def _write(
    out: Path,
    train: int,
    test: int,
    seed: int,
    camera: Camera,
    similar: bool,
    products: Mapping[str, Draw],
    progress: Progress,
) -> tuple[Path, Path]:
    root = out / "images"
    references: dict[str, list[str]] = {}
    files: dict[str, Fingerprint] = {}
    for number in range(REFERENCES_PER_PRODUCT):
        for product, draw in products.items():
            key = f"{DATASET}/{product}/train/good/{number:03d}.png"
            files[key], _, _ = _draw(root, key, draw, None, seed, camera)
            references.setdefault(product, []).append(key)
    sides: dict[str, list[tuple[Sample, Subject]]] = {"train": [], "test": []}
    drawn = {product: list(keys) for product, keys in references.items()}
    for index in progress(range(train + test)):
        side, number = ("train", index) if index < train else ("test", index - train)
        product, kind = _plan(number, tuple(products))
        draw = products[product]
        key = f"{DATASET}/{product}/test/{kind or 'good'}/{index:05d}.png"
        earlier = [files[k] for k in drawn[product]] if side == "test" else []
        files[key], subject, tries = _draw(root, key, draw, kind, seed, camera, earlier)
        if side == "train":
            drawn[product].append(key)
        views: tuple[str, ...] = ()
        if similar:
            views = (f"{DATASET}/{product}/similar/good/{index:05d}.png",)
            files[views[0]] = _draw_view(root, views[0], (seed, key, tries), draw, camera)
        pool = seeded_order(references[product], seed, key)[:REFERENCES_PER_IMAGE]
        mask = f"{DATASET}/{product}/{_mask_name(key)}" if kind else None
        sample = Sample(key, root, (), mask, views, tuple(pool), subject.boxes, side)
        sides[side].append((sample, subject))
    vocabulary = Vocabulary({words(p): tuple(words(kind) for kind in KINDS[p]) for p in products})
    written = []
    for side, pairs in sides.items():
        samples = [
            replace(s, questions=build_questions(subject, vocabulary, seed)) for s, subject in pairs
        ]
        used = {k for s in samples for k in (s.image, *s.similar_templates, *s.random_templates)}
        manifest = make_manifest(
            samples,
            {key: files[key] for key in used},
            root="../images",
            source=SOURCE,
            options={
                "side": side,
                "train": train,
                "test": test,
                "size": camera.size,
                "similar": similar,
                "bgr": camera.bgr,
                "gradient": GRADIENT,
                "hard_negative_share": HARD_NEGATIVE_SHARE,
            },
            seed=seed,
            # told apart within their side, as a board and its own template are
            groups={
                key: s.image
                for s in samples
                if s.similar_templates
                for key in (s.image, *s.similar_templates)
            },
        )
        written.append(write_benchmark(out / side, samples, manifest=manifest))
    return written[0], written[1]


def _plan(number: int, products: Sequence[str]) -> tuple[str, str | None]:
    """Product and defect of the n-th image of a side: products in turn, every second normal."""
    turn, index = divmod(number, len(products))
    product = products[index]
    round_, defective = divmod(turn + index, 2)
    kinds = KINDS[product]
    return product, kinds[round_ % len(kinds)] if defective else None


def _draw(
    root: Path,
    key: str,
    draw: Draw,
    kind: str | None,
    seed: int,
    camera: Camera,
    earlier: Sequence[Fingerprint] = (),
) -> tuple[Fingerprint, Subject, int]:
    """Draw one image (and its mask) into the root, and say what is known about it.

    An image that looks like an earlier one is drawn again, so that a test image is never a
    near-duplicate of a training image, and so is a scene that has no place for the defect; which
    attempt it was decides, with seed and key, the scene.

    Raises:
        InputError: no scene has a place for the defect.
    """
    drawn = None
    for attempt in range(_ATTEMPTS):
        rng = np.random.default_rng(digest(seed, key, attempt))
        scene = draw(rng, round(SUPERSAMPLING * camera.size))
        pixels, mask = _photograph(rng, scene, kind, camera)
        if kind is not None and not mask.any():
            continue
        drawn = attempt, scene, pixels, mask
        if not near_pairs([fingerprint_of(Image.fromarray(pixels), "")], earlier):
            break
    if drawn is None:
        raise InputError(
            f"expected a place for the defect {kind} in one of {_ATTEMPTS} scenes of {key}, found "
            "none; choose another seed or a larger size"
        )
    attempt, scene, pixels, mask = drawn
    boxes: tuple[Box, ...] = ()
    if kind is not None:
        boxes = _one_box(mask, words(kind))
        _save(root / key.rsplit("/", 3)[0] / _mask_name(key), (mask * 255).astype(np.uint8))
    _save(root / key, pixels)
    told = kind is not None and scene.faults is None
    facts = scene.facts + (defect_facts(key, kind or "", seed) if told else ())
    subject = Subject(
        key,
        words(key.split("/")[1]),
        kind is None,
        (camera.size, camera.size),
        (words(kind),) if kind else (),
        boxes,
        facts,
    )
    return fingerprint_of(Image.fromarray(pixels), file_sha256(root / key)), subject, attempt


def _draw_view(
    root: Path, key: str, scene_of: tuple[int, str, int], draw: Draw, camera: Camera
) -> Fingerprint:
    """The scene of another image without its defect; dust, light and noise are its own."""
    side = round(SUPERSAMPLING * camera.size)
    scene = draw(np.random.default_rng(digest(*scene_of)), side)
    rng = np.random.default_rng(digest(scene_of[0], key))
    pixels, _ = _photograph(rng, scene, None, camera)
    _save(root / key, pixels)
    return fingerprint_of(Image.fromarray(pixels), file_sha256(root / key))


def _photograph(
    rng: np.random.Generator, scene: Scene, kind: str | None, camera: Camera
) -> tuple[NDArray[np.uint8], Mask]:
    """The picture of a scene with a defect of this kind, and the defect's mask."""
    size = camera.size
    image, mask = scene.image, np.zeros((size, size), np.bool_)
    if kind is not None:
        image, drawn = add_defect(rng, scene, kind, image)
        mask = resize_mask(drawn, (size, size))
    if rng.random() < HARD_NEGATIVE_SHARE:
        image = dust(rng, image)
    if rng.random() < HARD_NEGATIVE_SHARE:
        image = uneven_light(rng, image)
    return photograph(rng, image, camera), mask


def _one_box(mask: Mask, label: str) -> tuple[Box, ...]:
    """Every image has one defect: its parts are one box."""
    return boxes_from_mask(mask, BoxOptions(min_area=1, merge_distance=max(mask.shape)), label)


def _save(path: Path, pixels: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, compress_level=1)


def _mask_name(key: str) -> str:
    kind, name = key.split("/")[-2:]
    return f"ground_truth/{kind}/{name.removesuffix('.png')}_mask.png"
