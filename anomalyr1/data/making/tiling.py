"""Square pieces of large images, for defects that vanish where the whole image is shown small.

A piece either shows a defect whole or shows none: no box is cut, and where a piece shows none, no
pixel of it is marked. (Specks too small for a box may lie beside a defect, as in the whole image.)
Around the defects of an image as many pieces are taken as show each of them once, and equally many
from where the image has none, with the same reference: what is normal and what is not looks alike
in all else. Normal images of the source give as many more as are missing. A reference of an image
gives the same piece of itself.
"""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from math import ceil
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from anomalyr1.data.fault_lists import refusal
from anomalyr1.data.images import BoxOptions, Mask, open_image, read_mask
from anomalyr1.data.making.examining import Examined, examine
from anomalyr1.data.making.frames import frame_remarks
from anomalyr1.data.making.piece_places import Corners, around_defects, clear_places, inside
from anomalyr1.data.making.placing import alike, refuse_collisions, safe_name
from anomalyr1.data.making.shapes import draw
from anomalyr1.data.making.sources.item import Item, Source
from anomalyr1.data.many_cores import Progress, over_files
from anomalyr1.data.seeding import digest
from anomalyr1.errors import InputError
from anomalyr1.schema import Box

T = TypeVar("T")

SMALLEST_PIECE = 28  # pixels a side: what one token of Qwen2.5-VL shows


@contextmanager
def pieces(
    source: Source,
    side: int | None,
    out: Path,
    boxes: BoxOptions,
    seed: int,
    progress: Progress[Item] = iter,
) -> Iterator[Source]:
    """The source in pieces of at most `side` x `side` pixels; as it is where `side` is None.

    Their files last as long as the block.

    Args:
        source: what a reader found.
        side: of a piece; an image that is smaller gives pieces of its own width or height.
        out: the folder that the pieces are for, already there: their files lie hidden in it, so
            that they are on one file system and go with it.
        boxes: how boxes are read from masks.
        seed: of all places.
        progress: wraps the loop over images, for a progress bar.

    Raises:
        InputError: files cannot be used, or no piece shows a defect.
    """
    if side is None:
        yield source
        return
    with tempfile.TemporaryDirectory(dir=out.absolute(), prefix=".pieces-") as folder:
        yield _cut_up(source, side, Path(folder), boxes, seed, progress)


def _cut_up(
    source: Source,
    side: int,
    folder: Path,
    boxes: BoxOptions,
    seed: int,
    progress: Progress[Item],
) -> Source:
    examined: dict[Path, Examined] = {}
    faults: list[str] = []
    work = partial(examine, options=boxes, rescale=source.rescale)
    for item, result in over_files(work, source.items, progress):
        if isinstance(result, InputError):
            faults.append(str(result))
        else:
            examined[item.file] = result
    if faults:
        raise refusal("{} file{s} cannot be used; mend them:", faults)
    knife = _Knife(side, folder, seed, examined)
    asked = [one for one in examined.values() if not one.item.reference]
    defective = [one for one in asked if not one.item.normal]
    around, hidden = list[Item](), 0
    for made, left in _all(knife.around, defective):
        around += made
        hidden += left
    shown = sum(not item.normal for item in around)
    if not shown:
        raise InputError(
            f"expected a defect that fits into a piece of {side} x {side} pixels, found none; "
            "cut larger pieces"
        )
    plain = [one for one in asked if one.item.normal]
    missing = shown - sum(item.normal and not item.reference for item in around)
    each = max(1, ceil(missing / max(1, len(plain))))
    own = {file for one in asked for file in one.item.references}
    pool = [one for file, one in examined.items() if one.item.reference and file not in own]
    clear = [*_all(partial(knife.clear, count=each), plain), *_all(knife.clear, pool)]
    items = _told_apart([*around, *(item for made in clear for item in made)], folder)
    notes = frame_remarks(one.framed for one in examined.values())
    number = sum(not item.reference for item in items)
    notes.append(f"cut into {number} pieces of {side} pixels a side")
    unknown = sum(not one.item.boxes for one in defective)
    if unknown:
        notes.append(f"{unknown} defective images do not say where the defect is: left out")
    if hidden:
        notes.append(
            f"{hidden} defects fit into no piece that shows them well and cuts no other: left out"
        )
    return replace(source, items=items, notes=(*source.notes, *notes), rescale=False)


def _told_apart(pieces: Sequence[Item], folder: Path) -> tuple[Item, ...]:
    """The pieces, each once and with a key of its own.

    Images of one name in two folders give clear pieces that are both called good, and a.png and
    a.jpg pieces that are both called a: those are named by their image's folder and whole name.

    Raises:
        InputError: two have one key all the same.
    """
    pieces = list(dict.fromkeys(pieces))  # two images may share a reference
    number = Counter(alike(piece.key) for piece in pieces)
    named = [
        replace(piece, name=safe_name(f"{piece.file.parent.name}_{piece.file.name}"))
        if number[alike(piece.key)] > 1
        else piece
        for piece in pieces
    ]
    # Their files are gone when a user reads of them; below the folder they say what they show.
    refuse_collisions(replace(piece, file=piece.file.relative_to(folder)) for piece in named)
    return tuple(named)


class _Knife:
    """Cuts images into pieces.

    Args:
        side: of a piece.
        folder: where the pieces go.
        seed: of all places.
        examined: the images of the source by file.
    """

    def __init__(
        self, side: int, folder: Path, seed: int, examined: Mapping[Path, Examined]
    ) -> None:
        self.side, self.folder, self.seed, self.examined = side, folder, seed, examined

    def around(self, one: Examined) -> tuple[list[Item], int]:
        """Pieces around the defects of an image and from where it has none; defects in none."""
        known, drawn = one.item.boxes or (), self._drawn(one)
        shots, marks = self._open(one), _marks(one)
        worth = partial(_is_worth, shots)
        around = around_defects(known, one.size, self.side, drawn, worth)
        sound = partial(_is_sound, shots, marks)
        clear = clear_places(known, one.size, self.side, len(around), drawn, sound)
        made = [item for place in (*around, *clear) for item in self._cut(one, shots, place, marks)]
        return made, sum(not any(inside(box, place) for place in around) for box in known)

    def clear(self, one: Examined, count: int = 1) -> list[Item]:
        """Pieces of a normal image."""
        shots = self._open(one)
        worth = partial(_is_worth, shots)
        places = clear_places((), one.size, self.side, count, self._drawn(one), worth)
        return [item for place in places for item in self._cut(one, shots, place)]

    def _drawn(self, one: Examined) -> random.Random:
        return random.Random(digest(self.seed, one.item.key, "pieces"))

    def _open(self, one: Examined) -> list[Image.Image]:
        """The image, then its references, all of one size."""
        shots = [open_image(file) for file in (one.item.file, *one.item.references)]
        for shot, file in zip(shots[1:], one.item.references, strict=True):
            if shot.size != one.size:
                raise InputError(
                    f"expected the reference {file} to have the {one.size[0]} x {one.size[1]} "
                    f"pixels of {one.item.file}, found {shot.width} x {shot.height}; bring one of "
                    "that size"
                )
        return shots

    def _cut(
        self,
        one: Examined,
        shots: Sequence[Image.Image],
        place: Corners,
        marks: Mask | None = None,
    ) -> list[Item]:
        """One piece, after those of its references."""
        references = [
            self._save(self.examined[file], shot, place)
            for shot, file in zip(shots[1:], one.item.references, strict=True)
        ]
        item, (x, y) = self._save(one, shots[0], place), place[:2]
        held = [box for box in one.item.boxes or () if inside(box, place)]
        if not held:
            own = replace(item, folder="good", defects=(), mask=None, boxes=(), shapes=())
        else:
            labels = {box.label for box in held}
            several = len(item.defects) > 1
            kinds = tuple(d for d in item.defects if d in labels) if several else item.defects
            own = replace(
                item,
                folder=safe_name(kinds[0]) if several and len(kinds) == 1 else item.folder,
                defects=kinds,
                mask=None if marks is None else _save_mask(marks, item.file, place),
                boxes=tuple(Box(b.x1 - x, b.y1 - y, b.x2 - x, b.y2 - y, b.label) for b in held),
                shapes=(),
            )
        files = tuple(reference.file for reference in references)
        return [*references, replace(own, references=files)]

    def _save(self, one: Examined, shot: Image.Image, place: Corners) -> Item:
        item, at = one.item, f"{place[0]}_{place[1]}.png"
        file = self.folder / f"{item.key}_{at}"  # a file for each key and place
        file.parent.mkdir(parents=True, exist_ok=True)
        shot.crop(place).save(file)
        name, group = f"{Path(item.name).stem}_{at}", item.group or item.key
        return replace(item, file=file, name=name, group=group, declared=None, levels=one.levels)


def _marks(one: Examined) -> Mask | None:
    """The marked pixels of an image; None where its source marks none."""
    if one.item.mask is not None:
        return read_mask(one.item.mask)
    return draw(one.item.shapes, one.size) if one.item.shapes else None


def _shown(marks: Mask, place: Corners) -> Mask:
    x1, y1, x2, y2 = place
    return np.asarray(marks[y1:y2, x1:x2])


def _save_mask(marks: Mask, piece: Path, place: Corners) -> Path:
    file = piece.with_name(f"{piece.stem}_mask.png")
    Image.fromarray(_shown(marks, place)).save(file)
    return file


def _is_sound(shots: Sequence[Image.Image], marks: Mask | None, place: Corners) -> bool:
    """True of a place worth showing where no pixel is marked, be it too few of them for a box."""
    return (marks is None or not _shown(marks, place).any()) and _is_worth(shots, place)


def _is_worth(shots: Sequence[Image.Image], place: Corners) -> bool:
    """False where the image or a reference has one colour, or both are the same."""
    piece, *references = (np.asarray(shot.crop(place)) for shot in shots)
    several = all((shot != shot[0, 0]).any() for shot in (piece, *references))
    return several and not any(np.array_equal(piece, other) for other in references)


def _all(cut: Callable[[Examined], T], images: Sequence[Examined]) -> list[T]:
    made = []
    for _, result in over_files(cut, images):
        if isinstance(result, InputError):
            raise result
        made.append(result)
    return made
