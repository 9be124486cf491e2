"""Several benchmarks as one training set, in the YAML that VLM-R1 uses.

::

datasets:
  - json_path: benchmarks/deeppcb/mmad.json     # or a folder, or an exported .jsonl
    sampling_strategy: random:25%               # all, first:N, last:N, random:N; N or N%
    weight: 2                                   # how often its samples come; 1 when left out
    image_root: images                          # of rows: where their images are
    boxes: unit                                 # of rows: pixels (left out), unit or thousand
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from anomalyr1.data.conversations import read_rows
from anomalyr1.data.mmad import load_benchmark
from anomalyr1.data.seeding import seeded_order
from anomalyr1.data.turns import FRAMES
from anomalyr1.errors import InputError, unknown
from anomalyr1.schema import Sample
from anomalyr1.storage import read_yaml, write_text
from anomalyr1.values import is_number

_STRATEGY = re.compile(r"(first|last|end|random):(\d+(?:\.\d+)?)(%?)")
MOST_WEIGHT = 1000
_KEYS = ("json_path", "sampling_strategy", "weight", "image_root", "boxes")


@dataclass(frozen=True, slots=True)
class Part:
    """One benchmark of a mixture.

    Attributes:
        path: mmad.json, its folder, or rows exported for VLM-R1 or ms-swift (.jsonl).
        strategy: `all`, or `first`, `last`, `random` with a number or a percentage of samples.
        weight: how often the chosen samples come; 2.5 is twice all of them and once half.
        image_root: where the images of exported rows are.
        boxes: what the boxes of rows count in: `pixels`, `unit` (0 to 1) or `thousand`; None is
            not stated and means pixels.
    """

    path: Path
    strategy: str = "all"
    weight: float = 1.0
    image_root: Path | None = None
    boxes: str | None = None

    @property
    def frame(self) -> str:
        """What the boxes of rows count in."""
        return self.boxes or "pixels"


def read_mixture(file: Path) -> tuple[Part, ...]:
    """Read the YAML; paths are relative to it.

    Raises:
        InputError: the file is missing or is not of that form.
    """
    content = read_yaml(file, "a readable mixture")
    entries = content.get("datasets") if isinstance(content, dict) else None
    if not isinstance(entries, list) or not entries:
        raise InputError(
            f"expected a list under datasets in {file}, found {entries!r}; list the parts there"
        )
    return tuple(_part(entry, file) for entry in entries)


def write_mixture(file: Path, parts: Iterable[Part]) -> None:
    """Write the YAML that `read_mixture` reads."""
    entries = []
    for part in parts:
        entry: dict[str, Any] = {"json_path": str(part.path), "sampling_strategy": part.strategy}
        if part.weight != 1:
            entry["weight"] = part.weight
        if part.image_root is not None:
            entry["image_root"] = str(part.image_root)
        if part.boxes is not None:
            entry["boxes"] = part.boxes
        entries.append(entry)
    write_text(file, yaml.safe_dump({"datasets": entries}, sort_keys=False))


def mix(parts: Sequence[Part], seed: int = 0) -> list[Sample]:
    """The samples of a mixture, part after part; the trainer shuffles.

    Raises:
        InputError: a benchmark, a strategy or a weight cannot be used.
    """
    mixed: list[Sample] = []
    for number, part in enumerate(parts):
        if not 0 < part.weight <= MOST_WEIGHT:
            raise InputError(
                f"expected a weight above 0 and of at most {MOST_WEIGHT} for {part.path}, found "
                f"{part.weight}; change it"
            )
        chosen = sample_part(_load(part), part.strategy, (seed, number))
        whole, rest = divmod(part.weight, 1)
        mixed += chosen * int(whole)
        extra = round(rest * len(chosen))
        mixed += sample_part(chosen, f"random:{extra}", (seed, number, "rest")) if extra else []
    return mixed


def balanced(samples: Sequence[Sample], seed: int = 0) -> list[Sample]:
    """As many normal images of each product as defective ones: the rarer come again, seeded.

    A product that has no image of one kind stays as it is.
    """
    products: dict[tuple[str, str], tuple[list[Sample], list[Sample]]] = {}
    for sample in samples:
        sides = products.setdefault((sample.dataset, sample.category), ([], []))
        sides[sample.is_normal].append(sample)
    added: list[Sample] = []
    for product, sides in products.items():
        fewer, more = sorted(sides, key=len)
        times, rest = divmod(len(more), len(fewer)) if fewer else (1, 0)
        added += fewer * (times - 1)
        added += sample_part(fewer, f"random:{rest}", (seed, *product, "balance"))
    return [*samples, *added]


def sample_part(samples: Sequence[Sample], strategy: str, seed: tuple[object, ...]) -> list[Sample]:
    """The samples that a strategy picks, in the order of the benchmark.

    Raises:
        InputError: the strategy is not of a known form, or asks for more than there is.
    """
    if strategy == "all":
        return list(samples)
    match = _STRATEGY.fullmatch(strategy)
    if match is None:
        raise InputError(
            "expected a sampling strategy like all, first:100, last:10% or random:25%, "
            f"found {strategy!r}; write one of them"
        )
    kind, amount = match[1], float(match[2])
    number = round(amount * len(samples) / 100) if match[3] else int(amount)
    if number > len(samples):
        raise InputError(
            f"expected at least {number} samples for {strategy!r}, found {len(samples)}; take fewer"
        )
    if kind == "first":
        return list(samples[:number])
    if kind in ("last", "end"):
        return list(samples[len(samples) - number :])
    kept = set(seeded_order(range(len(samples)), *seed, "mixture")[:number])
    return [sample for index, sample in enumerate(samples) if index in kept]


def _part(entry: Any, file: Path) -> Part:
    if not isinstance(entry, dict) or not isinstance(entry.get("json_path"), str):
        raise InputError(f"expected json_path in each entry of {file}, found {entry!r}; name it")
    for key in entry:
        if key not in _KEYS:
            raise unknown(f"keys of an entry of {file}", key, _KEYS)
    weight = entry.get("weight", 1)
    if not is_number(weight):
        raise InputError(f"expected a number for weight in {file}, found {weight!r}; give one")
    root, boxes = entry.get("image_root"), entry.get("boxes")
    if boxes is not None and boxes not in FRAMES:
        raise unknown(f"boxes of an entry of {file}", boxes, FRAMES)
    return Part(
        file.parent / entry["json_path"],
        str(entry.get("sampling_strategy", "all")),
        float(weight),
        None if root is None else file.parent / str(root),
        boxes,
    )


def holds_rows(part: Part) -> bool:
    """True for rows of VLM-R1 or ms-swift: JSON lines, or VLM-R1's .json with an image root."""
    return part.path.suffix == ".jsonl" or (
        part.path.suffix == ".json" and part.image_root is not None
    )


def _load(part: Part) -> Sequence[Sample]:
    if holds_rows(part):
        return read_rows(part.path, part.image_root or part.path.parent, frame=part.frame)
    return load_benchmark(part.path).samples
