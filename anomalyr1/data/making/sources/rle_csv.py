"""Run lengths in a CSV, as Severstal's steel defects (Kaggle) come.

Licence and citation are the user's; Severstal's are Kaggle's competition rules (research use,
kaggle.com/c/severstal-steel-defect-detection). ROOT is the CSV, or a folder with one CSV in it;
images are looked for in <csv's stem>_images/, images/ and beside it::

    ImageId,ClassId,EncodedPixels          a line a class of an image
    ImageId_ClassId,EncodedPixels          the older form: 0002cc93b.jpg_1; empty without defect

`EncodedPixels` are pairs of start and length, column after column, the first pixel being 1. Columns
are found by their names in any case of letters. Class 3 is the label "class 3" (`rename=class
3:scratch`); a CSV without a class column names no type. Boxes are those of the components of each
class.

An image that no line names is normal, as in Severstal's; `unlabelled=leave` leaves it out. Refused:
half a pair, runs that fall back, overlap or leave the image, a missing image, unknown columns.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from anomalyr1.data.images import image_size
from anomalyr1.data.making.shapes import Shape, from_runs
from anomalyr1.data.making.sources.annotated import Annotated, Faults, Mark, make_source
from anomalyr1.data.making.sources.image_names import ImageNames, files_below, files_in
from anomalyr1.data.making.sources.item import Source, not_one_file
from anomalyr1.errors import InputError
from anomalyr1.text_files import read_text

TREE = "a CSV with ImageId, ClassId and EncodedPixels (run lengths)"
_IMAGE = ("imageid", "image_id", "image", "filename", "id", "img_id")
_CLASS = ("classid", "class_id", "class", "label", "category")
_RUNS = ("encodedpixels", "encoded_pixels", "rle", "segmentation", "annotation")
_BOTH = "imageid_classid"


def read_rle_csv(
    root: Path,
    *,
    dataset: str | None = None,
    category: str = "product",
    unlabelled: str = "normal",
    encoding: str | None = None,
) -> Source:
    """Read run lengths out of a CSV.

    Args:
        root: the CSV, or a folder with one in it.
        dataset: first part of the keys; default: the folder's name.
        category: the product.
        unlabelled: what an image is that the CSV does not name: `normal` or `leave`.
        encoding: of a CSV that is not UTF-8.

    Raises:
        InputError: there is no such CSV, or some of it cannot be used.
    """
    file = root if root.is_file() else _find(root)
    folders = [file.parent / f"{file.stem}_images", file.parent / "images", file.parent]
    images = next((list(files_below(f)) for f in folders if f.is_dir() and any(files_below(f))), [])
    finder, faults = ImageNames(file.parent), Faults()
    shapes: dict[Path, list[Shape]] = defaultdict(list)
    named: dict[Path, None] = {}
    sizes: dict[Path, tuple[int, int]] = {}
    for line, name, kind, runs in _rows(file, encoding):
        where = f"{file}:{line}"
        image = faults.keep(finder.find, name, folders, where)
        if image is None:
            continue
        named[image] = None
        size = sizes.get(image) or faults.keep(image_size, image)
        if runs and size is not None:
            sizes[image] = size
            label = (f"class {kind}" if kind.isdigit() else kind) or None
            shape = faults.keep(_shape, runs, size, label, where)
            shapes[image] += [] if shape is None else [shape]
    entries = [
        Annotated(image, f"{image.name} in {file}", tuple(Mark(s.label, shape=s) for s in of_image))
        for image in named
        for of_image in [shapes[image]]
    ]
    source = make_source(
        "rle-csv",
        file,
        TREE,
        entries,
        faults,
        dataset=dataset,
        category=category,
        unlabelled=[image for image in images if image not in named],
        unlabelled_as=unlabelled,
        options={"unlabelled": unlabelled},
    )
    # A line is a class, not a defect: its boxes are those of the components of the mask.
    items = (replace(item, boxes=None) if item.shapes else item for item in source.items)
    return replace(source, items=tuple(items))


def looks_like(root: Path) -> str | None:
    """What there is of this form in ROOT, in words; None without it."""
    files = _tables(root)
    if not files:
        return None
    named = ", ".join(file.name for file in files)
    return f"run lengths in {named}, {sum(1 for _ in files_below(files[0].parent))} images"


def _tables(root: Path) -> list[Path]:
    found = []
    for file in files_in(root, "*.csv"):
        with file.open("rb") as stream:
            head = stream.readline(1000).replace(b"\0", b"").decode("utf-8", "replace").lower()
        columns = {name.strip(' "\ufeff\r\n') for name in head.split(",")}
        if columns & set(_RUNS) and columns & {*_IMAGE, _BOTH}:
            found.append(file)
    return found


def _find(root: Path) -> Path:
    files = _tables(root) or files_in(root, "*.csv")
    if len(files) != 1:
        raise not_one_file(TREE, root, ", ".join(file.name for file in files))
    return files[0]


def _rows(file: Path, encoding: str | None) -> list[tuple[int, str, str, str]]:
    """(line, image, class, runs) of every row."""
    text = read_text(file, TREE, encoding)
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise InputError(
            f"expected {TREE} in {file}, found a broken CSV ({error}); mend the file"
        ) from None
    both = header.index(_BOTH) if _BOTH in header else None
    image = next((header.index(name) for name in _IMAGE if name in header), both)
    kind = next((header.index(name) for name in _CLASS if name in header), None)
    runs = next((header.index(name) for name in _RUNS if name in header), None)
    if image is None or runs is None:
        raise InputError(
            f"expected {TREE} in {file}, found the columns {', '.join(header)[:80]}; name them so"
        )
    found = []
    for line, row in rows:
        if len(row) != len(header):
            raise InputError(
                f"expected {len(header)} columns at {file}:{line}, found {len(row)}; mend the line"
            )
        name, label = row[image].strip(), "" if kind is None else row[kind].strip()
        if image == both:
            name, _, label = name.rpartition("_")
        found.append((line, name, label, row[runs].strip()))
    return found


def _shape(text: str, size: tuple[int, int], label: str | None, where: str) -> Shape:
    try:
        runs = [int(value) for value in text.split()]
    except ValueError:
        raise InputError(
            f"expected pairs of start and length at {where}, found {text[:40]!r}; mend the line"
        ) from None
    return from_runs(runs, size, label, where)
