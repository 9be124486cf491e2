"""Pascal VOC: one XML an image, boxes with names.

Licence and citation are the user's. The form: Everingham et al., "The Pascal Visual Object Classes
Challenge", IJCV 2010. Expected trees, below ROOT::

    Annotations/*.xml  JPEGImages/*  ImageSets/Main/{train,val,test}.txt (optional)
    annotations/*.xml  images/*                     train/*.xml beside train/*, and so on
    Annotations/<class>/*.xml  images/<class>/*     (HRIPCB)

The image is the one that `filename` names (in any case of letters; its suffix may be wrong or
missing), beside the XML, in images/ or JPEGImages/, or below the folder of the annotations.
Sides are those of ImageSets/Main, else folders called train, valid or test.

Corners. The standard counts pixels from 1 and includes the last (`origin=1`: 1, 1, W, H is the
whole image). labelImg, CVAT and Label Studio write positions from 0 whose end is exclusive under
the same names (`origin=0`). `origin=auto` takes 1 for files that name the VOC database as their
source, and 0 for all others; the manifest says which it was.

Refused: XML with a document type, no <annotation>, a box that is no four numbers or has no area or
leaves the image, a size that is not the image's, two annotations of one image, an image that is
missing or outside ROOT. An XML without objects is a normal image. Objects called difficult are
kept; parts of objects, and objects deleted in LabelMe's web tool, are passed over. Polygons
(<polygon>, that tool's too) become masks.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from anomalyr1.data.making.shapes import polygon
from anomalyr1.data.making.sources.annotated import (
    Annotated,
    Faults,
    Mark,
    declared_size,
    make_source,
    number,
)
from anomalyr1.data.making.sources.image_names import (
    ImageNames,
    files_below,
    several_images,
    side_of,
)
from anomalyr1.data.making.sources.item import Source, one_spelling, read_lines
from anomalyr1.data.making.sources.xml_files import Element, child_text, read_xml
from anomalyr1.errors import InputError, unknown
from anomalyr1.schema import Box

TREE = "XML files with <annotation> and their images (Pascal VOC)"
_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_IMAGES = ("JPEGImages", "images", "image")
_VOC = re.compile(r"(?:the )?(?:pascal )?voc ?\d{4}", re.I)  # "The VOC2007 Database"
_NUMBERED = re.compile(r"[xy]\d{0,6}")
_ORIGINS = ("auto", "0", "1")


def read_voc(
    root: Path,
    *,
    dataset: str | None = None,
    category: str = "product",
    origin: str = "auto",
    unlabelled: str = "leave",
    encoding: str | None = None,
) -> Source:
    """Read a tree of VOC annotations.

    Args:
        root: the folder.
        dataset: first part of the keys; default: ROOT's name.
        category: the product.
        origin: what the corners count from: 1 (last pixel included), 0 (end exclusive) or auto.
        unlabelled: `normal` takes images without an XML as normal; `leave` leaves them out.
        encoding: of XML files without a declaration.

    Raises:
        InputError: there is no annotation, or some cannot be used.
    """
    if origin not in _ORIGINS:
        raise unknown("an origin", origin, _ORIGINS)
    files = list(files_below(root, (".xml",)))
    images = list(files_below(root))
    by_stem: dict[str, list[Path]] = defaultdict(list)
    for image in images:
        by_stem[one_spelling(image.stem)].append(image)
    names, faults, sides = ImageNames(root), Faults(), _image_sets(root)
    annotated, origins, other = [], set(), 0
    for file in files:
        element = faults.keep(read_xml, file, "a VOC annotation", encoding)
        if element is None:
            continue
        if element.tag != "annotation":
            other += 1
            continue
        used = origin if origin != "auto" else _origin(element)
        origins.add(used)
        entry = faults.keep(_read, file, element, names, by_stem, root, sides, int(used))
        if entry is not None:
            annotated.append(entry)
    known = {entry.file for entry in annotated}
    return make_source(
        "voc",
        root,
        TREE,
        annotated,
        faults,
        dataset=dataset,
        category=category,
        unlabelled=[] if faults.lines else [image for image in images if image not in known],
        unlabelled_as=unlabelled,
        left_out={"XML files that are no annotation": other},
        options={"origin": sorted(origins), "unlabelled": unlabelled},
    )


def looks_like(root: Path) -> str | None:
    """What there is of this form below ROOT, in words; None without it."""
    count = 0
    for file in files_below(root, (".xml",)):
        with file.open("rb") as stream:
            head = stream.read(2000).replace(b"\0", b"")
        count += bool(re.search(rb"<annotation[\s>]", head))
    images = sum(1 for _ in files_below(root))
    bare = f", {images - count} images without one" if images > count else ""
    return f"{count} VOC annotations, {images} images{bare}" if count else None


def _read(
    file: Path,
    element: Element,
    names: ImageNames,
    by_stem: Mapping[str, Sequence[Path]],
    root: Path,
    sides: dict[str, str],
    origin: int,
) -> Annotated:
    where = str(file)
    name = child_text(element, "filename") or file.stem
    image = _image(file, name, names, by_stem, where)
    size = element.find("size")
    declared = None
    if size is not None:
        declared = declared_size(child_text(size, "width"), child_text(size, "height"), where)
    marks = tuple(
        _mark(entry, f"object {count} of {where}", origin)
        for count, entry in enumerate(element.findall("object"), start=1)
        if child_text(entry, "deleted") != "1"
    )
    split = sides.get(file.stem) if sides else side_of(image, root)
    return Annotated(image, where, marks, declared=declared, split=split)


def _image(
    file: Path,
    name: str,
    names: ImageNames,
    by_stem: Mapping[str, Sequence[Path]],
    where: str,
) -> Path:
    """The named image near the XML, else the only one of that name below the XML's side."""
    plain = name.replace("\\", "/")
    short = plain.rsplit("/", 1)[-1]
    above = file.parent.parent if file.parent != names.root else file.parent
    near = [file.parent, *(above / folder for folder in _IMAGES)]
    near += [file.parent / folder for folder in _IMAGES]
    near += _opposite(file.parent, names.root)
    try:
        return names.find(plain, near, where, any_suffix=True)
    except InputError:
        if "/" in plain:  # it names a folder; an image of another folder is another image
            raise
        alike = [
            image
            for stem in dict.fromkeys((short.rpartition(".")[0], short))
            for image in by_stem.get(one_spelling(stem), ())
            if above in image.parents
        ]
        found = [i for i in alike if one_spelling(i.name) == one_spelling(short)] or alike
        if len(found) > 1:
            raise several_images(name, where, list(map(str, found))) from None
        if not found:
            raise
        return found[0]


def _opposite(folder: Path, root: Path) -> list[Path]:
    """Where the images of a folder of annotations may be: images/a for those of Annotations/a."""
    if not folder.is_relative_to(root):
        return []
    parts = folder.relative_to(root).parts
    return [
        root.joinpath(*parts[:depth], name, *parts[depth + 1 :])
        for depth in reversed(range(len(parts) - 1))
        for name in _IMAGES
    ]


def _mark(element: Element, where: str, origin: int) -> Mark:
    label = child_text(element, "name")
    ring = element.find("polygon")
    if ring is not None and (len(ring) >= 6 or ring.find("pt") is not None):
        values = [value - origin for value in _ring(ring, where)]
        return Mark(label, shape=polygon(values, label, where))
    box = element.find("bndbox")
    if box is None:
        raise InputError(f"expected <bndbox> in {where}, found none; mend the annotation")
    x1, y1, x2, y2 = (number(child_text(box, name), name, where) for name in _CORNERS)
    return Mark(label, Box(x1 - origin, y1 - origin, x2, y2))


def _ring(element: Element, where: str) -> list[float]:
    """Flat x, y, x, y, ... out of x1, y1, x2, y2, ..., or of LabelMe's <pt><x/><y/></pt>."""
    points = element.findall("pt")
    if points:
        return [number(child_text(point, name), name, where) for point in points for name in "xy"]
    for value in element:
        if not _NUMBERED.fullmatch(value.tag):
            raise InputError(
                f"expected x1, y1, x2, y2, ... or <pt> in the polygon of {where}, found "
                f"<{value.tag}>; mend the annotation"
            )
    values = sorted(element, key=lambda value: (int(value.tag[1:] or 0), value.tag[:1]))
    return [number(value.text, value.tag, where) for value in values]


def _origin(element: Element) -> str:
    source = element.find("source")
    database = "" if source is None else child_text(source, "database") or ""
    return "1" if _VOC.match(database) else "0"


def _image_sets(root: Path) -> dict[str, str]:
    """Stem -> side as ImageSets/Main lists them; `trainval` fills what train and val leave."""
    folder = root / "ImageSets" / "Main"
    sides: dict[str, str] = {}
    for name, side in (("train", "train"), ("val", "valid"), ("test", "test"), ("trainval", "")):
        file = folder / f"{name}.txt"
        if not file.is_file():
            continue
        for number_, line in read_lines(file):
            stem = line.split()[0]
            known = sides.setdefault(stem, side or "train")
            if side and known != side:
                raise InputError(
                    f"expected {stem} on one side, found it on {known} and at {file}:{number_}; "
                    "list it once"
                )
    return sides
