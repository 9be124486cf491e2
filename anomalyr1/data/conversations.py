"""Training rows of VLM-R1 and ms-swift, this program's or another's, read back as samples.

Every pair of turns is a question, in the order of the conversation. An answer is an option letter
(also `B. Dent.` or the option's text), or a list of boxes, or both (`B`, then the boxes). Boxes are
pixels of the query image unless `frame` says otherwise, and must lie inside it.

Of ms-swift's `objects` (`ref`, `bbox`, `bbox_type` real, norm1 or norm1000) the places
`<ref-object>` and `<bbox>` of the messages are filled in, in their order.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from anomalyr1.data.answers_of_an_image import joined
from anomalyr1.data.images import image_size, missing_image
from anomalyr1.data.turns import FRAMES, IMAGE, BoxFrame, Turn, other_form, read_turns
from anomalyr1.errors import InputError, unknown
from anomalyr1.geometry import clamp
from anomalyr1.parsing.box_lists import read_boxes, split_list
from anomalyr1.schema import ANOMALY_DETECTION, GROUNDING, QUESTION_TYPES, Box, Question, Sample
from anomalyr1.storage import read_json, read_jsonl_as
from anomalyr1.values import has_half_character, is_number, is_plain_path

SLACK = 1.0  # pixels that a box may end outside its image

_SCALES = {"unit": 1.0, "thousand": 1000.0}
_OPTION = re.compile(r"^\(?([A-Z])[.):]\s+(.+)$", re.M)
_ANSWER = re.compile(r"<answer>(.*?)</answer>", re.S)
_LETTER = re.compile(r"\(?([A-Za-z])\)?[.):]?(?:\s+(.*))?", re.S)


# (image, references, question, boxes, whether the answer names them) of a pair of turns
_Pair = tuple[str, list[str], Question, tuple[Box, ...] | None, bool]
_Asked = tuple[str | None, str | None, list[_Pair]]  # mask, side, pairs of turns of a row


def read_rows(
    file: Path,
    image_root: Path,
    default_type: str = "Object Analysis",
    *,
    frame: str = "pixels",
) -> list[Sample]:
    """Read rows of either form.

    Args:
        file: JSON lines, or a JSON list of rows.
        image_root: folder that the images lie under.
        default_type: type of a choice question of which neither a key nor Yes/No tells it.
        frame: what the boxes count in: `pixels` of the image, `unit` (0 to 1) or `thousand`.

    Returns:
        One sample an image, in the order of first mention. The last image shown before a question
        is the query, those before it are references. Its boxes are those of all its answers
        together; a grounding question keeps its own.

    Raises:
        InputError: a row is of neither form, an image lies outside `image_root`, or a box outside
            its image; file and line are named.
    """
    if frame not in FRAMES:
        raise unknown("boxes in a frame", frame, FRAMES)
    samples: dict[str, Sample] = {}
    root = image_root.absolute()
    reader = _Reader(root, default_type, next(f for f in FRAMES if f == frame))

    def read(row: dict[str, Any], number: int) -> _Asked:
        where = f"row {number} of {file}" if file.suffix == ".json" else f"{file}:{number}"
        mask, split = _kept(row, "mask", where), _kept(row, "split", where)
        mask = None if mask is None else _key(mask, root, where)
        return mask, split, list(reader.questions(row, where))

    beside: dict[str, tuple[Box, ...] | None] = {}  # boxes that stand beside an answer only
    for mask, split, asked in _read(file, read):
        for key, references, question, boxes, named in asked:
            known = samples.get(key) or Sample(key, root, (), mask=mask, split=split)
            if not named and beside.get(key) is None:
                beside[key] = boxes
            samples[key] = joined(
                known,
                replace(
                    known,
                    questions=(question,),
                    random_templates=tuple(references),
                    boxes=boxes if named else None,
                ),
            )
    return [
        replace(s, boxes=beside[s.image]) if s.boxes is None and s.image in beside else s
        for s in samples.values()
    ]


def kept_boxes(boxes: Sequence[Box] | None) -> list[list[Any]] | None:
    """Gold boxes as the exporter keeps them beside the answer, unrounded, with labels."""
    return None if boxes is None else [[*box.xyxy, box.label] for box in boxes]


def _read(file: Path, read: Callable[[dict[str, Any], int], _Asked]) -> list[_Asked]:
    if file.suffix != ".json":
        return read_jsonl_as(read, file, "exported rows")
    rows = read_json(file, "a list of training rows")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InputError(
            f"expected a list of training rows in {file}, found something else; mend the file"
        )
    return [read(row, number) for number, row in enumerate(rows, start=1)]


class _Reader:
    """Rows under one root, with the sizes of the images met so far."""

    def __init__(self, root: Path, default_type: str, frame: BoxFrame) -> None:
        self._root = root
        self._default_type = default_type
        self._frame = frame
        self._sizes: dict[str, tuple[int, int] | None] = {}

    def questions(self, row: dict[str, Any], where: str) -> Iterator[_Pair]:
        """Every pair of turns of a row."""
        turns, frame = read_turns(row, where)
        ours = len(turns) == 1  # the keys beside the conversation speak of one question
        for number, turn in enumerate(turns, start=1):
            here = where if ours else f"{where}, question {number}"
            keys = [_key(image, self._root, here) for image in turn.images]
            question, stated = _question(row if ours else {}, turn, self._default_type, here)
            exact = _unrounded(row, stated, question) if ours else None
            if exact is not None:
                boxes = self._held(exact[0], keys[-1], None, here)
            else:
                boxes = self._held(stated, keys[-1], frame or self._frame, here)
            if question.is_grounding:
                question = replace(question, boxes=boxes)
            yield keys[-1], keys[:-1], question, boxes, stated is not None

    def _held(
        self, boxes: tuple[Box, ...] | None, key: str, frame: BoxFrame | None, where: str
    ) -> tuple[Box, ...] | None:
        """The boxes in pixels, inside their image; a missing image is told of elsewhere.

        `frame` is None for boxes that are pixels by the exporter's word.
        """
        if not boxes:
            return boxes
        if key not in self._sizes:
            path = self._root / key
            there = os.path.isfile(path)  # noqa: PTH113 (Path.is_file raises on some names)
            self._sizes[key] = image_size(path) if there else None
        size = self._sizes[key]
        corners = [value for box in boxes for value in box.xyxy]
        if frame == "pixels":
            if max(corners) <= 1 and min(corners) >= 0:
                raise InputError(
                    f"expected boxes in pixels at {where}, found unit boxes (0 to 1) like "
                    f"{list(boxes[0].xyxy)}; say that they are: boxes=unit"
                )
            scaled = boxes
        elif frame is None:
            scaled = boxes
        elif size is None:
            raise missing_image(key, where)
        else:
            sx, sy = size[0] / _SCALES[frame], size[1] / _SCALES[frame]
            scaled = tuple(Box(b.x1 * sx, b.y1 * sy, b.x2 * sx, b.y2 * sy, b.label) for b in boxes)
        if size is None:
            return scaled
        return tuple(_inside(box, size, frame, where) for box in scaled)


def _inside(box: Box, size: tuple[int, int], frame: BoxFrame | None, where: str) -> Box:
    width, height = size
    out = max(-box.x1, -box.y1, box.x2 - width, box.y2 - height)
    cut = clamp(box, width, height) if out > 0 else box
    if out > SLACK or cut.area <= 0:
        advice = "mend them"
        if frame == "pixels":
            advice = "mend them, or say boxes=thousand if they are in thousandths"
        what = "inside" if out > SLACK else "with an area inside"
        raise InputError(
            f"expected boxes {what} the {width} x {height} pixels of the image at {where}, found "
            f"{[round(value, 2) for value in box.xyxy]}; {advice}"
        )
    return cut


def _question(
    row: Mapping[str, Any], turn: Turn, default_type: str, where: str
) -> tuple[Question, tuple[Box, ...] | None]:
    """The question, and the boxes that its answer states (as written)."""
    tagged = _ANSWER.search(turn.answer)
    answer = (tagged[1] if tagged else turn.answer).strip()
    options = row.get("options") or dict(_OPTION.findall(turn.text))
    if not isinstance(options, dict) or not all(isinstance(o, str) for o in options.values()):
        raise other_form(where, f"options {str(options)[:40]!r}")
    stated = row.get("question")
    text = stated if isinstance(stated, str) and stated.strip() else _bare(turn.text)
    around, listed = split_list(answer)
    boxes = None if listed is None else read_boxes(listed)[0]
    if not options:
        if boxes is None:
            raise InputError(
                f"expected an option letter or a list of boxes as the answer at {where}, found "
                f"{answer[:60]!r}: a free answer cannot be scored; leave the row out"
            )
        if not text or has_half_character(text):
            raise other_form(where, "a turn without a question, or with half a character")
        return Question(text, GROUNDING, boxes=boxes), boxes
    letter = _letter(around, options)
    if letter is None:
        raise other_form(where, f"the answer {answer[:40]!r} is none of the options")
    if not text or any(map(has_half_character, (text, *options, *options.values()))):
        raise other_form(where, "a turn without a question, or with half a character")
    kind = row.get("question_type")
    if kind not in QUESTION_TYPES or kind == GROUNDING:
        plain = {option.strip().rstrip(".").casefold() for option in options.values()}
        kind = ANOMALY_DETECTION if plain == {"yes", "no"} else default_type
    return Question(text, kind, options, letter), boxes


def _letter(answer: str, options: Mapping[str, str]) -> str | None:
    """The option an answer names: its letter, its letter and text, or its text."""
    plain = {letter: _plain(text) for letter, text in options.items()}
    found = _LETTER.fullmatch(answer.strip())
    if found and found[1].upper() in options:
        rest = _plain(found[2] or "")
        if not rest or rest == plain[found[1].upper()]:
            return found[1].upper()
    named = [letter for letter, text in plain.items() if text == _plain(answer)]
    return named[0] if len(named) == 1 else None


def _unrounded(
    row: Mapping[str, Any], boxes: tuple[Box, ...] | None, question: Question
) -> tuple[tuple[Box, ...] | None] | None:
    """The exporter's own record of the boxes, in a tuple of one; None where the answer was edited.

    Rows of other programs have none either.
    """
    if "key" not in row or "boxes" not in row:
        return None
    kept = row["boxes"]
    if kept is None:  # not on record; an `inspect` answer then lists none
        return (None,) if not boxes and not question.is_grounding else None
    if not isinstance(kept, list) or not all(_is_kept(entry) for entry in kept):
        return None
    exact = tuple(Box(*entry) for entry in kept)
    if boxes is None:  # a letter alone
        return (exact,)
    same = [([round(v) for v in b.xyxy], b.label or "defect") for b in exact]
    return (exact,) if same == [([round(v) for v in b.xyxy], b.label) for b in boxes] else None


def _is_kept(entry: Any) -> bool:
    return (
        isinstance(entry, list)
        and len(entry) == 5
        and all(map(is_number, entry[:4]))
        and (entry[4] is None or isinstance(entry[4], str))
    )


def _kept(row: Mapping[str, Any], name: str, where: str) -> str | None:
    value = row.get(name)
    if value is not None and not isinstance(value, str):
        raise other_form(where, f"a {name} that is no text")
    return value


def _bare(text: str) -> str:
    """The question itself: the lines before the first option, without image marks."""
    head = _OPTION.split(text.replace(IMAGE, ""), maxsplit=1)[0]
    return head.strip()


def _plain(text: str) -> str:
    return " ".join(text.split()).rstrip(".").casefold()


def _key(image: str, root: Path, where: str) -> str:
    path = Path(image.replace("\\", "/"))
    if path.is_absolute():
        try:
            path = path.relative_to(root)
        except ValueError:
            path = Path("..")
    if ".." in path.parts or not path.parts or not is_plain_path(image):
        raise InputError(
            f"expected images below {root} at {where}, found {image!r}; give their folder, or mend "
            "the row"
        )
    return path.as_posix()
