"""YOLO text files: a line a defect, boxes or polygons in shares of the image.

Licence and citation are the user's. The form is Ultralytics' (docs.ultralytics.com/datasets).
Expected trees, below ROOT::

    data.yaml                          path, train, val, test, names (a list or index -> name)
    train/images/*  train/labels/*.txt, or images/train/*  labels/train/*.txt, or both beside
    classes.txt or obj.names in place of data.yaml

A line is `class x y width height` (the box's centre and size) or `class x1 y1 x2 y2 x3 y3 ...` (a
polygon), all in shares of the image's width and height. The sides are those that data.yaml names,
else folders called train, valid or test.

Refused: a class without a name, numbers outside 0 to 1, a line of another length (6 numbers are a
prediction with its score), a label file without its image, an image or a folder outside ROOT.
An empty label file is a normal image. An image without a label file is left out and counted;
`unlabelled=normal` takes it as normal, as Ultralytics does. A line that is there twice counts once.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from anomalyr1.data.images import image_size
from anomalyr1.data.making.shapes import polygon
from anomalyr1.data.making.sources.annotated import Annotated, Faults, Mark, make_source, number
from anomalyr1.data.making.sources.image_names import files_below, side_of
from anomalyr1.data.making.sources.item import Source
from anomalyr1.errors import InputError
from anomalyr1.schema import Box
from anomalyr1.text_files import read_text

TREE = "images/ and labels/ with data.yaml or classes.txt (YOLO)"
_SIDES = (("train", "train"), ("val", "valid"), ("valid", "valid"), ("test", "test"))
_NOT_LABELS = frozenset({"classes.txt", "obj.names", "readme.txt", "requirements.txt"})
_SLACK = 1e-3  # shares that rounding may add to a coordinate


def read_yolo(
    root: Path,
    *,
    dataset: str | None = None,
    category: str = "product",
    names: str = "",
    unlabelled: str = "leave",
    encoding: str | None = None,
) -> Source:
    """Read a YOLO tree.

    Args:
        root: the folder, or its data.yaml.
        dataset: first part of the keys; default: the folder's name.
        category: the product.
        names: of the classes, split by commas, where the tree does not have them.
        unlabelled: `normal` takes images without a label file as normal.
        encoding: of text files without a byte order mark; default UTF-8.

    Raises:
        InputError: there is nothing to read, or some of it cannot be used.
    """
    listing = root if root.is_file() else _listing(root)
    folder = root.parent if root.is_file() else root
    content = _read_yaml(listing, encoding) if listing else {}
    classes = dict(enumerate(names.split(","))) if names else _classes(content, folder, encoding)
    sides = _sides(content, folder, listing)
    faults = Faults()
    annotated, bare, repeated, claimed = [], [], 0, set()
    for image in files_below(folder):
        label = _label_file(image, folder)
        if label is None:
            bare.append(image)
            continue
        claimed.add(label)
        read = faults.keep(_read, image, label, classes, encoding)
        if read is not None:
            marks, twice = read
            repeated += twice
            side = next((sides[f] for f in (image, *image.parents) if f in sides), None)
            split = side if sides else side_of(image, folder)
            annotated.append(Annotated(image, str(label), marks, split=split))
    for orphan in sorted(set(_label_files(folder)) - claimed):
        faults.lines.append(f"expected an image beside or opposite {orphan}, found none; bring it")
    return make_source(
        "yolo",
        folder,
        TREE,
        annotated,
        faults,
        dataset=dataset,
        category=category,
        unlabelled=bare,
        unlabelled_as=unlabelled,
        left_out={"lines that are there twice": repeated},
        options={"unlabelled": unlabelled},
    )


def looks_like(root: Path) -> str | None:
    """What there is of this form below ROOT, in words; None without it."""
    if root.is_file():
        named = root.suffix in (".yaml", ".yml") and b"names" in root.read_bytes()
        return "YOLO's data.yaml" if named else None
    images = list(files_below(root))
    labels = [image for image in images if _label_file(image, root) is not None]
    listing = _listing(root)
    if not labels or not (
        listing or _named(root) or any("labels" in f.parts for f in _label_files(root))
    ):
        return None
    sides = sorted({side_of(image, root) or "" for image in labels} - {""})
    missing = [] if listing or _named(root) else ["no data.yaml, so no names of the classes"]
    told = [f"{len(images)} images", f"{len(labels)} YOLO label files"]
    told += [f"{bare} images without one"] if (bare := len(images) - len(labels)) else []
    told += [f"sides {', '.join(sides)}"] if sides else []
    return ", ".join([*told, *missing])


def _listing(root: Path) -> Path | None:
    return next(
        (f for n in ("data.yaml", "data.yml", "dataset.yaml") if (f := root / n).is_file()), None
    ) or _only(sorted(root.glob("*.yaml")) + sorted(root.glob("*.yml")))


def _only(files: list[Path]) -> Path | None:
    return files[0] if len(files) == 1 else None


def _named(root: Path) -> Path | None:
    places = (root / "classes.txt", root / "labels" / "classes.txt", root / "obj.names")
    return next((file for file in places if file.is_file()), None)


def _read_yaml(file: Path, encoding: str | None) -> dict[str, Any]:
    try:
        content = yaml.safe_load(read_text(file, "YOLO's data.yaml", encoding))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(
            f"expected YOLO's data.yaml at {file}, found broken YAML ({reason}); mend the file"
        ) from None
    if not isinstance(content, dict):
        raise InputError(f"expected train, val and names in {file}, found no keys; mend the file")
    return content


def _classes(content: dict[str, Any], root: Path, encoding: str | None) -> dict[int, str]:
    names = content.get("names")
    if names is None and (file := _named(root)) is not None:
        names = [line.strip() for line in read_text(file, "class names", encoding).splitlines()]
    if isinstance(names, list):
        names = dict(enumerate(names))
    if names is None:
        raise InputError(
            f"expected names of the classes in data.yaml or classes.txt under {root}, found none; "
            "give --set names=scratch,dent"
        )
    found: dict[int, str] = {}
    for index, name in names.items() if isinstance(names, dict) else [("", None)]:
        if not str(index).isdecimal() or not isinstance(name, (str, int)):
            raise InputError(
                f"expected names as a list or index -> name under {root}, found a "
                f"{type(name).__name__} for the class {str(index)[:40]!r}; mend data.yaml"
            )
        if str(name).strip():
            found[int(index)] = str(name).strip()
    return found


def _sides(content: dict[str, Any], root: Path, listing: Path | None) -> dict[Path, str]:
    """Folder (or image) -> side, from the entries of data.yaml that are there.

    Where all of them name one folder in one way (train: images, val: images), there are no sides.
    """
    named: dict[Path, set[str]] = {}
    spelled: list[str] = []
    for key, side in _SIDES:
        entries = content.get(key)
        for entry in entries if isinstance(entries, list) else [entries]:
            if isinstance(entry, str) and entry:
                spelled.append(entry)
                for place in _places(entry, content, root, listing):
                    named.setdefault(place, set()).add(side)
    if len(spelled) > 1 and len(set(spelled)) == 1:
        return {}
    for place, sides in named.items():
        if len(sides) > 1:
            raise InputError(
                f"expected {place} on one side, found it under {' and '.join(sorted(sides))} in "
                f"{listing}; mend the file"
            )
    return {place: sides.pop() for place, sides in named.items()}


def _places(
    entry: str, content: dict[str, Any], root: Path, listing: Path | None
) -> Iterator[Path]:
    """Roboflow writes ../train/images for train/images beside data.yaml; both are tried."""
    base = root / str(content.get("path") or "")
    parts = [part for part in entry.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    for place in (base.joinpath(*parts), root.joinpath(*parts)):
        real = os.path.realpath(place)
        if not Path(real).is_relative_to(root.resolve()):
            continue
        if os.path.isdir(real):  # noqa: PTH112 (Path.is_dir raises on some names)
            yield root / Path(real).relative_to(root.resolve())
            return
        if place.suffix == ".txt" and os.path.isfile(real):  # noqa: PTH113
            for line in read_text(place, "a list of images").splitlines():
                steps = [
                    s for s in line.strip().replace("\\", "/").split("/") if s not in ("", ".")
                ]
                if steps and ".." not in steps:
                    yield root.joinpath(*steps)
            return


def _label_file(image: Path, root: Path) -> Path | None:
    """The text file of an image: `images` in its path replaced by `labels`, else beside it."""
    parts = list(image.relative_to(root).parts)
    places = []
    for index in range(len(parts) - 2, -1, -1):
        if parts[index].lower() == "images":
            swapped = parts.copy()
            for name in ("labels", "Labels"):
                swapped[index] = name
                places.append(root.joinpath(*swapped).with_suffix(".txt"))
    places.append(image.with_suffix(".txt"))
    return next((p for p in places if p.is_file() and p.name.lower() not in _NOT_LABELS), None)


def _label_files(root: Path) -> Iterator[Path]:
    """Text files in folders called labels: each must have its image."""
    for file in files_below(root, (".txt",)):
        inside = "labels" in (part.lower() for part in file.relative_to(root).parts[:-1])
        if inside and file.name.lower() not in _NOT_LABELS:
            yield file


def _read(
    image: Path, file: Path, classes: dict[int, str], encoding: str | None
) -> tuple[tuple[Mark, ...], int]:
    """The marks of a label file, and how many lines repeat another."""
    width, height = image_size(image)
    text = read_text(file, "YOLO labels", encoding)
    lines = [(n, " ".join(line.split())) for n, line in enumerate(text.splitlines(), 1)]
    lines = [(n, line) for n, line in lines if line]
    marks: dict[str, Mark] = {}
    for count, line in lines:
        if line not in marks:
            marks[line] = _mark(line, f"{file}:{count}", (width, height), classes)
    return tuple(marks.values()), len(lines) - len(marks)


def _mark(line: str, where: str, size: tuple[int, int], classes: dict[int, str]) -> Mark:
    first, *rest = line.split(" ")
    index = number(first, "the class", where)
    if index not in classes:
        raise InputError(
            f"expected a class out of {', '.join(map(str, classes))} at {where}, found {first}; "
            "mend the line or the names"
        )
    label = classes[int(index)]
    values = [number(value, "a coordinate", where) for value in rest]
    if len(values) != 4 and (len(values) < 6 or len(values) % 2):
        score = " (five are a box with a score: a prediction)" if len(values) == 5 else ""
        raise InputError(
            f"expected 4 numbers of a box or 6 and more of a polygon at {where}, found "
            f"{len(values)}{score}; mend the line"
        )
    if min(values) < -_SLACK or max(values) > 1 + _SLACK:
        raise InputError(
            f"expected shares of the image from 0 to 1 at {where}, found {max(values, key=abs)}; "
            "give pixels as shares of the image's size"
        )
    width, height = size
    if len(values) == 4:
        x, y, w, h = values
        return Mark(
            label,
            Box(
                (x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height
            ),
        )
    scaled = [value * (height if n % 2 else width) for n, value in enumerate(values)]
    return Mark(label, shape=polygon(scaled, label, where))
