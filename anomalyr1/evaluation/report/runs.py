"""A run folder as the report reads it: whatever of its files is there."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from anomalyr1.data.mmad import MANIFEST_NAME
from anomalyr1.errors import InputError
from anomalyr1.evaluation.image_readings import PredictionReading, image_readings, readings_of
from anomalyr1.evaluation.localization import read_masks
from anomalyr1.evaluation.prediction_lines import read_predictions
from anomalyr1.evaluation.score import measure
from anomalyr1.provenance import read_provenance
from anomalyr1.run_folder import (
    BEFORE,
    CONFIG,
    HISTORY,
    MASKS,
    PREDICTIONS,
    PROVENANCE,
    WARNINGS,
    masks_file,
)
from anomalyr1.segmentation.names import SEGMENTERS
from anomalyr1.storage import read_json, read_jsonl
from anomalyr1.text_files import read_text


@dataclass(frozen=True)
class Run:
    """One run: its files as far as they exist, its completions read and measured.

    `name` is that of no other run on a page. `warnings` are what the guard of the training
    has said. `masks` maps an image to its line of the best segmenter's file, `segmenter`. `root` is
    the data root of the images, None where nothing tells it.
    """

    name: str
    path: Path
    config: str | None
    provenance: Mapping[str, Any]
    history: Sequence[Mapping[str, Any]]
    warnings: Sequence[Mapping[str, Any]]
    readings: Sequence[PredictionReading]
    metrics: Mapping[str, Any] | None
    masks: Mapping[str, Mapping[str, Any]]
    segmenter: str | None
    root: Path | None


def load_runs(folders: Sequence[Path], root: Path | None = None) -> list[Run]:
    """Read run folders; a folder's own `before/` predictions, unless given, are a run beside it.

    Raises:
        InputError: a folder is not there or holds nothing to report, or a file in it is broken.
    """
    given = [folder.parent if folder.name == PREDICTIONS else folder for folder in folders]
    for path in given:
        if not path.is_dir():
            raise InputError(f"expected a run folder at {path}, found none; check the path")
    resolved = {path.resolve() for path in given}
    named: list[tuple[str, Path]] = []
    for name, path in zip(told_apart(given), given, strict=True):
        named.append((name, path))
        before = path / BEFORE
        if (before / PREDICTIONS).exists() and before.resolve() not in resolved:
            named.append((BEFORE if len(given) == 1 else f"{name}, {BEFORE}", before))
    names = _numbered(name for name, _ in named)
    return [_load(path, name, root) for name, (_, path) in zip(names, named, strict=True)]


def told_apart(folders: Sequence[Path]) -> list[str]:
    """Names of folders, no two alike: the end of each path, as long as tells it from the others.

    A folder that is given again has a number behind its name.

    >>> told_apart([Path("/x/a"), Path("/x/b"), Path("/y/b"), Path("/x/a")])
    ['a', 'x/b', 'y/b', 'a (2)']
    """
    paths = [folder.resolve() for folder in folders]
    return _numbered(_end(path, set(paths) - {path}) for path in paths)


def _end(path: Path, others: Collection[Path]) -> str:
    parts = path.parts
    for length in range(1, len(parts)):
        if all(other.parts[-length:] != parts[-length:] for other in others):
            return str(Path(*parts[-length:]))
    return str(path)


def _numbered(names: Iterable[str]) -> list[str]:
    """Names of which those that were there before have a number behind them."""
    unlike: list[str] = []
    for name in names:
        tries = (name if number == 1 else f"{name} ({number})" for number in count(1))
        unlike.append(next(one for one in tries if one not in unlike))
    return unlike


def _load(path: Path, name: str, root: Path | None) -> Run:
    predictions, history, warnings = path / PREDICTIONS, path / HISTORY, path / WARNINGS
    if not predictions.exists() and not history.exists():
        raise InputError(
            f"expected {PREDICTIONS} or {HISTORY} in {path}, found neither; "
            "train or evaluate first, or give another folder"
        )
    readings = readings_of(read_predictions(predictions)) if predictions.exists() else []
    provenance = _provenance(path)
    segmenter = best_segmenter(s for s in SEGMENTERS if (path / MASKS / masks_file(s)).exists())
    config = path / CONFIG
    return Run(
        name=name,
        path=path,
        config=read_text(config, "a config") if config.exists() else None,
        provenance=provenance,
        history=read_jsonl(history, "a training log") if history.exists() else [],
        warnings=read_jsonl(warnings, "warnings of a run") if warnings.exists() else [],
        readings=readings,
        metrics=measure(predictions, readings, path / MASKS) if readings else None,
        masks=_masks(path, segmenter, readings),
        segmenter=segmenter,
        root=root or data_root(provenance),
    )


def _provenance(path: Path) -> Mapping[str, Any]:
    """A folder's own record; `before/` without one shares that of the run around it."""
    for folder in (path, path.parent) if path.name == BEFORE else (path,):
        if (folder / PROVENANCE).exists():
            return read_provenance(folder / PROVENANCE)
    return {}


def _masks(
    path: Path, segmenter: str | None, readings: Sequence[PredictionReading]
) -> Mapping[str, Mapping[str, Any]]:
    if segmenter is None or not readings:
        return {}
    return read_masks(path / MASKS / masks_file(segmenter), image_readings(readings))


def best_segmenter(names: Iterable[str]) -> str | None:
    """Whose masks a report shows.

    >>> best_segmenter(["box", "sam2", "grabcut"])
    'sam2'
    """
    return max((name for name in names if name in SEGMENTERS), key=SEGMENTERS.index, default=None)


def data_root(provenance: Mapping[str, Any]) -> Path | None:
    """Where the last evaluation (else the last verb) found its images."""
    entries = sorted(provenance.get("runs", []), key=lambda entry: entry["verb"] == "eval")
    for entry in reversed(entries):
        data = entry.get("data")
        if not isinstance(data, dict):  # several benchmarks mixed, or none
            continue
        if data.get("root"):
            return Path(data["root"])
        if data.get("benchmark"):
            benchmark = Path(data["benchmark"])
            folder = benchmark.parent if benchmark.suffix == ".json" else benchmark
            manifest = data.get("manifest")
            if manifest is None and (folder / MANIFEST_NAME).exists():
                manifest = read_json(folder / MANIFEST_NAME, "a manifest")
            return folder / str((manifest or {}).get("root", "."))
    return None
