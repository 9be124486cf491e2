"""Image files of a tree, and which of them an annotation means."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from anomalyr1.data.images import IMAGE_SUFFIXES, missing_image
from anomalyr1.data.making.sources.item import is_visible, one_spelling
from anomalyr1.errors import InputError, listed
from anomalyr1.values import is_below

_SIDES = {
    "train": "train",
    "training": "train",
    "val": "valid",
    "valid": "valid",
    "validation": "valid",
    "test": "test",
    "testing": "test",
}


def files_below(root: Path, suffixes: Iterable[str] = IMAGE_SUFFIXES) -> Iterator[Path]:
    """Visible files below a folder with one of the suffixes (lower case), in a fixed order.

    Linked folders from elsewhere are followed, each once; those of the tree itself are not, nor
    those that the tree lies in.
    """
    wanted = frozenset(suffixes)
    top = os.path.realpath(root)
    seen: set[str] = set()

    for parent, folders, names in os.walk(root, followlinks=True):
        folder, real = Path(parent), os.path.realpath(parent)
        own = is_below(real, top) or is_below(top, real)
        if real in seen or (own and folder != root and folder.is_symlink()):
            folders[:] = []
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if is_visible(Path(name)))
        for name in sorted(names):
            if is_visible(Path(name)) and posixpath.splitext(name)[1].lower() in wanted:
                yield folder / name


def described(form: str, files: Sequence[Path]) -> str | None:
    """Files that hold the annotations of the images below their folder, in words; None without."""
    if not files:
        return None
    named = ", ".join(file.name for file in files)
    return f"{form} {named}, {sum(1 for _ in files_below(files[0].parent))} images"


def files_in(root: Path, *patterns: str) -> list[Path]:
    """Visible files that one of the patterns names below a folder; ROOT itself where it is one."""
    if root.is_file():
        return [root] if any(root.match(pattern) for pattern in patterns) else []
    found = {f: None for pattern in patterns for f in sorted(root.glob(pattern)) if f.is_file()}
    return [file for file in found if is_visible(file)]


def side_of(file: Path, root: Path) -> str | None:
    """The side a path names: its first folder (or file stem) called train, valid, test or alike.

    >>> side_of(Path("d/val/images/1.png"), Path("d")), side_of(Path("d/1.png"), Path("d"))
    ('valid', None)
    """
    parts = file.relative_to(root).with_suffix("").parts
    return next((_SIDES[part.lower()] for part in parts if part.lower() in _SIDES), None)


def side_word(word: str) -> str:
    """A side's name as it is kept: train, valid or test; another word stays.

    >>> side_word("Validation"), side_word("line 2")
    ('valid', 'line 2')
    """
    return _SIDES.get(word.lower(), word)


class ImageNames:
    """Finds the image that an annotation names, below a root and nowhere else.

    A relative name must be there as it is written, below one of the folders given; Windows
    backslashes, another case of letters and accents written apart are accepted. Of an absolute path
    or a URL the leading parts are dropped one by one, because the tree was copied from elsewhere.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._listings: dict[Path, dict[str, list[str]]] = {}

    def find(
        self, name: str, folders: Iterable[Path], where: str, *, any_suffix: bool = False
    ) -> Path:
        """The file.

        Args:
            name: as the annotation has it.
            folders: where to look, the likeliest first.
            where: how an error names the annotation.
            any_suffix: take an image of the same stem where the name has no such file.

        Raises:
            InputError: no such image, several, or a name that leaves the root.
        """
        parts, absolute = _parts(name, where)
        found = self._locate(parts, absolute, tuple(folders), where, any_suffix)
        if found is None:
            raise missing_image(name, where)
        if found.suffix.lower() not in IMAGE_SUFFIXES:
            raise InputError(
                f"expected an image file ({_suffixes()}) at {where}, found {name!r}; name another"
            )
        return found

    def _locate(
        self,
        parts: list[str],
        absolute: bool,
        folders: tuple[Path, ...],
        where: str,
        any_suffix: bool,
    ) -> Path | None:
        while parts:
            for folder in folders:
                found = self._below(folder, parts, where, any_suffix)
                if found is not None:
                    return found
            if not absolute:
                break
            parts = parts[1:]
        return None

    def _below(self, folder: Path, parts: list[str], where: str, any_suffix: bool) -> Path | None:
        root = os.path.abspath(self.root)  # noqa: PTH100 - normalises, follows no link
        path = os.path.normpath(Path(os.path.abspath(folder)).joinpath(*parts))  # noqa: PTH100
        if not is_below(path, root):
            raise outside_image("/".join(parts), where, self.root)
        if os.path.isfile(path):  # noqa: PTH113 (Path.is_file raises on some names)
            return self.root / os.path.relpath(path, root)
        current = Path(root)
        wanted = Path(path).relative_to(root).parts
        for depth, part in enumerate(wanted):
            last = depth == len(wanted) - 1
            names = self._matching(current, part, any_suffix and last)
            if len(names) > 1:
                raise several_images(part, where, [str(current / name) for name in names])
            if not names:
                return None
            current = current / names[0]
        found = os.path.isfile(current)  # noqa: PTH113
        return self.root / current.relative_to(root) if found else None

    def _matching(self, folder: Path, name: str, any_suffix: bool) -> list[str]:
        if folder not in self._listings:
            listing: dict[str, list[str]] = {}
            try:
                entries = sorted(path.name for path in folder.iterdir())
            except OSError:
                entries = []
            for entry in entries:
                listing.setdefault(one_spelling(entry), []).append(entry)
                stem, suffix = posixpath.splitext(entry)
                if suffix.lower() in IMAGE_SUFFIXES:
                    listing.setdefault(f"{one_spelling(stem)}\0", []).append(entry)
            self._listings[folder] = listing
        listing = self._listings[folder]
        if name in listing.get(one_spelling(name), ()):
            return [name]
        found = listing.get(one_spelling(name), [])
        if not found and any_suffix:
            stem, suffix = posixpath.splitext(one_spelling(name))
            stem = stem if suffix in IMAGE_SUFFIXES else one_spelling(name)
            found = listing.get(f"{stem}\0", [])
        return found


def _parts(name: str, where: str) -> tuple[list[str], bool]:
    """The parts of a name, and whether it is absolute or a URL."""
    text = name.strip()
    absolute = False
    if "://" in text or text.startswith("/data/"):  # a URL, or Label Studio's path of a server
        url = urlsplit(text)
        given = parse_qs(url.query).get("d")
        text = given[0] if given else unquote(url.path)
        absolute = not given
    text = text.replace("\\", "/")
    if re.match(r"[A-Za-z]:", text):
        text, absolute = text[2:], True
    if text.startswith("/"):
        absolute = True
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if not parts or "\0" in text or (absolute and ".." in parts):
        raise InputError(
            f"expected the path of an image below the root at {where}, found {name!r}; mend it"
        )
    return parts, absolute


def _suffixes() -> str:
    return ", ".join(sorted(IMAGE_SUFFIXES))


def outside_image(name: str, where: str, root: Path) -> InputError:
    """The error of an annotation that names a file outside the folder that was given."""
    return InputError(f"expected an image below {root} at {where}, found {name!r}; bring it there")


def several_images(name: str, where: str, found: Sequence[str]) -> InputError:
    """The error of an annotation that more than one image fits."""
    return InputError(f"expected one image {name!r} at {where}, found {listed(found, 3)}; keep one")
