"""What a source reader hands to the builder."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anomalyr1.data.images import is_image
from anomalyr1.data.making.shapes import Shape
from anomalyr1.errors import InputError
from anomalyr1.schema import Box
from anomalyr1.text_files import read_text


@dataclass(frozen=True, slots=True)
class Item:
    """One image of a source.

    Attributes:
        file: the image on disk.
        dataset: first part of the benchmark key.
        category: second part: the product.
        folder: "good", or the name of the defect.
        name: file name in the benchmark.
        product: the product in words.
        defects: types present, in words; empty for normals and where the source names none.
        mask: mask file or directory of masks, None without one.
        boxes: boxes that the source states; None to read them from the mask.
        shapes: regions that become a mask file, where the source has no mask file.
        reference: True for a normal image that is only shown as a reference.
        references: files of its own references; empty to choose from the category's.
        group: images of one group (views of one part) stay on one side of a split.
        split: the side the source puts it on (train, valid, test); None where it has no sides.
        declared: (width, height) that boxes and shapes are in by the source's word, held against
            the file; None where it states none.
        levels: of a file made of a deeper one, the rule by which its bits became eight.
    """

    file: Path
    dataset: str
    category: str
    folder: str
    name: str
    product: str
    defects: tuple[str, ...] = ()
    mask: Path | None = None
    boxes: tuple[Box, ...] | None = None
    shapes: tuple[Shape, ...] = ()
    reference: bool = False
    references: tuple[Path, ...] = ()
    group: str | None = None
    split: str | None = None
    declared: tuple[int, int] | None = None
    levels: str | None = None

    @property
    def normal(self) -> bool:
        """True when the source calls it normal."""
        return self.folder == "good"

    @property
    def key(self) -> str:
        """Benchmark key: `<dataset>/<category>/<test|train>/<folder>/<name>`."""
        part = "train" if self.reference else "test"
        return f"{self.dataset}/{self.category}/{part}/{self.folder}/{self.name}"


@dataclass(frozen=True, slots=True)
class Source:
    """A data set as its reader found it.

    `options` are the reader's own choices and `left_out` says how many images it passed over, and
    why; both go into the manifest. `notes` are lines for the user about how the tree was read.
    `paired` sources say that the images of a group are no copies of each other (a board and its
    template). With `rescale`, boxes in a declared size of the same shape as the image's are scaled
    to it.
    """

    name: str
    licence: str
    citation: str
    url: str
    items: tuple[Item, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    rescale: bool = False
    paired: bool = False


def images_in(folder: Path) -> list[Path]:
    """The image files of a folder, sorted by name; hidden files and others are passed over."""
    if not folder.is_dir():
        return []
    return sorted(f for f in folder.iterdir() if is_image(f) and f.is_file())


def folders_in(folder: Path) -> list[Path]:
    """The visible sub-folders, sorted by name."""
    if not folder.is_dir():
        return []
    return sorted(f for f in folder.iterdir() if f.is_dir() and is_visible(f))


def is_visible(path: Path) -> bool:
    """False for hidden files and for what macOS leaves in archives (._name, __MACOSX)."""
    return not path.name.startswith(".") and path.name != "__MACOSX"


def one_spelling(name: str) -> str:
    """A file name without regard to case and to how its accents are written.

    macOS takes them apart (NFD), other programs write them whole (NFC).

    >>> one_spelling("Lo\u0308tung") == one_spelling("l\u00f6tung")
    True
    """
    return unicodedata.normalize("NFC", name).casefold()


def found_in(root: Path, pattern: str) -> list[Path]:
    """The visible matches of a pattern below `root`, sorted; none inside a hidden folder."""
    return sorted(
        path
        for path in root.glob(pattern)
        if all(is_visible(Path(part)) for part in path.relative_to(root).parts)
    )


def require_items(items: Iterable[Item], root: Path, tree: str) -> tuple[Item, ...]:
    """The items as a tuple.

    Raises:
        InputError: there are none; the message shows the tree that was expected.
    """
    found = tuple(items)
    if not any(not item.reference for item in found):
        raise InputError(f"expected {tree} under {root}, found no image to ask about; check ROOT")
    return found


def not_one_file(tree: str, root: Path, found: str) -> InputError:
    """The error of a folder that should hold one file of annotations."""
    return InputError(f"expected one {tree} under {root}, found {found or 'none'}; name the file")


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Non-empty lines of a text file with their numbers from 1.

    Raises:
        InputError: the file cannot be read.
    """
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if line.strip():
            yield number, line.strip()
