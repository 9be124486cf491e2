"""Label Studio's JSON export: rectangles, polygons, ellipses, brushes and choices.

Licence and citation are the user's. The form is that of labelstud.io/guide/export ("JSON", not
"JSON-MIN"). ROOT is the file, or a folder with one such file; the images lie below its folder::

    [{"id", "data": {"image": "images/1.png"}, "annotations": [{"result": [
        {"type": "rectanglelabels", "original_width", "original_height", "image_rotation",
         "value": {"x", "y", "width", "height", "rotation", "rectanglelabels": ["dent"]}}]}]}]

Positions are percent of the image. The image is found by the path of `data` (a URL, a path of
/data/local-files/?d=... or an upload, whose prefix of eight letters is dropped), below ROOT.

A task whose annotation marks nothing is a normal image; one without an annotation is left out and
counted (`unlabelled=normal` takes it as normal). Choices are labels of the image.

Refused: a rotated region, an image that was turned in the tool, a key point or a line, several
annotations of one task, a region without a label, a size that is not the image's, an image that is
missing or outside ROOT. Texts and ratings are passed over and counted.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

from anomalyr1.data.making.shapes import from_mask, polygon
from anomalyr1.data.making.sources.annotated import (
    Annotated,
    Faults,
    Mark,
    declared_size,
    make_source,
    number,
    require_size,
)
from anomalyr1.data.making.sources.brush import decode_brush
from anomalyr1.data.making.sources.image_names import ImageNames, described, files_in, side_of
from anomalyr1.data.making.sources.item import Source, not_one_file
from anomalyr1.data.making.sources.labelme import ring
from anomalyr1.errors import InputError
from anomalyr1.schema import Box
from anomalyr1.storage import read_json

TREE = "Label Studio's JSON export (a list of tasks with data and annotations)"
_REGIONS = ("rectangle", "polygon", "ellipse", "brush")
_UPLOAD = re.compile(r"^[0-9a-f]{8}-(?=.)")
_PASSED = frozenset({"textarea", "rating", "number", "datetime", "pairwise", "ranker", "relation"})


def read_label_studio(
    root: Path,
    *,
    dataset: str | None = None,
    category: str = "product",
    unlabelled: str = "leave",
    encoding: str | None = None,
) -> Source:
    """Read a JSON export of Label Studio.

    Args:
        root: the file, or a folder with one export in it.
        dataset: first part of the keys; default: the folder's name.
        category: the product.
        unlabelled: `normal` takes tasks without an annotation as normal; `leave` leaves them out.
        encoding: of a file that is not UTF-8.

    Raises:
        InputError: there is no export, or some of it cannot be used.
    """
    file = root if root.is_file() else _find(root)
    tasks = read_json(file, TREE, encoding)
    if not isinstance(tasks, list) or not tasks:
        raise InputError(f"expected {TREE} in {file}, found {type(tasks).__name__}; export as JSON")
    names, faults, passed = ImageNames(file.parent), Faults(), Counter[str]()
    annotated, bare = [], []
    for count, task in enumerate(tasks, start=1):
        where = f"task {count} of {file}"
        entry = faults.keep(_read, task, where, names, passed)
        if isinstance(entry, Annotated):
            annotated.append(entry)
        elif entry is not None:
            bare.append(entry)
    return make_source(
        "label-studio",
        file,
        TREE,
        annotated,
        faults,
        dataset=dataset,
        category=category,
        unlabelled=bare,
        unlabelled_as=unlabelled,
        left_out=dict(passed),
        options={"unlabelled": unlabelled},
    )


def looks_like(root: Path) -> str | None:
    """What there is of this form below ROOT, in words; None without it."""
    return described("Label Studio export", _exports(root))


def _exports(root: Path) -> list[Path]:
    found = []
    for file in files_in(root, "*.json"):
        with file.open("rb") as stream:
            head = stream.read(1 << 16).replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xff\xfe \r\n\t")
        if head.startswith(b"[") and b'"data"' in head and b'"annotations"' in head:
            found.append(file)
    return found


def _find(root: Path) -> Path:
    files = _exports(root) or files_in(root, "*.json")
    if len(files) != 1:
        raise not_one_file(TREE, root, ", ".join(file.name for file in files))
    return files[0]


def _read(task: Any, where: str, names: ImageNames, passed: Counter[str]) -> Annotated | Path:
    """The annotated image; its file alone where nobody annotated it."""
    if not isinstance(task, dict) or not isinstance(task.get("data"), dict):
        raise InputError(
            f"expected a task with data at {where}, found none; export as JSON, not JSON-MIN"
        )
    image = _image(task["data"], where, names)
    annotations = task.get("annotations")
    if not isinstance(annotations, list):
        raise InputError(
            f"expected annotations under the task at {where}, found none; export as JSON"
        )
    kept = [a for a in annotations if isinstance(a, dict) and not a.get("was_cancelled")]
    if not kept:
        return image
    if len(kept) > 1:
        raise InputError(
            f"expected one annotation at {where}, found {len(kept)} (several annotators); keep one"
        )
    results = kept[0].get("result")
    if not isinstance(results, list) or not all(isinstance(r, dict) for r in results):
        raise InputError(f"expected a list under result at {where}, found none; mend the file")
    # <Labels> beside <Rectangle> write the region and its label as two entries of one id.
    labels_by_id = {r.get("id"): r for r in results if r.get("type") == "labels"}
    marks, labels, declared = [], [], None
    for count, result in enumerate(results, start=1):
        here = f"region {count} of {where}"
        kind = str(result.get("type"))
        if kind == "choices":
            labels += _strings(_value(result, here).get("choices"), here)
        elif kind in _PASSED:
            passed[f"{kind} results"] += 1
        elif kind != "labels":
            size = _declared(result, here)
            if kind.startswith("brush"):
                require_size(image, size, here)
            if declared not in (None, size):
                before = " x ".join(map(str, declared or ()))
                raise InputError(
                    f"expected the {before} pixels of the regions before at {here}, found "
                    f"{size[0]} x {size[1]}; export again"
                )
            declared = size
            marks.append(_mark(result, kind, labels_by_id.get(result.get("id")), size, here))
    return Annotated(
        image, where, tuple(marks), tuple(labels), declared, side_of(image, names.root)
    )


def _image(data: dict[str, Any], where: str, names: ImageNames) -> Path:
    texts = {key: value for key, value in data.items() if isinstance(value, str)}
    suffixed = [v for v in texts.values() if re.search(r"\.(png|jpe?g|bmp|tiff?|webp)$", v, re.I)]
    name = texts.get("image") or (suffixed[0] if len(set(suffixed)) == 1 else None)
    if name is None:
        raise InputError(
            f"expected one image under data at {where}, found {list(data)[:5]}; name it `image`"
        )
    folders = [names.root, names.root / "images"]
    try:
        return names.find(name, folders, where)
    except InputError:
        folder, slash, last = name.rpartition("/")
        short = _UPLOAD.sub("", last)
        if short == last:
            raise
        return names.find(f"{folder}{slash}{short}", folders, where)


def _declared(result: dict[str, Any], where: str) -> tuple[int, int]:
    size = declared_size(result.get("original_width"), result.get("original_height"), where)
    if size is None or min(size) < 1:
        raise InputError(
            f"expected original_width and original_height at {where}, found none; export again"
        )
    turned = result.get("image_rotation")
    if turned:
        raise InputError(
            f"expected an upright image at {where}, found one turned by {turned} degrees; turn the "
            "file and annotate it upright"
        )
    return size


def _mark(
    result: dict[str, Any],
    kind: str,
    labelled: dict[str, Any] | None,
    size: tuple[int, int],
    where: str,
) -> Mark:
    shape = kind.removesuffix("labels")
    if shape not in _REGIONS:
        raise InputError(
            f"expected a rectangle, polygon, ellipse or brush at {where}, found {kind!r}: it marks "
            "no area; draw one"
        )
    value = _value(result, where)
    named = _value(labelled, where).get("labels") if labelled else value.get(kind)
    labels = _strings(named, where) if named else []
    if len(labels) != 1:
        found = labels or "none"
        raise InputError(f"expected one label at {where}, found {found}; mend the region")
    label = labels[0]
    turned = value.get("rotation")
    if turned:
        raise InputError(
            f"expected an upright region at {where}, found one rotated by {turned} degrees; draw a "
            "polygon or an upright rectangle"
        )
    width, height = size
    if shape == "brush":
        code = value.get("rle")
        if value.get("format") != "rle" or not isinstance(code, list):
            raise InputError(f"expected a brush with rle at {where}, found none; export as JSON")
        return Mark(label, shape=from_mask(decode_brush(code, size, where), label))
    if shape == "polygon":
        points = value.get("points")
        if not isinstance(points, list) or not all(
            isinstance(point, list) and len(point) == 2 for point in points
        ):
            raise InputError(f"expected points [x, y] at {where}, found none; mend the region")
        flat = [
            number(v, "a point", where) * side / 100
            for point in points
            for v, side in zip(point, size, strict=True)
        ]
        return Mark(label, shape=polygon(flat, label, where))
    x, y = (number(value.get(name), name, where) for name in ("x", "y"))
    x, y = x * width / 100, y * height / 100
    across = ("radiusX", "radiusY") if shape == "ellipse" else ("width", "height")
    w, h = (number(value.get(name), name, where) for name in across)
    w, h = w * width / 100, h * height / 100
    if shape == "ellipse":
        return Mark(label, shape=polygon(ring(x, y, w, h), label, where))
    return Mark(label, Box(x, y, x + w, y + h))


def _value(result: dict[str, Any], where: str) -> dict[str, Any]:
    value = result.get("value")
    if not isinstance(value, dict):
        raise InputError(f"expected a value at {where}, found none; mend the region")
    return value


def _strings(value: Any, where: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise InputError(
            f"expected a list of labels at {where}, found {str(value)[:40]}; mend the region"
        )
    return value
