"""BTAD: three products of beanTech, in MVTec-AD's tree under other names.

Licence: CC BY-NC-SA 4.0 (github.com/pankajmishra000/VT-ADL). Citation: Mishra et al., "VT-ADL: A
Vision Transformer Network for Image Anomaly Detection and Localization", ISIE 2021.

Expected tree, below ROOT::

    01/train/ok/*  01/test/ok/*  01/test/ko/*  01/ground_truth/ko/<name>.png (or .bmp)

and the same for 02 and 03. Refused: a tree without such a product. "ko" names no type of defect, so
the type is not asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from anomalyr1.data.making.sources.item import (
    Item,
    Source,
    find_mask,
    folders_in,
    images_in,
    require_items,
)

TREE = "<product>/train/ok, <product>/test/{ok,ko} and <product>/ground_truth/ko (BTAD)"


def read_btad(root: Path) -> Source:
    """Read BTAD.

    Raises:
        InputError: the tree is not there.
    """
    return Source(
        "btad",
        "CC BY-NC-SA 4.0",
        "Mishra et al., VT-ADL, ISIE 2021",
        "https://github.com/pankajmishra000/VT-ADL",
        require_items(_items(root), root, TREE),
    )


def looks_like(root: Path) -> str | None:
    """What there is of this layout in ROOT, in words; None without it."""
    products = [f.name for f in folders_in(root) if (f / "test" / "ko").is_dir()]
    return f"BTAD's layout with the products {', '.join(products)}" if products else None


def _items(root: Path) -> Iterator[Item]:
    for product in folders_in(root):
        name = product.name
        shown = f"product {name}" if name.isdigit() else name
        for image in images_in(product / "train" / "ok"):
            yield Item(image, "BTAD", name, "good", image.name, shown, reference=True)
        for image in images_in(product / "test" / "ok"):
            yield Item(image, "BTAD", name, "good", image.name, shown)
        for image in images_in(product / "test" / "ko"):
            mask = find_mask(product / "ground_truth" / "ko", image.stem)
            yield Item(image, "BTAD", name, "ko", image.name, shown, mask=mask)
