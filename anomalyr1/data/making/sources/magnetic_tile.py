"""Magnetic-tile surface defects with pixel masks.

Licence: free to use, with citation (github.com/abin24/Magnetic-tile-defect-datasets.). Citation:
Huang, Qiu, Guo, Wang, Yuan, "Surface defect saliency of magnetic tile", IEEE CASE 2018.

Expected tree::

    MT_Blowhole/Imgs/exp1_num_1.jpg   MT_Blowhole/Imgs/exp1_num_1.png (mask)
    MT_Break  MT_Crack  MT_Fray  MT_Uneven  MT_Free (normal; its masks are empty)

Refused: a defective image without its mask, a normal image whose mask marks something.
"""

from __future__ import annotations

from pathlib import Path

from anomalyr1.data.images import read_mask
from anomalyr1.data.making.questions import words
from anomalyr1.data.making.sources.item import Item, Source, folders_in, found_in, require_items
from anomalyr1.errors import InputError

NORMAL = "free"
TREE = "MT_<defect>/Imgs/*.jpg with *.png masks beside them, and MT_Free"


def read_magnetic_tile(root: Path) -> Source:
    """Read the magnetic tiles.

    Raises:
        InputError: the tree is not there, a mask is missing, or a normal image has one.
    """
    items = []
    for folder in folders_in(root):
        if not folder.name.startswith("MT_"):
            continue
        kind = folder.name.removeprefix("MT_").lower()
        for image in found_in(folder / "Imgs", "*.jpg"):
            items.append(_item(image, kind))
    return Source(
        name="magnetic-tile",
        licence="free to use with citation",
        citation="Huang et al., Surface defect saliency of magnetic tile, IEEE CASE 2018",
        url="https://github.com/abin24/Magnetic-tile-defect-datasets.",
        items=require_items(items, root, TREE),
    )


def _item(image: Path, kind: str) -> Item:
    mask = image.with_suffix(".png")
    normal = kind == NORMAL
    if not normal and not mask.exists():
        raise InputError(f"expected the mask {mask.name} beside {image}, found none; add it")
    if normal and mask.exists() and read_mask(mask).any():
        raise InputError(
            f"expected the empty mask of a normal tile at {mask}, found a defect; move the image"
        )
    return Item(
        image,
        "MagneticTile",
        "tile",
        "good" if normal else kind,
        image.name,
        "magnetic tile",
        defects=() if normal else (words(kind),),
        mask=None if normal else mask,
    )


def looks_like(root: Path) -> str | None:
    """What there is of this layout in ROOT, in words; None without it."""
    kinds = [f.name for f in folders_in(root) if f.name.startswith("MT_") and (f / "Imgs").is_dir()]
    return f"magnetic tiles: {', '.join(kinds)}" if kinds else None
