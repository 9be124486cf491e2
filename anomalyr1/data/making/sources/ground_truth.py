"""SageMaker Ground Truth's manifest, which Lookout for Vision reads too: a JSON object a line.

Licence and citation are the user's. The form: docs.aws.amazon.com/sagemaker, "augmented manifest".
ROOT is the manifest, or a folder with `*.manifest` in it (train, validation and test are sides);
the files that s3:// addresses name are looked for below its folder, without the bucket and then
without one leading folder after the other. What a line may hold beside `source-ref`::

    "x": 1, "x-metadata": {"type": "groundtruth/image-classification", "class-name": "anomaly"}
    "x": [0, 2], "x-metadata": {"type": ".../image-classification-multilabel", "class-map": {...}}
    "x": {"image_size": [{"width", "height"}], "annotations": [{"class_id", "left", "top", "width",
          "height"}]}, "x-metadata": {"type": "groundtruth/object-detection", "class-map": {...}}
    "x-ref": "s3://.../1.png", "x-ref-metadata": {"type": "groundtruth/semantic-segmentation",
          "internal-color-map": {"1": {"class-name": "scratch", "hex-color": "#2ca02c"}}}

A mask is read by the colours of its map, never by brightness (its ground may be white). Boxes are
those of the components of each class. A line without any label is left out and counted.

Refused: a class that no map names, a colour that no map names, a size that is not the image's, a
type of another task (video, text), two lines of one image, files that are missing or outside ROOT.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from anomalyr1.data.image_files import opened_image
from anomalyr1.data.images import not_an_image
from anomalyr1.data.making.shapes import from_mask
from anomalyr1.data.making.sources.annotated import (
    Annotated,
    Faults,
    Mark,
    declared_size,
    make_source,
    number,
)
from anomalyr1.data.making.sources.image_names import ImageNames, described, files_in, side_of
from anomalyr1.data.making.sources.item import Source
from anomalyr1.errors import InputError
from anomalyr1.schema import Box
from anomalyr1.text_files import read_text

TREE = "a Ground Truth manifest (a JSON object with source-ref a line)"
_META = "-metadata"
_GROUND = "background"


def read_ground_truth(
    root: Path, *, dataset: str | None = None, category: str = "product"
) -> Source:
    """Read manifests of Ground Truth.

    Args:
        root: the manifest, or a folder with manifests in it.
        dataset: first part of the keys; default: the folder's name.
        category: the product.

    Raises:
        InputError: there is no manifest, or some of it cannot be used.
    """
    folder = root.parent if root.is_file() else root
    files = [root] if root.is_file() else _manifests(root)
    names, faults, annotated, bare = ImageNames(folder), Faults(), [], []
    for file in files:
        for count, line in enumerate(read_text(file, TREE).splitlines(), start=1):
            if not line.strip():
                continue
            where = f"{file}:{count}"
            entry = faults.keep(_read, line, where, names, side_of(file, folder))
            if entry is not None and (entry.labels or entry.marks or entry.declared):
                annotated.append(entry)
            elif entry is not None:
                bare.append(entry.file)
    source = make_source(
        "manifest",
        root,
        TREE,
        annotated,
        faults,
        dataset=dataset,
        category=category,
        unlabelled=bare,
    )
    masked = (replace(item, boxes=None) if item.shapes else item for item in source.items)
    return replace(source, items=tuple(masked))


def looks_like(root: Path) -> str | None:
    """What there is of this form in ROOT, in words; None without it."""
    return described("Ground Truth manifests", _manifests(root))


def _manifests(root: Path) -> list[Path]:
    found = []
    for file in files_in(root, "*.manifest", "*.jsonl"):
        with file.open("rb") as stream:
            found += [file] if b'"source-ref"' in stream.read(1 << 16) else []
    return found


def _read(line: str, where: str, names: ImageNames, side: str | None) -> Annotated:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"expected {TREE}, found broken JSON at {where} ({error}); mend the line"
        ) from None
    if not isinstance(row, dict) or not isinstance(row.get("source-ref"), str):
        raise InputError(f"expected source-ref at {where}, found none; mend the line")
    folders = [names.root, names.root / "images"]
    image = names.find(row["source-ref"], folders, where)
    labels: list[str] = []
    marks: list[Mark] = []
    declared = None
    for key, meta in row.items():
        if not key.endswith(_META) or not isinstance(meta, dict):
            continue
        name, kind = key.removesuffix(_META), str(meta.get("type", ""))
        value, here = row.get(name), f"{name!r} at {where}"
        if kind.endswith("image-classification-multilabel"):
            ids = value if isinstance(value, list) else [None]
            labels += [_class(meta.get("class-map"), number_, here) for number_ in ids]
        elif kind.endswith("image-classification"):
            label = meta.get("class-name")
            if not isinstance(label, str) or not label.strip():
                raise InputError(f"expected class-name of {here}, found {label!r}; mend the line")
            labels.append(label)
        elif kind.endswith("object-detection"):
            declared, boxes = _boxes(value, meta, here)
            marks += boxes
        elif kind.endswith("semantic-segmentation"):
            mask = names.find(value if isinstance(value, str) else "", folders, here)
            declared, regions = _regions(mask, meta, here)
            marks += regions
        else:
            raise InputError(
                f"expected a classification, detection or segmentation of images, found the type "
                f"{kind!r} of {here}; remove the label"
            )
    return Annotated(image, where, tuple(marks), tuple(labels), declared, side)


def _class(names: Any, index: Any, where: str) -> str:
    name = names.get(str(index)) if isinstance(names, dict) else None
    if not isinstance(name, str) or not name.strip():
        raise InputError(
            f"expected a class that class-map names in {where}, found {index!r}; mend the line"
        )
    return name


def _boxes(
    value: Any, meta: dict[str, Any], where: str
) -> tuple[tuple[int, int] | None, list[Mark]]:
    entries = value.get("annotations") if isinstance(value, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InputError(f"expected a list of annotations in {where}, found none; mend the line")
    sizes = value.get("image_size")
    size = sizes[0] if isinstance(sizes, list) and sizes and isinstance(sizes[0], dict) else {}
    marks = []
    for entry in entries:
        left, top, width, height = (
            number(entry.get(name), name, where) for name in ("left", "top", "width", "height")
        )
        label = _class(meta.get("class-map"), entry.get("class_id"), where)
        marks.append(Mark(label, Box(left, top, left + width, top + height)))
    return declared_size(size.get("width"), size.get("height"), where), marks


def _regions(file: Path, meta: dict[str, Any], where: str) -> tuple[tuple[int, int], list[Mark]]:
    """The size of a mask, and the region of every class in it but the ground."""
    colours = meta.get("internal-color-map")
    if not isinstance(colours, dict) or not colours:
        raise InputError(f"expected internal-color-map of {where}, found none; mend the line")
    try:
        with opened_image(file) as image:
            pixels = np.asarray(image.convert("RGBA"))
    except InputError:
        raise
    except Exception as error:  # Pillow raises whatever a damaged file drives it to
        raise not_an_image(str(file), error) from None
    known = np.zeros(pixels.shape[:2], bool)
    marks = []
    for entry in colours.values():
        name, colour = (
            (entry.get("class-name"), entry.get("hex-color")) if isinstance(entry, dict) else (0, 0)
        )
        if not isinstance(name, str) or not re.fullmatch(r"#[0-9A-Fa-f]{6}", str(colour)):
            raise InputError(
                f"expected class-name and hex-color of {where}, found {entry!r}; mend the line"
            )
        red, green, blue = bytes.fromhex(str(colour)[1:])
        inside = (pixels[..., :3] == (red, green, blue)).all(axis=2)
        known |= inside
        if name.lower() != _GROUND and inside.any():
            marks.append(Mark(name, shape=from_mask(inside, name)))
    if not known.all():
        y, x = np.argwhere(~known)[0]
        found = "#" + "".join(f"{int(value):02x}" for value in pixels[y, x, :3])
        raise InputError(
            f"expected the colours of internal-color-map of {where}, found {found} in {file}; mend "
            "one of the two"
        )
    return (pixels.shape[1], pixels.shape[0]), marks
