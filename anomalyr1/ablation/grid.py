"""An ablation file -> its runs, every config among them checked before the first one starts."""

from __future__ import annotations

import itertools
import json
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anomalyr1.ablation.resolve import VERBS, Resolved, resolve
from anomalyr1.errors import InputError, one_line, unknown, unknown_key
from anomalyr1.run_folder import POLICY
from anomalyr1.storage import read_yaml
from anomalyr1.values import is_number

_PATHS = ("run_dir", "base", "eval")
_KEYS = (*_PATHS, "verb", "baseline", "launch", "seeds", "set", "list", "grid")
_MAPPINGS = {
    "set": "set: {grpo.beta: 0.1}",
    "list": "list: {paper: {reward.preset: paper}}",
    "grid": "grid: {grpo.beta: [0.0, 0.1]}",
}
_OF_A_VARIANT = ("base", "verb")  # beside config keys, among the changes of a variant
_PYTHON = (sys.executable, "-m", "anomalyr1")
# Words that YAML reads as something else than text.
_NOT_TEXT = ("true", "false", "yes", "no", "on", "off", "null", "nan", "inf", "y", "n")


@dataclass(frozen=True)
class Run:
    """One variant with one seed.

    Attributes:
        variant: its name in the table.
        seed: of the training.
        folder: the run folder; its name ends in the hash. Seeds that change nothing share one.
        digest: hash of the resolved training and evaluation configs, and of what they start from.
        commands: (stage, command line) in order: train or sft, then eval.
    """

    variant: str
    seed: int
    folder: Path
    digest: str
    commands: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True)
class Scale:
    """The one number that the variants differ in: its config key, and variant -> value."""

    key: str
    values: Mapping[str, float]


@dataclass(frozen=True)
class Ablation:
    """An ablation file, read.

    Attributes:
        source: the file.
        folder: of all runs, and of the tables and plots.
        runs: every variant with every seed.
        baseline: the variant that the others are compared with.
        launched: a training is started by a command of the file's own, on devices of its choice.
        on_cpu: no training uses a GPU.
        scale: where the variants (the baseline may be apart) differ in one number.
    """

    source: Path
    folder: Path
    runs: tuple[Run, ...]
    baseline: str
    launched: bool
    scale: Scale | None
    on_cpu: bool = False


def plan(path: Path, overrides: Sequence[str] = ()) -> Ablation:
    """The runs of an ablation file, every config among them read and checked.

    The file's keys: `base` and `eval`, the configs of training and evaluation (relative to the
    file); `verb`, what trains: `train` (GRPO, when left out), `sft`, or `none`, which evaluates the
    policy that the others start from; `run_dir`; `set`, changes for all runs; `list`, name ->
    changes; `grid`, key -> values, every combination; `baseline`, the name of the variant that the
    others are compared with, the first when left out; `seeds`; `launch`, the command that starts a
    training (several GPUs).

    Changes are config keys, and hold for training and evaluation alike, so that both show the same
    prompt; a variant in `list` may also have a `verb` and a `base` of its own. The seed is the
    training's alone: all runs are asked the same questions.

    Args:
        path: the ablation file.
        overrides: `section.key=value` for all runs, applied last.
    """
    raw = _read(path)
    launch = _launch(raw.get("launch"), path) or _PYTHON
    common = _overrides(raw.get("set") or {})
    evaluation = path.parent / str(raw["eval"])
    variants = _variants(raw, path)
    runs: list[Run] = []
    on_cpu: list[bool] = []  # of each training
    for name, changes in variants.items():
        verb = _verb(changes.get("verb", raw.get("verb", "train")), path, name)
        base = path.parent / str(changes.get("base", raw["base"]))
        own = {key: value for key, value in changes.items() if key not in _OF_A_VARIANT}
        shared = [*common, *_overrides(own), *overrides]
        for seed in raw.get("seeds") or [0]:
            found = resolve(verb, base, evaluation, shared, seed)
            label = re.sub(r"[^\w.=-]+", "_", name)
            label += f"-seed{seed}" if verb != "none" else ""
            folder = Path(raw["run_dir"]) / f"{label}-{found.digest[:8]}"
            commands = _commands(found, launch, folder)
            runs.append(Run(name, seed, folder, found.digest, commands))
            if verb != "none":
                given = found.training.grpo if verb == "train" else found.training.sft
                on_cpu.append(bool(given.get("use_cpu")))
    return Ablation(
        path,
        Path(raw["run_dir"]),
        tuple(runs),
        _baseline(raw, variants, path),
        launch != _PYTHON,
        _scale(variants),
        bool(on_cpu) and all(on_cpu),
    )


def _commands(
    found: Resolved, launch: Sequence[str], folder: Path
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    place = (f"run_dir={folder}", "resume=auto")
    trained = str(folder / POLICY)
    commands = []
    if found.verb == "none":
        trained = found.training.policy.path
    else:
        train = (*launch, found.verb, str(found.base), *found.own, *place)
        commands.append((found.verb, train))
    policy = [f"policy.path={trained}"]
    if found.verb == "none" and found.training.policy.revision is not None:
        policy.append(f"policy.revision={_value(found.training.policy.revision)}")
    evaluate = (*_PYTHON, "eval", str(found.evaluation), *found.shared, *place, *policy)
    return (*commands, ("eval", evaluate))


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
    for key in _PATHS:
        if not isinstance(raw.get(key), str):
            raise InputError(
                f"expected {key} to be a path in {path}, found {raw.get(key)!r}; name it"
            )
    for key, form in _MAPPINGS.items():
        if not isinstance(raw.get(key) or {}, dict):
            raise InputError(
                f"expected {key} to be a mapping in {path}, found {raw[key]!r}; write {form}"
            )
    seeds = raw.get("seeds", [0])
    if not (isinstance(seeds, list) and seeds and all(type(seed) is int for seed in seeds)):
        raise InputError(
            f"expected seeds to be a list of whole numbers in {path}, found {seeds!r}; write "
            "seeds: [0, 1]"
        )
    if len(set(seeds)) < len(seeds):
        raise InputError(f"expected seeds that differ in {path}, found {seeds!r}; drop some")
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
    variants: dict[str, dict[str, Any]] = {}
    for name, changes in (listed or {"": {}}).items():
        for values in itertools.product(*grid.values()):
            cell = dict(zip(grid, values, strict=True))
            label = " ".join([str(name), *_overrides(cell)]).strip()
            if label in variants:
                raise InputError(
                    f"expected variants of different names in {path}, found {label!r} twice; "
                    "rename one, or drop it"
                )
            variants[label] = {**changes, **cell}
    return variants


def _launch(given: Any, path: Path) -> tuple[str, ...]:
    """The words of the command that starts a training; none where it is left out."""
    try:
        if given is None or isinstance(given, str):
            return tuple(shlex.split(given or ""))
        found = repr(given)
    except ValueError as error:  # a quotation that does not end
        found = f"{given!r} ({one_line(error)})"
    raise InputError(
        f"expected launch to be a command line in {path}, found {found}; write launch: accelerate "
        "launch -m anomalyr1"
    )


def _verb(verb: Any, path: Path, variant: str) -> str:
    if verb not in VERBS:
        raise unknown(f"the verb of {variant} in {path}", verb, VERBS)
    return str(verb)


def _baseline(raw: Mapping[str, Any], variants: Mapping[str, Any], path: Path) -> str:
    names = list(variants)
    name = str(raw.get("baseline", names[0]))
    if name not in names:
        raise unknown(f"the baseline in {path}", name, names)
    return name


def _scale(variants: Mapping[str, Mapping[str, Any]]) -> Scale | None:
    """The key whose numbers tell at least three variants apart, all else of them being equal.

    >>> _scale({"a": {"grpo.beta": 0}, "b": {"grpo.beta": 0.1}, "c": {"grpo.beta": 1}}).values
    {'a': 0.0, 'b': 0.1, 'c': 1.0}
    """
    for key in dict.fromkeys(key for changes in variants.values() for key in changes):
        values = {
            name: float(changes[key])
            for name, changes in variants.items()
            if is_number(changes.get(key))
        }
        others = [
            {other: value for other, value in variants[name].items() if other != key}
            for name in values
        ]
        if len(set(values.values())) == len(values) >= 3 and all(o == others[0] for o in others):
            return Scale(key, values)
    return None


def _overrides(changes: Mapping[str, Any]) -> list[str]:
    """Changes as the command line takes them.

    >>> _overrides({"reward.preset": "roam", "eval.limit": None, "reward.weights": {"iou": 2.0}})
    ['reward.preset=roam', 'eval.limit=null', 'reward.weights={"iou": 2.0}']
    """
    return [f"{key}={_value(value)}" for key, value in changes.items()]


def _value(value: Any) -> str:
    plain = isinstance(value, str) and re.fullmatch(r"[A-Za-z][\w./-]*", value)
    return value if plain and value.lower() not in _NOT_TEXT else json.dumps(value)
