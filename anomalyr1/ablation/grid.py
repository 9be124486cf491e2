"""An ablation file -> its runs, every config among them checked before the first one starts."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from anomalyr1.config import load_config
from anomalyr1.errors import InputError, unknown_key
from anomalyr1.rewards.build import build_rewards
from anomalyr1.run_folder import POLICY
from anomalyr1.storage import read_yaml

_KEYS = ("run_dir", "base", "eval", "launch", "seeds", "set", "list", "grid")
_PYTHON = (sys.executable, "-m", "anomalyr1")
# Words that YAML reads as something else than text.
_NOT_TEXT = ("true", "false", "yes", "no", "on", "off", "null", "nan", "inf", "y", "n")


@dataclass(frozen=True)
class Run:
    """One variant with one seed.

    Attributes:
        variant: its name in the table.
        seed: of the training.
        folder: the run folder; its name ends in the hash.
        digest: hash of the resolved training and evaluation configs.
        commands: (stage, command line) in order: train, then eval.
    """

    variant: str
    seed: int
    folder: Path
    digest: str
    commands: tuple[tuple[str, tuple[str, ...]], ...]


def plan(path: Path, overrides: Sequence[str] = ()) -> list[Run]:
    """The runs of an ablation file, every config among them read and checked.

    The file's keys: `base` and `eval`, the configs of training and evaluation (relative to the
    file); `run_dir`; `set`, changes for all runs; `list`, name -> changes; `grid`, key -> values,
    every combination; `seeds`; `launch`, the command that starts a training (several GPUs).
    Changes are config keys, and hold for training and evaluation alike, so that both show the same
    prompt. The seed is the training's alone: all runs are asked the same questions.

    Args:
        path: the ablation file.
        overrides: `section.key=value` for all runs, applied last.
    """
    raw = _read(path)
    base, evaluation = (path.parent / str(raw[key]) for key in ("base", "eval"))
    launch = tuple(shlex.split(raw["launch"])) if raw.get("launch") else _PYTHON
    common = _overrides(raw.get("set") or {})
    runs = []
    for name, changes in _variants(raw, path).items():
        shared = [*common, *_overrides(changes), *overrides]
        for seed in raw.get("seeds") or [0]:
            own = [*shared, f"seed={seed}"]
            digest = _digest(base, own, evaluation, shared)
            label = re.sub(r"[^\w.=-]+", "_", name)
            folder = Path(raw["run_dir"]) / f"{label}-seed{seed}-{digest[:8]}"
            place = [f"run_dir={folder}", "resume=auto"]
            train = (*launch, "train", str(base), *own, *place)
            policy = f"policy.path={folder / POLICY}"
            evaluate = (*_PYTHON, "eval", str(evaluation), *shared, *place, policy)
            runs.append(Run(name, seed, folder, digest, (("train", train), ("eval", evaluate))))
    return runs


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"expected an ablation file at {path}, found none; check the path")
    raw = read_yaml(path, "a readable ablation")
    if not isinstance(raw, dict):
        raise InputError(
            f"expected a mapping of keys in {path}, found {type(raw).__name__}; give "
            f"{', '.join(_KEYS)}"
        )
    faults = [unknown_key(key, key, _KEYS) for key in map(str, raw) if key not in _KEYS]
    if faults:
        raise InputError(
            f"expected the keys of an ablation in {path}, found {', '.join(faults)}; correct them"
        )
    for key in ("run_dir", "base", "eval"):
        if not isinstance(raw.get(key), str):
            raise InputError(
                f"expected {key} to be a path in {path}, found {raw.get(key)!r}; name it"
            )
    seeds = raw.get("seeds", [0])
    if not (isinstance(seeds, list) and seeds and all(type(seed) is int for seed in seeds)):
        raise InputError(
            f"expected seeds to be a list of whole numbers in {path}, found {seeds!r}; write "
            "seeds: [0, 1]"
        )
    return {str(key): value for key, value in raw.items()}


def _variants(raw: Mapping[str, Any], path: Path) -> dict[str, dict[str, Any]]:
    """Name -> changes: every entry of `list` with every combination of `grid`."""
    listed, grid = raw.get("list") or {}, raw.get("grid") or {}
    if not (listed or grid):
        raise InputError(
            f"expected `list` (name: changes) or `grid` (key: values) in {path}, found neither; "
            "say what varies"
        )
    for name, changes in listed.items():
        if not isinstance(changes, dict):
            raise InputError(
                f"expected list.{name} to map keys to values in {path}, found {changes!r}; write "
                "changes such as {reward.preset: paper}"
            )
    for key, values in grid.items():
        if not (isinstance(values, list) and values):
            raise InputError(
                f"expected grid.{key} to be a list of values in {path}, found {values!r}; put "
                "them into brackets"
            )
    variants = {}
    for name, changes in (listed or {"": {}}).items():
        for values in itertools.product(*grid.values()):
            cell = dict(zip(grid, values, strict=True))
            label = " ".join([str(name), *_overrides(cell)]).strip()
            variants[label] = {**changes, **cell}
    return variants


def _overrides(changes: Mapping[str, Any]) -> list[str]:
    """Changes as the command line takes them.

    >>> _overrides({"reward.preset": "roam", "eval.limit": None, "reward.weights": {"iou": 2.0}})
    ['reward.preset=roam', 'eval.limit=null', 'reward.weights={"iou": 2.0}']
    """
    return [f"{key}={_value(value)}" for key, value in changes.items()]


def _value(value: Any) -> str:
    plain = isinstance(value, str) and re.fullmatch(r"[A-Za-z][\w./-]*", value)
    return value if plain and value.lower() not in _NOT_TEXT else json.dumps(value)


def _digest(base: Path, train: Sequence[str], evaluation: Path, shared: Sequence[str]) -> str:
    """Hash of what the two verbs read of their resolved configs; both are checked."""
    from trl import GRPOConfig

    from anomalyr1.training.arguments import trl_keys

    training = load_config(base, train, {"grpo": trl_keys(GRPOConfig)})
    build_rewards(training.reward)
    trained, asked = asdict(training), asdict(load_config(evaluation, shared))
    for section in ("run_dir", "sft", "eval", "segmentation"):
        del trained[section]
    asked = {name: asked[name] for name in ("seed", "prompt", "policy", "eval", "segmentation")}
    del asked["policy"]["path"]
    return hashlib.sha256(json.dumps([trained, asked], sort_keys=True).encode()).hexdigest()
