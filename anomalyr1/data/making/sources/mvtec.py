"""MVTec-AD, MVTec-AD 2, MVTec-LOCO and GoodsAD: one folder a product.

Licences: MVTec-AD, AD 2 and LOCO are CC BY-NC-SA 4.0 (mvtec.com/company/research/datasets);
GoodsAD is for research (github.com/jianzhang96/GoodsAD). Citations: Bergmann et al., CVPR 2019 and
IJCV 2021 (MVTec-AD); Heckler-Kram et al., arXiv 2503.21622, 2025 (AD 2); Bergmann et al., IJCV 2022
(LOCO); Zhang et al., "PKU-GoodsAD", IEEE RA-L 2024.

Expected trees, below ROOT::

    mvtec    <product>/train/good  <product>/test/<good|defect>
             <product>/ground_truth/<defect>/<name>_mask.png
    mvtec    AD 2: <product>/train/good  <product>/validation/good
             <product>/test_public/<good|bad>
             <product>/test_public/ground_truth/bad/<name>_mask.png
    loco     <product>/train/good  <product>/validation/good
             <product>/test/<good|logical_anomalies|structural_anomalies>
             <product>/ground_truth/<kind>/<name>/*.png (a directory of masks, united)
    goodsad  <product>/train/good  <product>/test/<good|defect>
             <product>/ground_truth/<defect>/<name>.png

Refused: a tree without test images. AD 2's private test images have no labels and are left out;
AD 2's "bad" names no type of defect, so it is not asked for; its photos of one scene in several
lights (000_regular.png, 000_overexposed.png, 000_shift_1.png) are one group. About four LOCO
anomalies have no mask: they keep the questions that need none.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from anomalyr1.data.making.questions import words
from anomalyr1.data.making.sources.folder import read_products
from anomalyr1.data.making.sources.item import (
    Item,
    Source,
    folders_in,
    images_in,
    require_items,
)
from anomalyr1.data.making.sources.mask_index import MaskIndex

PRODUCTS = {
    "mvtec": frozenset({
        "bottle", "cable", "capsule", "carpet", "grid", "hazelnut", "leather", "metal_nut", "pill",
        "screw", "tile", "toothbrush", "transistor", "wood", "zipper",
    }),
    "loco": frozenset({
        "breakfast_box", "juice_bottle", "pushpins", "screw_bag", "splicing_connectors",
    }),
    "goodsad": frozenset({
        "cigarette_box", "drink_bottle", "drink_can", "food_bottle", "food_box", "food_package",
    }),
}  # fmt: skip
TREE = "<product>/train/good and <product>/test/<good|defect> (AD 2: test_public)"
_LIGHT = re.compile(r"^(\d+)_(regular|overexposed|underexposed|shift_\d+)$")
_NC = "CC BY-NC-SA 4.0"
_URL = "https://www.mvtec.com/company/research/datasets"


def read_mvtec(root: Path) -> Source:
    """Read MVTec-AD or MVTec-AD 2, whichever ROOT holds.

    Raises:
        InputError: the tree is not there.
    """
    if any((product / "test_public").is_dir() for product in folders_in(root)):
        private = sum(
            len(images_in(product / part))
            for product in folders_in(root)
            for part in ("test_private", "test_private_mixed")
        )
        return Source(
            "mvtec",
            _NC,
            "Heckler-Kram et al., The MVTec AD 2 Dataset, 2025",
            _URL,
            require_items(_read_ad2(root), root, TREE),
            left_out={"private test images without labels": private},
        )
    notes: list[str] = []
    items = require_items(read_products(root, "MVTec-AD", notes), root, TREE)
    cited = "Bergmann et al., MVTec AD, CVPR 2019"
    return Source("mvtec", _NC, cited, _URL, items, notes=tuple(notes))


def read_loco(root: Path) -> Source:
    """Read MVTec-LOCO.

    Raises:
        InputError: the tree is not there.
    """
    names = {"logical_anomalies": "logical anomaly", "structural_anomalies": "structural anomaly"}
    notes: list[str] = []
    items = [
        replace(item, defects=(names[item.folder],)) if item.folder in names else item
        for item in read_products(root, "MVTec-LOCO", notes)
    ]
    return Source(
        "loco",
        _NC,
        "Bergmann et al., Beyond Dents and Scratches, IJCV 2022",
        _URL,
        require_items(items, root, TREE),
        notes=tuple(notes),
    )


def read_goodsad(root: Path) -> Source:
    """Read GoodsAD.

    Raises:
        InputError: the tree is not there.
    """
    notes: list[str] = []
    items = require_items(read_products(root, "GoodsAD", notes), root, TREE)
    return Source(
        "goodsad",
        "research use",
        "Zhang et al., PKU-GoodsAD, IEEE RA-L 2024",
        "https://github.com/jianzhang96/GoodsAD",
        items,
        notes=tuple(notes),
    )


def _read_ad2(root: Path) -> Iterator[Item]:
    for product in folders_in(root):
        name, shown = product.name, words(product.name)
        for part in ("train", "validation"):
            images = images_in(product / part / "good")
            scenes = _scenes(images, f"{name}/{part}")
            for image in images:
                yield Item(
                    image,
                    "MVTec-AD2",
                    name,
                    "good",
                    f"{part}_{image.name}",
                    shown,
                    reference=True,
                    group=scenes.get(image),
                )
        public = product / "test_public"
        masks = MaskIndex(public)
        for folder in folders_in(public):
            if folder.name == "ground_truth":
                continue
            images = images_in(folder)
            scenes = _scenes(images, f"{name}/{folder.name}")
            for image in images:
                mask = masks.find(image, folder.name, {}, folder.name == "good")
                yield Item(
                    image,
                    "MVTec-AD2",
                    name,
                    folder.name,
                    image.name,
                    shown,
                    mask=mask,
                    group=scenes.get(image),
                )


def _scenes(images: Iterable[Path], where: str) -> dict[Path, str]:
    """A name for the scene of each image that was taken in another light as well."""
    numbers = {image: found[1] for image in images if (found := _LIGHT.match(image.stem))}
    times = Counter(numbers.values())
    return {image: f"{where}/{n}" for image, n in numbers.items() if times[n] > 1}


def looks_like(root: Path, source: str) -> str | None:
    """What there is in ROOT of one of the three data sets, in words; None without it."""
    found = []
    for folder in folders_in(root):
        tests = folder / "test"
        loco_ = (tests / "logical_anomalies").is_dir() or (tests / "structural_anomalies").is_dir()
        public = source == "mvtec" and (folder / "test_public").is_dir()
        known = folder.name in PRODUCTS[source] and tests.is_dir() and loco_ == (source == "loco")
        found += [folder.name] if known or public or (loco_ and source == "loco") else []
    shown = {"mvtec": "MVTec-AD", "loco": "MVTec-LOCO", "goodsad": "GoodsAD"}[source]
    return f"{shown} with {', '.join(found)}" if found else None
