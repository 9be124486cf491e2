"""Samples of the rows that one file holds, or VLM-R1's data.yaml names."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeGuard

from anomalyr1.data.answers_of_an_image import are_parts, joined
from anomalyr1.data.conversations import read_rows
from anomalyr1.data.making.placing import two_files
from anomalyr1.data.mixture import Part, holds_rows, read_mixture, sample_part
from anomalyr1.errors import InputError
from anomalyr1.schema import Sample
from anomalyr1.storage import read_jsonl


def read_samples(file: Path, settings: Mapping[str, str]) -> list[Sample]:
    """One sample an image of all rows; of data.yaml, of the rows of all its parts.

    Args:
        file: rows, or VLM-R1's data.yaml.
        settings: images=DIR, and boxes=FRAME for rows of which data.yaml does not say it.

    Raises:
        InputError: the rows cannot be read, or their answers do not fit one record an image.
    """
    samples: dict[str, Sample] = {}
    for number, part in enumerate(_parts(file, settings.get("boxes"))):
        given = settings.get("images")
        root = file.parent / given if given else part.image_root or _root(part.path)
        rows = read_rows(part.path, root, frame=part.frame)
        for sample in sample_part(rows, part.strategy, (0, number)):
            known = samples.get(sample.image)
            if known is not None and known.root != sample.root:
                raise two_files(sample.image, known.path, sample.path)
            samples[sample.image] = sample if known is None else joined(known, sample)
    if not samples:
        raise InputError(f"expected rows in {file}, found none; check the file")
    for sample in samples.values():
        _require_parts(sample)
    return list(samples.values())


def _parts(file: Path, boxes: str | None) -> list[Part]:
    """The files of rows; `boxes` is the setting, for those that do not say it themselves.

    Raises:
        InputError: a part is a benchmark, is to come more than once, or says other boxes.
    """
    if file.suffix not in (".yaml", ".yml"):
        return [Part(file, boxes=boxes)]
    parts = read_mixture(file)
    if not all(holds_rows(part) for part in parts):
        raise InputError(
            f"expected json_path to name rows in {file}, found a benchmark; take it as it is"
        )
    for part in parts:
        if boxes is not None and part.boxes not in (None, boxes):
            raise InputError(
                f"expected the boxes of {part.path} as {file} has them ({part.boxes}), found "
                f"boxes={boxes}; leave the setting out, or change the file"
            )
        if part.weight != 1:
            raise InputError(
                f"expected no weight for {part.path} in {file}, found {part.weight:g}: a benchmark "
                "has an image once; take it out, and give it where a mixture is trained on"
            )
    return [replace(part, boxes=part.boxes or boxes) for part in parts]


def _require_parts(sample: Sample) -> None:
    """Refuse answers about places that a record cannot hold beside the boxes of its image.

    Raises:
        InputError: they are neither all boxes of the image nor, together, its parts.
    """
    gold = sorted(box.xyxy for box in sample.boxes or ())
    answers = [sorted(box.xyxy for box in q.boxes) for q in sample.questions if q.boxes is not None]
    if any(answer != gold for answer in answers) and not are_parts(answers, gold):
        raise InputError(
            f"expected the boxes of all answers about {sample.image} in those to its questions "
            "about places, found other boxes in an answer with a letter; mend its rows"
        )


def _root(file: Path) -> Path:
    """The image folder: the file's, or what the absolute paths of the first row begin with."""
    rows = read_jsonl(file, "exported rows")[:1] if file.suffix == ".jsonl" else []
    for row in rows:
        images = row.get("images", row.get("image"))
        named = [n for n in (images if isinstance(images, list) else [images]) if _absolute(n)]
        key = row.get("key")
        if named and isinstance(key, str) and key and named[-1].endswith(f"/{key}"):
            return Path(named[-1][: -len(key) - 1] or "/")
        if named:
            return Path(os.path.commonpath([str(Path(name).parent) for name in named]))
    return file.parent


def _absolute(name: object) -> TypeGuard[str]:
    return isinstance(name, str) and Path(name).is_absolute()
