"""Small trees in forms that real inspection data comes in, drawn by the tests."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from anomalyr1.data.making.builder import BuildOptions, build_benchmark
from anomalyr1.data.making.sources.catalogue import read_source
from anomalyr1.data.mmad import Benchmark, load_benchmark


def photo(
    path: Path,
    size: tuple[int, int] = (200, 120),
    blot: tuple[int, int, int, int] | None = None,
    seed: int = 0,
) -> np.ndarray:
    """A grey noisy picture with coarse structure of its own, and a dark blot if asked."""
    rng = np.random.default_rng([seed, *path.name.encode()])
    coarse = Image.fromarray(rng.integers(70, 190, (7, 9)).astype(np.uint8))
    pixels = np.asarray(coarse.resize(size, Image.Resampling.BICUBIC)).astype(int)
    pixels = np.clip(pixels + rng.integers(-8, 9, pixels.shape), 0, 255).astype(np.uint8)
    if blot:
        x1, y1, x2, y2 = blot
        pixels[y1:y2, x1:x2] = rng.integers(20, 40, (y2 - y1, x2 - x1))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels


def marked(path: Path, box=(20, 20, 60, 60), size=(200, 120)) -> Path:
    """A mask file, white on black."""
    pixels = np.zeros(size[::-1], np.uint8)
    x1, y1, x2, y2 = box
    pixels[y1:y2, x1:x2] = 255
    return put(path, pixels)


def put(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def dump(path: Path, value) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def image_entry(number: int, name: str, size=(200, 120)) -> dict:
    return {"id": number, "file_name": name, "width": size[0], "height": size[1]}


def box_entry(number: int, image: int, bbox, category: int = 1, **more) -> dict:
    return {"id": number, "image_id": image, "category_id": category, "bbox": bbox, **more}


def coco(images, annotations, categories=("scratch",)) -> dict:
    named = [{"id": n, "name": name} for n, name in enumerate(categories, start=1)]
    return {"images": images, "annotations": annotations, "categories": named}


def one_coco(root: Path, bbox, size=(200, 120), declared=None, **more) -> Path:
    """One image a.png with one box."""
    photo(root / "a.png", size)
    entry = image_entry(1, "a.png", declared or size)
    dump(root / "c.json", coco([entry], [box_entry(1, 1, bbox, **more)]))
    return root


def build(name: str, root: Path, out: Path, options: BuildOptions | None = None, **settings):
    """The benchmark of a tree and the lines its building printed."""
    file = build_benchmark(read_source(name, root, settings), out, options)
    benchmark = load_benchmark(file)
    return benchmark, (benchmark.manifest or {}).get("notes", [])


def sample(benchmark: Benchmark, part: str):
    (found,) = [s for s in benchmark.samples if part in s.image]
    return found


def question(one, kind: str):
    return next((q for q in one.questions if q.type == kind), None)


def shown(benchmark: Benchmark) -> set[str]:
    return {k for s in benchmark.samples for k in (*s.similar_templates, *s.random_templates)}
