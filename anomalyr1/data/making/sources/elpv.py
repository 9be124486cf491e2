"""ELPV: electroluminescence images of solar cells with a probability of a defect.

Licence: CC BY-NC-SA 4.0 (github.com/zae-bayern/elpv-dataset). Citations: Buerhop-Lutz et al., "A
Benchmark for Visual Identification of Defective Solar Cells in Electroluminescence Imagery",
EU PVSEC 2018; Deitsch et al., Solar Energy 185, 2019.

Without ROOT the images come from the PyPI package `elpv-dataset`. Expected tree::

    labels.csv     images/cell0001.png  1.0  mono     (three columns)
    images/cell0001.png

The probability is 0, 1/3, 2/3 or 1. Images of at most `normal_max` (0) are normal, those of at
least `defect_min` (1) defective, those between are left out and counted. The kind and the place of
a defect are not on record, so there are no questions about them. Refused: a line of other columns,
a type other than mono and poly, an image that is missing or outside ROOT.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from anomalyr1.data.making.sources.image_names import ImageNames
from anomalyr1.data.making.sources.item import Item, Source, read_lines, require_items
from anomalyr1.errors import InputError

PRODUCTS = {"mono": "monocrystalline solar cell", "poly": "polycrystalline solar cell"}
TREE = "labels.csv and images/*.png"


def package_data() -> Path:
    """The data folder of the installed package `elpv-dataset`.

    Raises:
        InputError: the package is not installed.
    """
    spec = importlib.util.find_spec("elpv_dataset")
    if spec is None or spec.origin is None:
        raise InputError(
            "expected the package elpv-dataset, found none; run `pip install -e '.[elpv]'` "
            "in the clone, or give the folder that holds labels.csv"
        )
    return Path(spec.origin).parent / "data"


def read_elpv(
    root: Path | None = None, *, normal_max: float = 0.0, defect_min: float = 1.0
) -> Source:
    """Read the solar cells.

    Raises:
        InputError: the tree is not there, labels.csv is broken, or the thresholds cross.
    """
    if not 0 <= normal_max < defect_min <= 1:
        raise InputError(
            "expected 0 <= normal_max < defect_min <= 1, "
            f"found normal_max {normal_max} and defect_min {defect_min}; change one"
        )
    root = root or package_data()
    names, items, between = ImageNames(root), [], 0
    for number, line in read_lines(root / "labels.csv"):
        try:
            name, text, kind = line.replace(",", " ").split()
            probability, product = float(text), PRODUCTS[kind]
        except (ValueError, KeyError):
            raise InputError(
                f"expected 'path probability mono|poly' at {root / 'labels.csv'}:{number}, "
                f"found {line!r}; mend the line"
            ) from None
        if normal_max < probability < defect_min:
            between += 1
            continue
        image = names.find(name, [root], str(root / "labels.csv"))
        folder = "good" if probability <= normal_max else "defective"
        items.append(Item(image, "ELPV", kind, folder, image.name, product))
    return Source(
        "elpv",
        "CC BY-NC-SA 4.0",
        "Buerhop-Lutz et al., EU PVSEC 2018; Deitsch et al., Solar Energy 185, 2019",
        "https://github.com/zae-bayern/elpv-dataset",
        require_items(items, root, TREE),
        options={"normal_max": normal_max, "defect_min": defect_min},
        left_out={"probability between the thresholds": between},
    )


def looks_like(root: Path) -> str | None:
    """What there is of this layout in ROOT, in words; None without it."""
    file = root / "labels.csv"
    if not file.is_file():
        return None
    with file.open("rb") as stream:
        columns = stream.readline(500).split()
    solar = len(columns) == 3 and columns[2].decode("ascii", "replace") in PRODUCTS
    return "ELPV's labels.csv" if solar else None
