"""Which images belong together, by their names or by a table; a split keeps a group on one side."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from anomalyr1.data.making.sources.item import Item
from anomalyr1.errors import InputError, listed
from anomalyr1.text_files import read_text

# Roboflow writes every augmented copy of a photo as <photo>.rf.<hash>.
_COPY = re.compile(r"^(.+)\.rf\.[0-9A-Za-z]{6,}$")
_TABLE = re.compile(r"^(.+\.csv):([^:/\\]+)$", re.I)
_IMAGE_COLUMNS = (
    "image",
    "file",
    "filename",
    "file_name",
    "path",
    "image_path",
    "image_id",
    "name",
)

GroupOf = Callable[[str], str | None]


def read_grouping(text: str) -> GroupOf:
    r"""What `group=` says: a regular expression, or FILE.csv:COLUMN.

    The expression is searched for in an image's path; its parentheses, or all that it matches, name
    the group. The table has a column of image paths or file names besides the named one.

    Raises:
        InputError: the expression or the table cannot be used.

    >>> read_grouping(r"part(\d+)_")("test/bad/part07_left.png")
    '07'
    """
    table = _TABLE.match(text)
    if table:
        return _from_table(Path(table[1]), table[2])
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise InputError(
            f"expected a regular expression or FILE.csv:COLUMN for group, found {text!r} "
            f"({error}); correct it"
        ) from None

    def group(path: str) -> str | None:
        found = pattern.search(path)
        if not found or not found[0]:
            return None
        return "|".join(part or "" for part in found.groups()) if pattern.groups else found[0]

    return group


def name_groups(paths: Iterable[str], text: str) -> tuple[dict[str, str], list[str]]:
    """Groups by path, and the paths that have none.

    Raises:
        InputError: no path has one.
    """
    group_of = read_grouping(text)
    named, without = {}, []
    for path in paths:
        group = group_of(path)
        if group is None:
            without.append(path)
        else:
            named[path] = group
    if not named:
        raise InputError(
            f"expected group={text} to name groups of images, found none, for example not in "
            f"{listed(without, 2)}; change it"
        )
    return named, without


def told_ungrouped(without: Sequence[str]) -> list[str]:
    """A line about the paths that have no group, where there are any."""
    if not without:
        return []
    return [f"{len(without)} images are in no group: {listed(without, 3)}"]


def group_items(
    items: Iterable[Item], root: Path | None, text: str | None
) -> tuple[tuple[Item, ...], list[str]]:
    """Items with their groups: those of `text`, else the reader's, else the photo before `.rf.`.

    Returns:
        The items, and lines about what was found.

    Raises:
        InputError: `text` cannot be used.
    """
    items = tuple(items)
    notes = []
    if text is not None:
        paths = {item.file: _path(item.file, root) for item in items}
        named, without = name_groups(paths.values(), text)
        items = tuple(
            replace(item, group=named.get(paths[item.file], item.group)) for item in items
        )
        notes.append(f"{len(set(named.values()))} groups of {len(named)} images by group={text}")
        notes += told_ungrouped(without)
    grouped = []
    copies = 0
    for item in items:
        photo = _COPY.match(item.file.stem)
        if photo and item.group is None:
            item = replace(item, group=f"{item.category}/{photo[1]}")
            copies += 1
        grouped.append(item)
    if copies:
        photos = {item.group for item in grouped if _COPY.match(item.file.stem)}
        notes.append(f"{copies} copies of {len(photos)} photos by their names (<photo>.rf.<hash>)")
    return tuple(grouped), notes


def _path(file: Path, root: Path | None) -> str:
    if root is not None and file.is_relative_to(root):
        return file.relative_to(root).as_posix()
    return file.name


def _from_table(file: Path, column: str) -> GroupOf:
    reader = csv.DictReader(read_text(file, "a table of groups").splitlines())
    columns = [name for name in reader.fieldnames or () if name]
    images = next((c for c in columns if c.strip().casefold() in _IMAGE_COLUMNS), None)
    if column not in columns or images is None:
        raise InputError(
            f"expected a column {column!r} and one of images ({', '.join(_IMAGE_COLUMNS)}) in "
            f"{file}, found {', '.join(columns) or 'none'}; check group="
        )
    by_path: dict[str, str] = {}
    names: dict[str, set[str]] = {}
    for row in reader:
        path, group = (row[images] or "").strip(), (row[column] or "").strip()
        if not path or not group:
            continue
        if by_path.setdefault(path, group) != group:
            raise InputError(
                f"expected one {column} for {path} in {file}, found two; mend the file"
            )
        names.setdefault(PurePosixPath(path).name, set()).add(group)
    return _lookup(by_path, names)


def _lookup(by_path: Mapping[str, str], names: Mapping[str, set[str]]) -> GroupOf:
    def group(path: str) -> str | None:
        if path in by_path:
            return by_path[path]
        found = names.get(PurePosixPath(path).name, set())
        return next(iter(found)) if len(found) == 1 else None

    return group
