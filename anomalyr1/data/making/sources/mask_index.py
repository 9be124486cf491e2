"""The mask files of a product and the images they belong to, under any of the usual names.

For the image scratch/0.png: masks/scratch/ or ground_truth/scratch/ (or the like) with 0.png,
0_mask.png, 0_GT.png, 0.png.png, 0.TIF, a folder 0/ of masks to unite; the same without scratch/;
or 0_mask.png beside the image. Case is of no account. What reads two ways is refused.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

from anomalyr1.data.images import IMAGE_SUFFIXES, is_image
from anomalyr1.data.making.sources.item import folders_in, images_in
from anomalyr1.errors import InputError

MASK_FOLDERS = frozenset({"groundtruth", "groundtruths", "mask", "masks", "gt", "gts"})

_MARK = re.compile(r"[_\-. ](mask|masks|gt|groundtruth|ground_truth|label|labels|seg|anno)$")


def is_mask_folder(folder: Path) -> bool:
    """True for masks, ground_truth and the like."""
    return re.sub(r"[\W_]", "", folder.name.casefold()) in MASK_FOLDERS


def without_masks(images: list[Path]) -> tuple[list[Path], dict[str, Path]]:
    """The images of a folder without the masks that lie among them, and those masks by image stem.

    A file is a mask when its name is that of another image with _mask, _GT or the like.
    """
    stems = {_stem(image.name) for image in images}
    kept, masks = [], {}
    for image in images:
        base = _MARK.sub("", _stem(image.name))
        if base != _stem(image.name) and base in stems:
            masks[base] = image
        else:
            kept.append(image)
    return kept, masks


class MaskIndex:
    """Mask files of one product, found once; knows which were used."""

    def __init__(self, product: Path) -> None:
        """List the masks in the product's mask folders."""
        self._files: dict[str, dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
        self._users: dict[Path, Path] = {}
        for folder in folders_in(product):
            if not is_mask_folder(folder):
                continue
            self._list(folder, "")
            for below in folders_in(folder):
                self._list(below, below.name.casefold())

    def find(self, image: Path, folder: str, beside: dict[str, Path], normal: bool) -> Path | None:
        """The mask of an image in the folder of that name.

        Args:
            image: the image file.
            folder: name of its folder, which the masks' folder repeats or leaves out.
            beside: masks found beside the image, by its stem.
            normal: a mask of a defective image of that name is none of a normal one.

        Raises:
            InputError: two files could be its mask, or one file the mask of two images.
        """
        stem = _stem(image.name)
        own = self._files.get(folder.casefold(), {}).get(stem, ())
        flat = self._files.get("", {}).get(stem, ())
        found = [*(own or flat), *([beside[stem]] if stem in beside else [])]
        if normal:
            found = [mask for mask in found if mask not in self._users]
        if len(found) > 1:
            names = " and ".join(map(str, found))
            raise InputError(f"expected one mask for {image}, found {names}; remove one")
        for mask in found:
            user = self._users.setdefault(mask, image)
            if user != image:
                raise InputError(
                    f"expected one image for the mask {mask}, found {user} and {image}; put masks "
                    "into folders with the names of the images' folders"
                )
        return found[0] if found else None

    def unused(self) -> list[Path]:
        """Masks that no image asked for."""
        files = {
            mask for names in self._files.values() for masks in names.values() for mask in masks
        }
        return sorted(files - self._users.keys())

    def _list(self, folder: Path, name: str) -> None:
        masks = images_in(folder)
        if name:
            masks += [f for f in folders_in(folder) if any(is_image(file) for file in f.iterdir())]
        for mask in masks:
            for stem in {_stem(mask.name), _MARK.sub("", _stem(mask.name))}:
                self._files[name][stem].append(mask)


def _stem(name: str) -> str:
    """A file name in lower case without its image suffixes, however many.

    >>> _stem("A.png.PNG")
    'a'
    """
    stem = Path(name.casefold())
    while stem.suffix in IMAGE_SUFFIXES:
        stem = stem.with_suffix("")
    return stem.name
