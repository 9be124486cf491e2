"""The mask files of a product and the images they belong to, under any of the usual names.

For the image scratch/0.png: masks/scratch/ or ground_truth/scratch/ (or the like) with 0.png,
0_mask.png, 0_GT.png, 0.png.png, 0.TIF, a folder 0/ of masks to unite; the same without scratch/;
scratch_mask/ or scratch_gt/ beside scratch/; 0_mask.png beside the image, or 0.png of two values
beside 0.jpg. Case is of no account. What reads two ways is refused.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import numpy as np

from anomalyr1.data.images import IMAGE_SUFFIXES, is_image, open_image
from anomalyr1.data.making.sources.item import folders_in, images_in, one_spelling
from anomalyr1.errors import InputError

_WORDS = ("groundtruth", "groundtruths", "mask", "masks", "gt", "gts")
MASK_FOLDERS = frozenset(
    word + more for word in _WORDS for more in ("", "image", "images", "mask", "masks")
)

_MARK = re.compile(r"[_\-. ](mask|masks|gt|groundtruth|ground_truth|label|labels|seg|anno)$")
_OF_LABEL = re.compile(r"^(.+?)[_\-. ](mask|masks|gt|gts|groundtruth|ground_truth)$")
_LOSSY = (".jpg", ".jpeg", ".webp")


def is_mask_folder(folder: Path) -> bool:
    """True for masks, ground_truth and the like, and for <label>_mask and the like.

    The latter is one where <label> with images stands beside it, or what it holds has two values:
    a mask may be a product as well.
    """
    if re.sub(r"[\W_]", "", folder.name.casefold()) in MASK_FOLDERS:
        return True
    label = _label_of(folder)
    if label is None:
        return False
    beside = (other for other in folders_in(folder.parent) if one_spelling(other.name) == label)
    if any(images_in(other) for other in beside):
        return True
    first = next((f for part in (folder, *folders_in(folder)) for f in images_in(part)), None)
    try:
        return first is not None and _is_two_valued(first)
    except InputError:  # told where the image is read
        return False


def _label_of(folder: Path) -> str | None:
    """What a folder's name says besides mask, in lower case; None where it does not say mask."""
    named = _OF_LABEL.match(one_spelling(folder.name))
    return named[1] if named else None


def _is_two_valued(image: Path) -> bool:
    """Whether an image has two colours at most, up to what a lossy file makes of them."""
    pixels = np.asarray(open_image(image))
    if image.suffix.lower() in _LOSSY:
        return bool(np.mean((pixels > 32) & (pixels < 223)) < 0.02)
    return len(np.unique(pixels[..., 0])) <= 2 and len(np.unique(pixels.reshape(-1, 3), axis=0)) < 3


def without_masks(images: list[Path]) -> tuple[list[Path], dict[str, Path]]:
    """The images of a folder without the masks that lie among them, and those masks by image stem.

    A file is a mask when its name is that of another image with _mask, _GT or the like, or that of
    another image in another form, when it alone of the two has two values.

    Raises:
        InputError: two files have one name, and which is the image cannot be told.
    """
    stems: dict[str, list[Path]] = defaultdict(list)
    for image in images:
        stems[_stem(image.name)].append(image)
    bases = {stem: _MARK.sub("", stem) for stem in stems}
    marked = {stem: base for stem, base in bases.items() if base != stem and base in stems}
    same_named = {
        stem: _mask_among(same)
        for stem, same in stems.items()
        if stem not in marked and len({image.name.casefold() for image in same}) > 1
    }
    kept, masks = [], {}
    for image in images:
        stem = _stem(image.name)
        if stem in marked:
            masks[marked[stem]] = image
        elif image == same_named.get(stem):
            masks[stem] = image
        else:
            kept.append(image)
    return kept, masks


def _mask_among(same: list[Path]) -> Path | None:
    """The mask among files of one name; None where all are photos.

    Raises:
        InputError: there are several, or several photos that one could be of.
    """
    marks = [file for file in same if _is_two_valued(file)]
    if marks and (len(same) != 2 or len(marks) != 1):
        raise InputError(
            f"expected an image and its mask of two values, found {' and '.join(map(str, same))}; "
            "give two images other names, or put masks into masks/"
        )
    return marks[0] if marks else None


class MaskIndex:
    """Mask files of one product, found once; knows which were used."""

    def __init__(self, product: Path) -> None:
        """List the masks in the product's mask folders."""
        self._files: dict[str, dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
        self._users: dict[Path, Path] = {}
        parts = folders_in(product)
        labels = {one_spelling(f.name) for part in (product, *parts) for f in folders_in(part)}
        for folder in parts:
            if not is_mask_folder(folder):
                continue
            label = _label_of(folder)
            self._list(folder, label if label and label in labels else "")
            for below in folders_in(folder):
                self._list(below, one_spelling(below.name))

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
        own = self._files.get(one_spelling(folder), {}).get(stem, ())
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
    stem = Path(one_spelling(name))
    while stem.suffix in IMAGE_SUFFIXES:
        stem = stem.with_suffix("")
    return stem.name
