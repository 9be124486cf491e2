"""A run that goes on is the run that was begun: what its numbers depend on has not changed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from anomalyr1 import run_folder
from anomalyr1.config import Config, dump_config
from anomalyr1.errors import InputError
from anomalyr1.provenance import read_provenance
from anomalyr1.storage import read_yaml

TRAINED_BY = {"train": "GRPO", "sft": "SFT"}

# What may change from one start to the next: how long, how fast, how loud, where it is shown.
_FREE_SECTIONS = ("run_dir", "resume", "eval", "segmentation", "preflight", "data.root")
_FREE_KEYS = (
    "keep_completions_every",
    "early_stop_patience",
    "policy.attention",
    "policy.shared_prefix",
)
_FREE_ARGUMENTS = (
    "max_steps",
    "num_train_epochs",
    "save_steps",
    "save_total_limit",
    "save_strategy",
    "report_to",
    "deepspeed",
    "disable_tqdm",
    "gradient_checkpointing",
    "use_cpu",
    "run_name",
)
_FREE_PREFIXES = ("logging_", "hub_", "push_to_hub", "dataloader_", "vllm_", "use_vllm", "eval_")


def refuse_changed(run_dir: Path, verb: str, config: Config) -> None:
    """Hold the config of a run that goes on against the one on record.

    `resume: force` lets settings change, but not the data: the policy's record of the images it was
    trained on, by which an evaluation refuses them, is that of one config.

    Raises:
        InputError: the folder was trained by another verb, or settings have changed; all are named.
    """
    record = run_dir / run_folder.PROVENANCE
    if not record.is_file():
        return
    verbs = [run["verb"] for run in read_provenance(record)["runs"]]
    other = next((name for name in verbs if name in TRAINED_BY and name != verb), None)
    if other:
        raise InputError(
            f"expected a run of {TRAINED_BY[verb]} at {run_dir} to go on with, found one of "
            f"{TRAINED_BY[other]}; choose another run_dir"
        )
    path = run_dir / run_folder.config_of(verb, verbs[0])
    if not path.is_file():
        return
    before = _flat(read_yaml(path, "config"))
    after = _flat(yaml.safe_load(dump_config(config)))
    changed = [
        f"{key} (was {before.get(key)!r}, is {after.get(key)!r})"
        for key in sorted(before.keys() | after.keys())
        if not _is_free(key) and not _same(before.get(key), after.get(key))
        if config.resume != "force" or key.startswith("data.")
    ]
    if changed:
        raise InputError(
            f"expected the settings that the run at {run_dir} was begun with, found changed: "
            f"{', '.join(changed)}; choose another run_dir or take the changes back "
            "(resume=force goes on with other settings, but not with other data)"
        )


def _is_free(key: str) -> bool:
    if key in _FREE_KEYS or any(key == of or key.startswith(f"{of}.") for of in _FREE_SECTIONS):
        return True
    section, _, argument = key.partition(".")
    return section in ("grpo", "sft") and (
        argument in _FREE_ARGUMENTS or argument.startswith(_FREE_PREFIXES)
    )


def _same(one: Any, other: Any) -> bool:
    """Equal, or two ways to write the path of one thing."""
    if isinstance(one, str) and isinstance(other, str) and one != other:
        return Path(one).exists() and Path(one).resolve() == Path(other).resolve()
    return bool(one == other)


def _flat(section: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested sections as one level of dotted keys; an empty section is nothing.

    >>> _flat({"a": 1, "b": {"c": [2], "d": {}}})
    {'a': 1, 'b.c': [2]}
    """
    found: dict[str, Any] = {}
    for key, value in section.items():
        if isinstance(value, Mapping):
            found.update(_flat(value, f"{prefix}{key}."))
        else:
            found[f"{prefix}{key}"] = value
    return found
