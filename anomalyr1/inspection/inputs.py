"""The images that a person names: files, folders and patterns."""

from __future__ import annotations

import glob
from collections.abc import Callable, Sequence
from pathlib import Path

from anomalyr1.data.images import is_image
from anomalyr1.errors import InputError, listed


def find_images(given: Sequence[str], out: Path | None = None) -> list[Path]:
    """The files, each once, in the order given; those of a folder or pattern by name.

    A folder stands for the images in it and below, hidden ones left out, and so are links that lead
    out of it. A file is taken whatever its suffix.

    Args:
        given: files, folders, and patterns such as `parts/*.png` that no shell has opened.
        out: where results go; images below it are none to inspect.

    Raises:
        InputError: names that stand for no image; all of them are told.
    """
    found: dict[Path, None] = {}
    missing = []
    for name in given:
        images = _images_of(name)
        if out is not None:
            inside = out.absolute()
            images = [image for image in images if inside not in image.absolute().parents]
        if not images:
            missing.append(name)
        found |= dict.fromkeys(images)
    if missing:
        raise InputError(
            f"expected images, folders with images or patterns of their names, found none at "
            f"{listed(missing)}; check the names"
        )
    return list(found)


def images_below(folder: Path, wanted: Callable[[Path], bool] = lambda _: True) -> list[Path]:
    """The images in a folder and below it that no link leads out of it, by name.

    Args:
        folder: looked into.
        wanted: asked of what is called like an image before it is looked at, which takes longer.
    """
    root = folder.resolve()
    return sorted(
        path
        for path in folder.rglob("*")
        if is_image(path)
        and wanted(path)
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.resolve().is_relative_to(root)
    )


def _images_of(name: str) -> list[Path]:
    path = Path(name)
    try:
        if path.is_file():
            return [path]
        if path.is_dir():
            return images_below(path)
    except (OSError, ValueError):  # too long for a name, or a null character in it
        return []
    if not glob.has_magic(name):
        return []
    matched = sorted(Path(match) for match in glob.glob(name, recursive=True))  # noqa: PTH207
    return [path for path in matched if path.is_file() and is_image(path)]
