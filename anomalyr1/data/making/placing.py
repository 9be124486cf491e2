"""Names that are safe as paths, and files put under them."""

from __future__ import annotations

import os
import re
import shutil
import unicodedata
from collections.abc import Iterable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
from PIL import Image

from anomalyr1.data.images import is_image
from anomalyr1.data.making.shapes import draw
from anomalyr1.data.making.sources.item import Item
from anomalyr1.errors import InputError
from anomalyr1.values import whole_characters

_UNSAFE = re.compile(r"[^\w\-. ()\[\]+,&@=#~%']")
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.I)  # no file names on Windows
_LONGEST = 150  # bytes; file systems take 255


def safe_name(name: str) -> str:
    """A name that is one part of a path anywhere; a sound name stays as it is.

    >>> safe_name("../../../escaped"), safe_name("broken_small"), safe_name("???")
    ('escaped', 'broken_small', 'unnamed')
    """
    safe = _UNSAFE.sub("_", unicodedata.normalize("NFC", whole_characters(name)))
    if safe != name:
        safe = safe.strip("._ ")
    safe = safe.lstrip(".").rstrip(". ") or "unnamed"
    if _RESERVED.fullmatch(safe):
        safe += "_"
    if len(safe.encode()) > _LONGEST:
        stem, dot, suffix = (
            safe.rpartition(".") if len(safe) - safe.rfind(".") < 8 else (safe, "", "")
        )
        mark = sha256(name.encode("utf-8", "replace")).hexdigest()[:8]
        safe = stem.encode()[: _LONGEST - 20].decode("utf-8", "ignore") + f"-{mark}{dot}{suffix}"
    return safe


def safe_items(items: Iterable[Item]) -> tuple[list[Item], dict[str, str]]:
    """Items whose names are safe as paths, and safe name -> original of those that were not.

    Raises:
        InputError: a data set or product is called "good", which marks an image as normal.
    """
    renamed: dict[str, str] = {}

    def safe(name: str) -> str:
        new, name = safe_name(name), whole_characters(name)
        if new == name:
            return new
        if renamed.setdefault(new, name) != name:  # two names that come to one
            new += "-" + sha256(name.encode("utf-8", "replace")).hexdigest()[:8]
            renamed[new] = name
        return new

    after = []
    for item in items:
        for kind, name in (("dataset", item.dataset), ("category", item.category)):
            if name == "good":
                raise InputError(
                    f"expected a name for the {kind}, found 'good', which marks normal images in a "
                    f"path; give --set {kind}=NAME, or rename the folder"
                )
        after.append(
            replace(
                item,
                dataset=safe(item.dataset),
                category=safe(item.category),
                folder=safe(item.folder),
                name=safe(item.name),
            )
        )
    return after, renamed


def alike(key: str) -> str:
    """What keys have in common that are one file on some file system."""
    return unicodedata.normalize("NFC", key).casefold()


def refuse_collisions(items: Iterable[Item]) -> None:
    """Refuse two files of one key, and one file under two labels.

    Raises:
        InputError: both are named.
    """
    keys: dict[str, Item] = {}
    files: dict[Path, Item] = {}
    for item in items:
        other = keys.setdefault(alike(item.key), item)
        if other.file != item.file:
            raise two_files(item.key, other.file, item.file)
        other = files.setdefault(item.file, item)
        if other is not item:
            raise InputError(
                f"expected one entry for {item.file}, found {other.key} and {item.key}; keep one"
            )


def mask_keys(item: Item) -> dict[Path | None, str]:
    """Mask file (None for drawn regions) -> its key in the benchmark; {} without a mask."""
    stem = Path(item.name).stem
    below = f"{item.dataset}/{item.category}/ground_truth/{item.folder}"
    if item.mask is None:
        return {None: f"{below}/{stem}_mask.png"} if item.shapes else {}
    if item.mask.is_dir():
        files = sorted(file for file in item.mask.iterdir() if is_image(file))
        return {file: f"{below}/{stem}/{safe_name(file.name)}" for file in files}
    return {item.mask: f"{below}/{stem}_mask{item.mask.suffix}"}


def mask_key(item: Item) -> str | None:
    """The mask as a record names it: a file, or the directory of several."""
    keys = list(mask_keys(item).values())
    if not keys:
        return None
    return keys[0].rpartition("/")[0] if item.mask is not None and item.mask.is_dir() else keys[0]


def place(item: Item, size: tuple[int, int], out: Path) -> None:
    """Put the image and the mask of an item below `out`.

    Raises:
        InputError: another file has that name already.
    """
    place_file(item.file, out / item.key)
    for file, key in mask_keys(item).items():
        if file is not None:
            place_file(file, out / key)
            continue
        pixels = draw(item.shapes, size).astype(np.uint8) * 255
        target = _free(out / key, item.file)
        Image.fromarray(pixels).save(target)


def place_file(source: Path, target: Path) -> None:
    """Put a file into the benchmark: a hard link where the file system can, else a copy.

    Raises:
        InputError: another file has that name already; a linked original must not be written to.
    """
    _free(target, source)
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copy2(source, target)


def _free(target: Path, source: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        raise InputError(f"expected one file for {target}, found a second one: {source}; rename it")
    return target


def two_files(key: str, first: Path, second: Path) -> InputError:
    """The error of two files that would lie in one place of a benchmark."""
    return InputError(f"expected one file for {key}, found {first} and {second}; rename one")
