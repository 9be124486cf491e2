"""What an inspection of many files has done: a line a file, an overlay a file, and its settings.

A file is known by its path, size and time of change: the same one is never inspected twice in one
folder of results, one that was written anew under its old name is.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from anomalyr1.errors import InputError
from anomalyr1.inspection.result import Inspection
from anomalyr1.run_folder import INSPECTIONS, INSPECTIONS_ORIGIN, OVERLAYS
from anomalyr1.segmentation.overlay import png_bytes
from anomalyr1.settings_card import differences
from anomalyr1.storage import append_jsonl, read_json, resume_jsonl, write_bytes, write_json
from anomalyr1.values import file_stem

FileId = tuple[str, int, int]  # path, bytes, time of change in nanoseconds


def file_id(path: Path) -> FileId:
    """What a file is known by.

    Raises:
        OSError: it is gone, or may not be looked at.
    """
    stat = path.stat()
    return str(path.absolute()), stat.st_size, stat.st_mtime_ns


class Ledger:
    """The results of files, in a folder or, without one, in memory alone.

    A row is an object as in `inspections.jsonl`: that of `Inspection.as_dict` or, for a file that
    could not be inspected, its `error`; with `file`, what the file is known by, and `overlay`, its
    picture relative to the folder. Rows are handed on, not kept: a watch may last for months.

    Attributes:
        done: the files that are done.
        before: the rows that the folder had already of the files that were asked for.
    """

    def __init__(
        self, out: Path | None, settings: Mapping[str, Any], files: Collection[FileId] = ()
    ) -> None:
        self.out = out
        self.done: set[FileId] = set()
        self.before: dict[FileId, dict[str, Any]] = {}
        if out is None:
            return
        origin = out / INSPECTIONS_ORIGIN
        _require_alike(origin, settings)
        for row in resume_jsonl(out / INSPECTIONS, "inspections", _with_file):
            path, size, changed = row["file"]
            self.done.add((path, size, changed))
            if (path, size, changed) in files:
                self.before[path, size, changed] = row
        write_json(origin, dict(settings))

    def add(self, identity: FileId, found: Inspection | str) -> dict[str, Any]:
        """Keep what was found of a file, or why it could not be inspected.

        The overlay is there before the line that names it, so that a run which is cut off between
        the two draws it again.
        """
        row: dict[str, Any] = {"file": list(identity)}
        if isinstance(found, str):
            row |= {"image": identity[0], "error": found}
        else:
            overlay = f"{OVERLAYS}/{file_stem(Path(identity[0]).stem, identity)}.png"
            row |= {**found.as_dict(), "overlay": None if self.out is None else overlay}
            if self.out is not None:
                write_bytes(self.out / overlay, png_bytes(found.overlay()))
        if self.out is not None:
            append_jsonl(self.out / INSPECTIONS, [row])
        self.done.add(identity)
        return row


def _require_alike(origin: Path, settings: Mapping[str, Any]) -> None:
    if not origin.exists():
        return
    before = read_json(origin, "the settings of the inspections")
    unlike = differences(before if isinstance(before, dict) else {}, settings)
    if unlike:
        raise InputError(
            f"expected the inspections in {origin.parent} to be made with the same settings, found "
            f"others: {'; '.join(unlike)}; choose another folder for --out"
        )


def _with_file(row: dict[str, Any], number: int) -> dict[str, Any]:
    file = row.get("file")
    kinds = [type(value) for value in file] if isinstance(file, list) else []
    if kinds != [str, int, int]:
        raise InputError(
            f"expected `file` as [path, bytes, time] in line {number} of {INSPECTIONS}, found "
            f"{file!r}; mend or remove the line"
        )
    return row
