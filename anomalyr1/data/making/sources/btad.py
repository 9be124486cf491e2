"""BTAD: three products of beanTech, in MVTec-AD's tree under other names.

Licence: CC BY-NC-SA 4.0 (github.com/pankajmishra000/VT-ADL). Citation: Mishra et al., "VT-ADL: A
Vision Transformer Network for Image Anomaly Detection and Localization", ISIE 2021.

Expected tree, below ROOT::

    01/train/ok/*  01/test/ok/*  01/test/ko/*  01/ground_truth/ko/<name>.png (or .bmp)

and the same for 02 and 03. Refused: a tree without such a product. "ko" names no type of defect, so
the type is not asked for.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from anomalyr1.data.making.sources.folder import read_products
from anomalyr1.data.making.sources.item import Source, folders_in, require_items

TREE = "<product>/train/ok, <product>/test/{ok,ko} and <product>/ground_truth/ko (BTAD)"


def read_btad(root: Path) -> Source:
    """Read BTAD.

    Raises:
        InputError: the tree is not there.
    """
    notes: list[str] = []
    items = [
        replace(item, product="product") if item.category.isdigit() else item  # 01 names none
        for item in read_products(root, "BTAD", notes)
    ]
    return Source(
        "btad",
        "CC BY-NC-SA 4.0",
        "Mishra et al., VT-ADL, ISIE 2021",
        "https://github.com/pankajmishra000/VT-ADL",
        require_items(items, root, TREE),
        notes=tuple(notes),
    )


def looks_like(root: Path) -> str | None:
    """What there is of this layout in ROOT, in words; None without it."""
    products = [f.name for f in folders_in(root) if (f / "test" / "ko").is_dir()]
    return f"BTAD's layout with the products {', '.join(products)}" if products else None
