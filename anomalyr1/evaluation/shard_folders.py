"""An evaluation in parts on machines that know nothing of each other, and the whole from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

from anomalyr1 import run_folder
from anomalyr1.config import Config
from anomalyr1.errors import InputError, listed
from anomalyr1.evaluation.kept_settings import known_settings, unlike
from anomalyr1.evaluation.prediction_lines import read_predictions, resume_predictions
from anomalyr1.evaluation.shards import Shard
from anomalyr1.provenance import read_provenance
from anomalyr1.run_lock import run_lock
from anomalyr1.storage import read_json, read_jsonl, write_json, write_jsonl

SHARD = "shard"  # in the record of where predictions come from
_ORIGIN = "the origin of a shard's predictions"


def in_own_folder(config: Config) -> Config:
    """The config of a shard works in `<run_dir>/shard-i-of-n`; of a whole, where it says.

    Raises:
        InputError: `eval.shard` names none.
    """
    if config.eval.shard is None:
        return config
    shard = Shard.parse(config.eval.shard)
    name = f"shard-{shard.number}-of-{shard.of}"
    return replace(config, run_dir=str(Path(config.run_dir) / name))


def gather_shards(folders: Sequence[Path], out: Path) -> Path:
    """Put the shards of one evaluation together in a run folder, as if it had not been divided.

    A folder in which this was broken off is gathered to its end, and one in which it was done is
    left as it is.

    Args:
        folders: of the shards, in any order.
        out: the run folder; other predictions than these shards' are refused.

    Returns:
        The predictions.

    Raises:
        InputError: a folder holds no shard; the shards are not all there, were made with other
            settings or of other benchmarks, or answer a question twice or not at all. All of them
            are named.
    """
    parts = [_Part(folder) for folder in folders]
    _require_like(parts)
    _require_all(parts)
    parts.sort(key=lambda part: part.number)
    lines = _in_turn([part.by_image() for part in parts])
    path, origin = out / run_folder.PREDICTIONS, out / run_folder.PREDICTIONS_ORIGIN
    if path.exists() and read_jsonl(path, "predictions") != lines:
        raise InputError(
            f"expected no predictions in {out} but those of these shards, found others; give "
            "another --out"
        )
    if path.exists() and origin.exists():
        return path
    with run_lock(out):
        write_jsonl(path, lines)
        for name in sorted({name for part in parts for name in part.masks}):
            if all(name in part.masks for part in parts):
                rows = [row for part in parts for row in read_jsonl(part.masks[name], "masks")]
                write_jsonl(out / run_folder.MASKS / name, rows)
        runs = [run for part in parts for run in part.runs()]
        write_json(out / run_folder.PROVENANCE, {"runs": runs})
        write_json(out / run_folder.PREDICTIONS_SETTINGS, parts[0].card)
        # Last: with it the folder is a run that an evaluation goes on with.
        write_json(origin, parts[0].settings)
    return path


class _Part:
    """A shard's folder as it is read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        origin = folder / run_folder.PREDICTIONS_ORIGIN
        if not origin.is_file() or not (folder / run_folder.PREDICTIONS).is_file():
            raise InputError(
                f"expected a shard of an evaluation in {folder}, found no "
                f"{run_folder.PREDICTIONS_ORIGIN} beside {run_folder.PREDICTIONS}; give folders "
                "that `anomalyr1 eval --shard` made"
            )
        record = read_json(origin, _ORIGIN)
        shard = record.get(SHARD) if isinstance(record, dict) else None
        if not isinstance(shard, dict) or not {"number", "of", "questions"} <= shard.keys():
            raise InputError(
                f"expected a shard in {folder}, found a whole evaluation; leave it out"
            )
        self.settings: dict[str, Any] = {k: v for k, v in record.items() if k != SHARD}
        self.number, self.count = int(shard["number"]), int(shard["of"])
        self.questions = int(shard["questions"])
        self.card = known_settings(folder / run_folder.PREDICTIONS)
        read_predictions(folder / run_folder.PREDICTIONS)
        self.lines = resume_predictions(folder / run_folder.PREDICTIONS)
        masks = (folder / run_folder.MASKS).glob("*.jsonl")
        self.masks = {file.name: file for file in masks}

    def by_image(self) -> list[list[dict[str, Any]]]:
        """The lines of each image, in the order of the file."""
        return [list(lines) for _, lines in groupby(self.lines, key=lambda line: line["image"])]

    def runs(self) -> list[dict[str, Any]]:
        """What the shard's folder remembers."""
        path = self.folder / run_folder.PROVENANCE
        return list(read_provenance(path)["runs"]) if path.is_file() else []


def _require_like(parts: Sequence[_Part]) -> None:
    first = parts[0]
    for part in parts[1:]:
        changed = [
            name
            for name in (*first.settings, *(k for k in part.settings if k not in first.settings))
            if first.settings.get(name) != part.settings.get(name)
        ]
        changed += unlike(first.card, part.card).fields
        if part.count != first.count:
            changed.append(f"number of shards ({first.count} and {part.count})")
        if changed:
            raise InputError(
                f"expected shards of one evaluation, found {first.folder} and {part.folder}, which "
                f"differ in {', '.join(changed)}; give those that were made alike"
            )


def _require_all(parts: Sequence[_Part]) -> None:
    count = parts[0].count
    given = Counter(part.number for part in parts)
    faults = [f"no shard {n}/{count}" for n in range(1, count + 1) if n not in given]
    faults += [f"shard {n}/{count} {times} times" for n, times in given.items() if times > 1]
    faults += [
        f"{len(part.lines)} of {part.questions} questions answered in {part.folder}"
        for part in parts
        if len(part.lines) != part.questions
    ]
    holders: dict[tuple[str, int], list[str]] = {}
    for part in parts:
        for line in part.lines:
            key = line["image"], line["question_index"]
            holders.setdefault(key, []).append(str(part.folder))
    faults += [
        f"question {index} of {image} in {' and in '.join(folders)}"
        for (image, index), folders in holders.items()
        if len(folders) > 1
    ]
    if faults:
        raise InputError(
            f"expected the {count} shards of one evaluation, each whole and each question once, "
            f"found {listed(faults, separator='; ')}; run what is missing to its end with "
            "`anomalyr1 eval --shard`"
        )


def _in_turn(shares: Sequence[list[list[dict[str, Any]]]]) -> list[dict[str, Any]]:
    """An image of each share after the other: the order of the benchmark."""
    longest = max(map(len, shares))
    return [
        line
        for place in range(longest)
        for images in shares
        if place < len(images)
        for line in images[place]
    ]
