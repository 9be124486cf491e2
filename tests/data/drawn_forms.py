"""A drawn tree of every form that `data build` reads, by the form's name.

The name's first word is the source; what follows it says which of its ways of marking is drawn.
"""

from __future__ import annotations

import functools
import inspect
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import annotated_trees
import source_trees

from anomalyr1.data.export import export_benchmark
from anomalyr1.data.making.builder import build_benchmark
from anomalyr1.data.making.row_benchmark import ROW_FORMS, build_from_rows
from anomalyr1.data.making.sources.catalogue import read_source
from anomalyr1.data.mmad import load_benchmark

A = annotated_trees


def rows(root: Path, form: str) -> Path:
    source = read_source("mvtec", source_trees.mvtec(root / "source", ("bottle",)))
    build_benchmark(source, root / "bench")
    shutil.rmtree(root / "source")
    export_benchmark(load_benchmark(root / "bench"), root, form=form, references=1)
    return root


TREES: dict[str, Callable[..., Path]] = {
    "mvtec": source_trees.mvtec,
    "loco": source_trees.loco,
    "goodsad": source_trees.goodsad,
    "visa": source_trees.visa_raw,
    "btad": A.btad,
    "real-iad": source_trees.real_iad,
    "real-iad variety": A.real_iad_variety,
    "deeppcb": source_trees.deeppcb,
    "magnetic-tile": source_trees.magnetic_tile,
    "elpv": source_trees.elpv,
    "coco": source_trees.coco,
    "folder": source_trees.own_folder,
    "voc": A.voc,
    "yolo": A.yolo,
    "yolo polygons": functools.partial(A.yolo, polygons=True),
    "labelme": A.labelme,
    "labelme mask": functools.partial(A.labelme, kind="mask"),
    "label-studio": A.label_studio,
    "label-studio polygon": functools.partial(A.label_studio, kind="polygon"),
    "label-studio brush": functools.partial(A.label_studio, kind="brush", choice=True),
    "cvat": A.cvat,
    "cvat polygon": functools.partial(A.cvat, kind="polygon"),
    "cvat mask": functools.partial(A.cvat, kind="mask"),
    "rle-csv": A.rle_csv,
    "manifest": A.manifest,
    "manifest mask": functools.partial(A.manifest, kind="mask"),
    "vlm-r1": functools.partial(rows, form="vlm-r1"),
    "ms-swift": functools.partial(rows, form="ms-swift"),
}


def draw_form(form: str, root: Path, rng: random.Random) -> Path:
    """A tree of a form that is large enough for two sides.

    Its pictures and marks are drawn by chance where the form's tree takes them; else the one tree
    there is is drawn several times over, with other pictures.
    """
    make = TREES[form]
    known = inspect.signature(make).parameters
    if "drawn" in known:
        return make(root, drawn=by_chance(rng))
    return make(root, times=rng.randint(3, 5)) if "times" in known else make(root)


def by_chance(rng: random.Random) -> tuple[annotated_trees.Drawn, ...]:
    """At least three pictures each without a mark, with a dent, a scratch, and with both."""
    width, height = annotated_trees.SIZE
    drawn = []
    for number in range(rng.randint(12, 18)):
        marks = []
        for label, left in (("dent", 0), ("scratch", width // 2)):  # one in either half
            if number % 4 in ((1, 3) if label == "dent" else (2, 3)):
                x1, y1 = left + rng.randint(0, 15), rng.randint(0, height - 5)
                x2, y2 = rng.randint(x1 + 5, left + width // 2), rng.randint(y1 + 5, height)
                marks.append((label, x1, y1, x2, y2))
        seed = rng.randrange(2**32)
        drawn.append(annotated_trees.Drawn(f"{number}.png", tuple(marks), seed))
    return tuple(drawn)


def build_form(name: str, tree: Path, out: Path) -> Path:
    """The benchmark that a source, or rows, make of a tree."""
    if name in ROW_FORMS:
        settings = {"images": "bench"} if name == "vlm-r1" else {}
        return build_from_rows(tree / "rows.jsonl", out, name, settings)
    return build_benchmark(read_source(name, tree), out)
