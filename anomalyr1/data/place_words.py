"""Texts that name a place in the image: which can follow a turned or cropped image, and how.

Options that are cells of the 3x3 grid follow: "Top left." of a mirrored image is "Top right.". All
other texts are somebody's own words. "The top of the bottle" is its neck whichever way the image
is turned, "the letter on the left" is not: nobody knows, so such a row is shown as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from anomalyr1.geometry import CELLS, View, grid_cell, touched_cells
from anomalyr1.schema import Box, Question
from anomalyr1.values import in_words

# "right" as in "which is right" stands among them: better a row unturned than one turned wrongly.
_DIRECTIONS = r"""
    top|bottom|left|right|upper|lower|above|below|up|down|upwards?|downwards?|upside|upright|
    uppermost|lowermost|topmost|bottommost|leftmost|rightmost|left-?hand|right-?hand|
    horizontal|horizontally|vertical|vertically|clockwise|counter-?clockwise|anti-?clockwise|
    rows?|columns?|north|south|east|west
"""
_EXTENTS = r"""
    cent(?:er|re)s?|central|middle|corners?|edges?|sides?|borders?|margins?|half|quarter|
    how\ many|number\ of
"""
_TURNED = re.compile(rf"\b(?:{_DIRECTIONS})\b", re.I | re.X)
_CROPPED = re.compile(rf"\b(?:{_DIRECTIONS}|{_EXTENTS})\b", re.I | re.X)


def allows_turns(question: Question, texts: Iterable[str] = ()) -> bool:
    """Whether all that is said of an image stays true, or can follow, when the image is turned.

    Args:
        question: as it is asked.
        texts: what else is shown or answered: knowledge, labels of boxes.

    >>> allows_turns(Question("What is printed in the lower half?", "Object Details"))
    False
    """
    return not any(_TURNED.search(text) for text in _free_texts(question, texts))


def allows_crops(
    question: Question,
    boxes: Sequence[Box] | None,
    size: tuple[int, int],
    texts: Iterable[str] = (),
) -> bool:
    """Whether it stays true, or can follow, when a part is shown that keeps the gold boxes.

    Args:
        question: as it is asked.
        boxes: gold boxes in the image; None where they are not known.
        size: (width, height) of the image.
        texts: what else is shown or answered.
    """
    if boxes is None or question.subtask == "Object Analysis":
        return False
    if cells_of(question) and not _asks_for_largest(question, boxes, size):
        return False
    return not any(_CROPPED.search(text) for text in _free_texts(question, texts))


def cells_of(question: Question) -> dict[str, str]:
    """The cell that each option names, by letter; empty where one names none.

    >>> cells_of(Question("Where?", "", {"A": "Top left.", "B": "Center."}))
    {'A': 'top left', 'B': 'center'}
    """
    cells = {letter: text.rstrip(".").lower() for letter, text in question.options.items()}
    return cells if cells and set(cells.values()) <= set(CELLS) else {}


def follow(
    question: Question, boxes: Sequence[Box] | None, view: View, size: tuple[int, int]
) -> Question | None:
    """The question about the view of an image; None where its options cannot follow a crop.

    The letter of the answer stays. Where the answer is the cell of the largest gold box, it is that
    of the largest box in the view, against cells that no box touches there.

    Args:
        question: about the image, with its gold boxes in the image's pixels if it has its own.
        boxes: gold boxes in the image; None where they are not known.
        view: what is shown of it.
        size: (width, height) of the image.
    """
    if question.boxes is not None:
        question = replace(question, boxes=view.boxes(question.boxes, size))
    cells = cells_of(question)
    if not cells or view == View():
        return question
    moved = {letter: _turned_cell(cell, view) for letter, cell in cells.items()}
    if boxes and _asks_for_largest(question, boxes, size):
        shown = view.boxes(boxes, size)
        moved = _recast(moved, str(question.answer), shown, view.turn.size(size))
    if not moved:
        return None
    options = {
        letter: _like(text, moved[letter]) if moved[letter] != cells[letter] else text
        for letter, text in question.options.items()
    }
    return replace(question, options=options)


def _free_texts(question: Question, texts: Iterable[str]) -> list[str]:
    options = [] if cells_of(question) else list(question.options.values())
    return [in_words(text) for text in (question.text, *options, *texts)]


def _asks_for_largest(question: Question, boxes: Sequence[Box], size: tuple[int, int]) -> bool:
    """Whether the right cell is that of the largest box, as `data build` asks."""
    right = cells_of(question).get(question.answer or "")
    return bool(boxes) and right == grid_cell(max(boxes, key=lambda box: box.area), *size)


def _turned_cell(cell: str, view: View) -> str:
    row, column = divmod(CELLS.index(cell), 3)
    return grid_cell(view.turn.box(Box(column, row, column + 1, row + 1), (3, 3)), 3, 3)


def _recast(
    moved: dict[str, str], answer: str, shown: Sequence[Box], size: tuple[int, int]
) -> dict[str, str]:
    """Cells by letter that are right and wrong for the boxes shown; empty where too few are free.

    Wrong options keep the cell they moved to where no box touches it.
    """
    gold = grid_cell(max(shown, key=lambda box: box.area), *size)
    barred = touched_cells(shown, *size) | {gold}
    kept = {x: cell for x, cell in moved.items() if x != answer and cell not in barred}
    free = iter([cell for cell in CELLS if cell not in barred | set(kept.values())])
    recast: dict[str, str] = {}
    for letter in moved:
        cell = gold if letter == answer else kept.get(letter) or next(free, None)
        if cell is None:
            return {}
        recast[letter] = cell
    return recast


def _like(text: str, cell: str) -> str:
    """A cell written as the text of an option was."""
    cell = cell.capitalize() if text[:1].isupper() else cell
    return cell + "." * text.endswith(".")
