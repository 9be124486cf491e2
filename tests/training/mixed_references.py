"""A benchmark whose questions of one image show different numbers of references."""

from __future__ import annotations

import json
from pathlib import Path


def mixed_references(folder: Path, toy: Path, counts: tuple[int, ...]) -> Path:
    """The toy benchmark with two references an image, of which each question shows so many.

    Args:
        folder: where it is written.
        toy: the benchmark that has the images.
        counts: for each question of an image the references that are shown with it.
    """
    records = json.loads((toy / "mmad.json").read_text())
    keys = list(records)
    for key, record in records.items():
        record["similar_templates"].append(keys[keys.index(key) - 1])
        for entry, count in zip(record["conversation"], counts, strict=True):
            entry["references"] = count
    folder.mkdir()
    (folder / "mmad.json").write_text(json.dumps(records))
    (folder / "manifest.json").write_text(json.dumps({"root": str(toy)}))
    return folder
