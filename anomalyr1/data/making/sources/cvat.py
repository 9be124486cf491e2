"""CVAT's XML 1.1 for images: boxes, polygons, ellipses, masks and tags.

Licence and citation are the user's. The form: docs.cvat.ai/docs/manual/advanced/xml_format. ROOT is
the XML, or a folder with annotations.xml (or one XML) in it; images are looked for beside it and in
images/, also in the folder of their subset::

    <annotations><version>1.1</version>
      <image id name width height subset?>
        <box label xtl ytl xbr ybr/> <polygon label points="x,y;x,y;..."/>
        <ellipse label cx cy rx ry/> <mask label rle left top width height/> <tag label/>

Positions count from 0, ends are exclusive. A mask's run lengths go row after row through its own
box, off before on. A tag is a label of the image. The side is the `subset`, else a folder called
train, valid or test. An image without any element is normal, so the task must be annotated to its
end. CVAT's COCO export is read by `coco`.

Refused: a video (<track>; export as "CVAT for images"), a rotated shape, points, a polyline, a
skeleton or a cuboid, two images of one name, a size that is not the image's, a box outside, an
image that is missing or outside ROOT, a document type.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from anomalyr1.data.images import Mask
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
from anomalyr1.data.making.sources.image_names import (
    ImageNames,
    described,
    files_below,
    files_in,
    side_of,
    side_word,
)
from anomalyr1.data.making.sources.item import Source, not_one_file
from anomalyr1.data.making.sources.labelme import ring
from anomalyr1.data.making.sources.xml_files import Element, read_xml
from anomalyr1.errors import InputError
from anomalyr1.schema import Box

TREE = "CVAT's annotations.xml (version 1.1, images)"
_NO_AREA = frozenset({"points", "polyline", "skeleton", "cuboid"})


def read_cvat(
    root: Path,
    *,
    dataset: str | None = None,
    category: str = "product",
    encoding: str | None = None,
) -> Source:
    """Read CVAT's XML for images.

    Args:
        root: the XML, or a folder that holds it.
        dataset: first part of the keys; default: the folder's name.
        category: the product.
        encoding: of an XML without a declaration.

    Raises:
        InputError: there is no such XML, or some of it cannot be used.
    """
    file = root if root.is_file() else _find(root)
    content = read_xml(file, TREE, encoding)
    if content.tag != "annotations" or content.find("image") is None:
        found = "a video" if content.find("track") is not None else "no <image>"
        raise InputError(f"expected {TREE} in {file}, found {found}; export as CVAT for images")
    names, faults, annotated = ImageNames(file.parent), Faults(), []
    for element in content.iter("image"):
        where = f"image {element.get('id') or element.get('name')} of {file}"
        entry = faults.keep(_read, element, where, names)
        if entry is not None:
            annotated.append(entry)
    known = {entry.file for entry in annotated}
    others = [] if faults.lines else [f for f in files_below(file.parent) if f not in known]
    return make_source(
        "cvat",
        file,
        TREE,
        annotated,
        faults,
        dataset=dataset,
        category=category,
        unlabelled=others,
    )


def looks_like(root: Path) -> str | None:
    """What there is of this form below ROOT, in words; None without it."""
    return described("CVAT annotations", _exports(root))


def _exports(root: Path) -> list[Path]:
    found = []
    for file in files_in(root, "*.xml"):
        with file.open("rb") as stream:
            head = stream.read(4096).replace(b"\0", b"")
        found += [file] if b"<annotations>" in head else []
    return found


def _find(root: Path) -> Path:
    files = _exports(root) or files_in(root, "*.xml")
    if len(files) != 1:
        raise not_one_file(TREE, root, ", ".join(file.name for file in files))
    return files[0]


def _read(element: Element, where: str, names: ImageNames) -> Annotated:
    name, subset = element.get("name"), element.get("subset")
    if not name:
        raise InputError(f"expected the name of {where}, found none; mend the file")
    root = names.root
    folders = [root / subset, root / "images" / subset] if subset else []
    image = names.find(name, [*folders, root, root / "images"], where)
    declared = declared_size(element.get("width"), element.get("height"), where)
    if element.find("mask") is not None:
        require_size(image, declared, where)
    marks, labels = [], []
    for count, shape in enumerate(element, start=1):
        here = f"{shape.tag} {count} of {where}"
        label = (shape.get("label") or "").strip()
        if not label:
            raise InputError(f"expected a label at {here}, found none; mend the file")
        if shape.tag == "tag":
            labels.append(label)
        else:
            marks.append(_mark(shape, label, declared, here))
    side = side_word(subset) if subset else side_of(image, root)
    return Annotated(image, where, tuple(marks), tuple(labels), declared, side)


def _mark(shape: Element, label: str, declared: tuple[int, int] | None, where: str) -> Mark:
    if shape.tag in _NO_AREA:
        raise InputError(
            f"expected a box, polygon, ellipse or mask at {where}, found a {shape.tag}, which "
            "marks no area; draw one"
        )
    turned = number(shape.get("rotation", "0"), "rotation", where)
    if turned:
        raise InputError(
            f"expected an upright shape at {where}, found one rotated by {turned:g} degrees; draw "
            "a polygon or an upright box"
        )
    if shape.tag == "box":
        x1, y1, x2, y2 = _numbers(shape, ("xtl", "ytl", "xbr", "ybr"), where)
        return Mark(label, Box(x1, y1, x2, y2))
    if shape.tag == "ellipse":
        return Mark(
            label,
            shape=polygon(ring(*_numbers(shape, ("cx", "cy", "rx", "ry"), where)), label, where),
        )
    if shape.tag == "polygon":
        pairs = (pair.split(",") for pair in (shape.get("points") or "").split(";"))
        values = [number(value, "a point", where) for pair in pairs for value in pair]
        return Mark(label, shape=polygon(values, label, where))
    if shape.tag == "mask":
        return Mark(label, shape=from_mask(_mask(shape, declared, where), label))
    raise InputError(
        f"expected a box, polygon, ellipse, mask or tag at {where}, found {shape.tag!r}; draw one"
    )


def _numbers(shape: Element, names: tuple[str, ...], where: str) -> list[float]:
    return [number(shape.get(name), name, where) for name in names]


def _mask(shape: Element, declared: tuple[int, int] | None, where: str) -> Mask:
    left, top, width, height = (
        int(value) for value in _numbers(shape, ("left", "top", "width", "height"), where)
    )
    runs = [int(number(run, "a run", where)) for run in (shape.get("rle") or "").split(",")]
    if declared is None:
        raise InputError(
            f"expected width and height of the image at {where}, found none; export again"
        )
    inside = left >= 0 and top >= 0 and left + width <= declared[0] and top + height <= declared[1]
    if min(runs) < 0 or min(width, height) < 1 or sum(runs) != width * height or not inside:
        raise InputError(
            f"expected run lengths of {width} x {height} pixels at {left}, {top} inside the image "
            f"at {where}, found lengths that sum to {sum(runs)}; export again"
        )
    full = np.zeros((declared[1], declared[0]), bool)
    on = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    full[top : top + height, left : left + width] = on.reshape(height, width)
    return full
