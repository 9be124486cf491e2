"""LabelMe: one JSON an image, polygons, rectangles, circles and masks.

Licence and citation are the user's. The form is that of github.com/wkentaro/labelme. Expected tree,
below ROOT: `*.json` in any folder, each {"shapes": [...], "imagePath", "imageHeight",
"imageWidth"}, and the image where `imagePath` says, relative to the JSON (Windows backslashes are
read), else beside the JSON. The image embedded in `imageData` is not read.

Sides are folders called train, valid or test. Image flags that are true are labels of the image
(`good` makes it normal). Polygons of one label and one group are one defect.

Refused: a point or a line (it marks no area), a box without area or outside the image, a size that
is not the image's, two annotations of one image, an image that is missing or outside ROOT. A JSON
without shapes is a normal image; a JSON that is not LabelMe's is passed over and counted.
"""

from __future__ import annotations

import base64
import io
import math
from pathlib import Path
from typing import Any

import numpy as np

from anomalyr1.data.image_files import opened_image
from anomalyr1.data.images import Mask, image_size
from anomalyr1.data.making.shapes import Shape, from_mask, polygon
from anomalyr1.data.making.sources.annotated import (
    Annotated,
    Faults,
    Mark,
    declared_size,
    make_source,
    number,
)
from anomalyr1.data.making.sources.image_names import ImageNames, files_below, side_of
from anomalyr1.data.making.sources.item import Source
from anomalyr1.errors import InputError
from anomalyr1.schema import Box
from anomalyr1.storage import read_json

TREE = "LabelMe's JSON files (shapes, imagePath) and their images"
CIRCLE_CORNERS = 64


def read_labelme(
    root: Path,
    *,
    dataset: str | None = None,
    category: str = "product",
    unlabelled: str = "leave",
    encoding: str | None = None,
) -> Source:
    """Read a tree of LabelMe annotations.

    Args:
        root: the folder.
        dataset: first part of the keys; default: ROOT's name.
        category: the product.
        unlabelled: `normal` takes images without a JSON as normal; `leave` leaves them out.
        encoding: of JSON files that are not UTF-8.

    Raises:
        InputError: there is no annotation, or some cannot be used.
    """
    names, faults, annotated, other = ImageNames(root), Faults(), [], 0
    for file in files_below(root, (".json",)):
        content = faults.keep(read_json, file, "LabelMe's JSON", encoding)
        if content is None:
            continue
        if not _is_labelme(content):
            other += 1
            continue
        entry = faults.keep(_read, file, content, names, root)
        if entry is not None:
            annotated.append(entry)
    known = {entry.file for entry in annotated}
    return make_source(
        "labelme",
        root,
        TREE,
        annotated,
        faults,
        dataset=dataset,
        category=category,
        unlabelled=[] if faults.lines else [i for i in files_below(root) if i not in known],
        unlabelled_as=unlabelled,
        left_out={"JSON files that are not LabelMe's": other},
        options={"unlabelled": unlabelled},
    )


def looks_like(root: Path) -> str | None:
    """What there is of this form below ROOT, in words; None without it."""
    count = 0
    for file in files_below(root, (".json",)):
        with file.open("rb") as stream:
            content = stream.read(1 << 20).replace(b"\0", b"")
        count += b'"shapes"' in content and b'"version"' in content
    images = sum(1 for _ in files_below(root))
    bare = f", {images - count} images without one" if images > count else ""
    return f"{count} LabelMe annotations, {images} images{bare}" if count else None


def _is_labelme(content: Any) -> bool:
    return isinstance(content, dict) and "shapes" in content and "imagePath" in content


def _read(file: Path, content: dict[str, Any], names: ImageNames, root: Path) -> Annotated:
    where = str(file)
    name, shapes = content["imagePath"], content["shapes"]
    if not isinstance(name, str) or not isinstance(shapes, list):
        raise InputError(
            f"expected imagePath and a list of shapes in {where}, found others; mend the file"
        )
    image = names.find(name, [file.parent], where)
    flags = content.get("flags")
    flags = flags if isinstance(flags, dict) else {}
    declared = declared_size(content.get("imageWidth"), content.get("imageHeight"), where)
    size = image_size(image)
    marks = [
        (_group(entry), _mark(entry, f"shape {count} of {where}", size))
        for count, entry in enumerate(shapes, start=1)
    ]
    return Annotated(
        image,
        where,
        _united(marks),
        tuple(str(flag) for flag, on in flags.items() if on is True),
        declared,
        side_of(image, root) or side_of(file, root),
    )


def _group(entry: Any) -> Any:
    """What polygons of one defect share; None for a shape of its own."""
    if not isinstance(entry, dict) or entry.get("shape_type", "polygon") != "polygon":
        return None
    group = entry.get("group_id")
    return None if not isinstance(group, (int, str)) else (group, str(entry.get("label")))


def _united(marks: list[tuple[Any, Mark]]) -> tuple[Mark, ...]:
    united: dict[Any, Mark] = {}
    for count, (group, mark) in enumerate(marks):
        key = ("shape", count) if group is None else ("group", group)
        known = united.get(key)
        if known is None or known.shape is None or mark.shape is None:
            united[key] = mark
        else:
            rings = (*known.shape.rings, *mark.shape.rings)
            united[key] = Mark(mark.label, shape=Shape(mark.label, rings))
    return tuple(united.values())


def _mark(entry: Any, where: str, size: tuple[int, int]) -> Mark:
    if not isinstance(entry, dict) or not isinstance(entry.get("points"), list):
        raise InputError(f"expected a shape with points, found none at {where}; mend the file")
    label = entry.get("label")
    if not isinstance(label, str) or not label.strip():
        raise InputError(f"expected a label at {where}, found {label!r}; mend the file")
    points = [_point(point, where) for point in entry["points"]]
    kind = entry.get("shape_type") or "polygon"
    if kind == "polygon":
        return Mark(label, shape=polygon([v for point in points for v in point], label, where))
    if kind in ("rectangle", "circle", "mask") and len(points) != 2:
        raise InputError(
            f"expected two points of a {kind} at {where}, found {len(points)}; mend the file"
        )
    if kind == "rectangle":
        (ax, ay), (bx, by) = points
        return Mark(label, Box(min(ax, bx), min(ay, by), max(ax, bx), max(ay, by)))
    if kind == "circle":
        (x, y), edge = points
        radius = math.hypot(edge[0] - x, edge[1] - y)
        return Mark(label, shape=polygon(ring(x, y, radius, radius), label, where))
    if kind == "mask":
        return Mark(label, shape=from_mask(_mask(entry.get("mask"), points, size, where), label))
    raise InputError(
        f"expected a polygon, rectangle, circle or mask at {where}, found a {kind}: it marks no "
        "area; draw one"
    )


def ring(x: float, y: float, rx: float, ry: float) -> list[float]:
    """The corners of an ellipse as a polygon, flat; the four extremes are among them.

    >>> ring(5, 5, 2, 1)[:2]
    [7.0, 5.0]
    """
    turns = [2 * math.pi * step / CIRCLE_CORNERS for step in range(CIRCLE_CORNERS)]
    return [v for turn in turns for v in (x + rx * math.cos(turn), y + ry * math.sin(turn))]


def _point(point: Any, where: str) -> tuple[float, float]:
    if not isinstance(point, list) or len(point) != 2:
        raise InputError(f"expected [x, y] at {where}, found {str(point)[:40]}; mend the file")
    return number(point[0], "x", where), number(point[1], "y", where)


def _mask(text: Any, points: list[tuple[float, float]], size: tuple[int, int], where: str) -> Mask:
    """LabelMe's mask: a PNG of the box that the two points (both included) span."""
    try:
        content = base64.b64decode(text, validate=True)
        with opened_image(io.BytesIO(content)) as image:
            pixels = np.asarray(image.convert("L")) > 0
    except Exception:  # no base64, no PNG, or a damaged one
        raise InputError(
            f"expected a mask as a PNG in base64 at {where}, found none; mend the file"
        ) from None
    (x1, y1), (x2, y2) = ((round(x), round(y)) for x, y in points)
    width, height = size
    inside = 0 <= x1 <= x2 < width and 0 <= y1 <= y2 < height
    if not inside or pixels.shape != (y2 - y1 + 1, x2 - x1 + 1):
        raise InputError(
            f"expected a mask of the pixels {x1}, {y1} to {x2}, {y2} inside {width} x {height} at "
            f"{where}, found {pixels.shape[1]} x {pixels.shape[0]}; mend the file"
        )
    full = np.zeros((height, width), bool)
    full[y1 : y2 + 1, x1 : x2 + 1] = pixels
    return full
