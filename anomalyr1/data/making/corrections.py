"""What annotators changed in the boxes that they were given.

`data export` leaves `proposed.jsonl` beside the annotations; images are known again by the SHA-256
of their files, whatever a tool made of their names. A box that moved by less than a pixel at every
corner is unchanged: tools round.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from anomalyr1.data.annotation_files import PROPOSED
from anomalyr1.data.fingerprint import file_sha256
from anomalyr1.data.making.labels import is_nameless
from anomalyr1.data.making.questions import words
from anomalyr1.data.making.sources.item import Item, Source
from anomalyr1.data.manifest import read_files
from anomalyr1.data.mmad import load_benchmark
from anomalyr1.errors import InputError
from anomalyr1.geometry import match_boxes
from anomalyr1.schema import Box
from anomalyr1.storage import read_jsonl, write_json
from anomalyr1.values import is_number

CHANGES = "changes.json"
KINDS = ("unchanged", "moved", "relabelled", "added", "removed")
ROUNDING = 1.0  # pixels


@dataclass(frozen=True, slots=True)
class Proposed:
    """What was proposed for one image: its key, and boxes in its pixels."""

    image: str
    boxes: tuple[Box, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """One box before and after; None where it was added or removed.

    `iou` is that of the two, 0 where there is one only. A box that was moved and relabelled is
    relabelled.
    """

    image: str
    kind: str
    before: Box | None
    after: Box | None
    iou: float


def read_proposed(path: Path) -> dict[str, Proposed]:
    """What `data export` wrote, by the SHA-256 of the image.

    Args:
        path: proposed.jsonl, or the folder that holds it.

    Raises:
        InputError: the file is missing or has another form.
    """
    file = path / PROPOSED if path.is_dir() else path
    found = {}
    for row in read_jsonl(file, f"{PROPOSED} as `anomalyr1 data export` writes it"):
        try:
            entry = Proposed(str(row["image"]), _boxes(row["boxes"], row["labels"]))
            found[str(row["sha256"])] = entry
        except (KeyError, TypeError, ValueError):
            raise InputError(
                f"expected {PROPOSED} as `anomalyr1 data export` writes it at {file}, found "
                "another form; export again"
            ) from None
    return found


def _boxes(corners: Any, labels: Any) -> tuple[Box, ...]:
    boxes = tuple(
        Box(float(x1), float(y1), float(x2), float(y2), label)
        for (x1, y1, x2, y2), label in zip(corners, labels, strict=True)
    )
    if not all(
        all(map(is_number, box.xyxy)) and isinstance(box.label, str | None) for box in boxes
    ):
        raise ValueError
    return boxes


def restore_names(source: Source, proposed: Mapping[str, Proposed]) -> Source:
    """The source with the data set and the product that each proposed image had.

    Raises:
        InputError: none of its images was proposed.
    """
    items, known = [], 0
    for item in source.items:
        entry = proposed.get(file_sha256(item.file))
        known += entry is not None
        items.append(item if entry is None else _restored(item, entry.image))
    if not known:
        raise InputError(
            f"expected images of {PROPOSED} in the {len(items)} images read, found none of them, "
            "as where a tool has written the images anew; give its annotations beside the exported "
            "images"
        )
    note = f"{len(items) - known} images were not proposed; they are not compared"
    notes = (note,) if known < len(items) else ()
    return replace(source, items=tuple(items), notes=(*source.notes, *notes))


def compare(before: Sequence[Box], after: Sequence[Box], image: str = "") -> list[Change]:
    """Every box of one image, before and after, matched one to one by the summed IoU.

    >>> [c.kind for c in compare([Box(0, 0, 9, 9, "dent")], [Box(0, 0, 9, 20, "dent")])]
    ['moved']
    """
    changes, first, second = [], set(), set()
    for a, b, iou in match_boxes(before, after):
        first.add(a)
        second.add(b)
        old, new = before[a], after[b]
        shift = max(abs(x - y) for x, y in zip(old.xyxy, new.xyxy, strict=True))
        kind = "moved" if shift > ROUNDING else "unchanged"
        kind = "relabelled" if _label(old) != _label(new) else kind
        changes.append(Change(image, kind, old, new, iou))
    removed = [box for number, box in enumerate(before) if number not in first]
    added = [box for number, box in enumerate(after) if number not in second]
    changes += [Change(image, "removed", box, None, 0.0) for box in removed]
    changes += [Change(image, "added", None, box, 0.0) for box in added]
    return changes


def write_changes(benchmark: Path, proposed: Mapping[str, Proposed]) -> dict[str, Any]:
    """Compare a built benchmark with what was proposed, and write changes.json into it.

    Returns:
        Counts by kind, images compared, images missing, images whose verdict turned, and the mean
        IoU of the boxes that were kept.
    """
    loaded = load_benchmark(benchmark)
    hashes = {key: print_.sha256 for key, print_ in read_files(loaded.manifest).items()}
    after: dict[str, tuple[Box, ...]] = {}
    for sample in loaded.samples:
        after[hashes.get(sample.image, "")] = sample.boxes or ()
    asked = {sample.image for sample in loaded.samples}
    for key, sha256 in hashes.items():  # a reference is a normal image: no box was left
        if key not in asked:
            after.setdefault(sha256, ())
    changes: list[Change] = []
    turned: Counter[str] = Counter()
    compared = 0
    for sha256, entry in proposed.items():
        if sha256 not in after:
            continue
        compared += 1
        changes += compare(entry.boxes, after[sha256], entry.image)
        if bool(entry.boxes) != bool(after[sha256]):
            turned["normal" if entry.boxes else "defective"] += 1
    kept = [change.iou for change in changes if change.before and change.after]
    counts = Counter(change.kind for change in changes)
    summary: dict[str, Any] = {
        "images": compared,
        "missing": len(proposed) - compared,
        **{kind: counts[kind] for kind in KINDS},
        "turned_normal": turned["normal"],
        "turned_defective": turned["defective"],
        "mean_iou": sum(kept) / len(kept) if kept else None,
    }
    entries = [
        {
            "image": change.image,
            "kind": change.kind,
            "before": _entry(change.before),
            "after": _entry(change.after),
            "iou": round(change.iou, 6),
        }
        for change in changes
        if change.kind != "unchanged"
    ]
    write_json(loaded.path.parent / CHANGES, {"summary": summary, "changes": entries})
    return summary


def told_changes(summary: Mapping[str, Any], file: Path) -> str:
    """The summary in a line."""
    iou = summary["mean_iou"]
    counts = ", ".join(f"{summary[kind]} {kind}" for kind in KINDS)
    missing = f", {summary['missing']} proposed images are not among them" * bool(
        summary["missing"]
    )
    return (
        f"boxes against the proposed ones in {summary['images']} images{missing}: {counts}"
        + (f"; mean IoU of the kept {iou:.3f}" if iou is not None else "")
        + f"; {summary['turned_normal']} images turned normal, {summary['turned_defective']} "
        f"defective; each change: {file}"
    )


def _restored(item: Item, key: str) -> Item:
    parts = key.split("/")
    if len(parts) < 3:
        return item
    name = "_".join(part for part in parts[2:] if part not in ("test", "good"))
    return replace(item, dataset=parts[0], category=parts[1], product=words(parts[1]), name=name)


def _label(box: Box) -> str | None:
    """A label as it is compared: in words, none where it names no type."""
    return None if not box.label or is_nameless(box.label) else words(box.label)


def _entry(box: Box | None) -> dict[str, Any] | None:
    return None if box is None else {"box": list(box.xyxy), "label": box.label}
