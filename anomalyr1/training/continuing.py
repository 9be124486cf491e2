"""A run that goes on is the run that was begun: what its numbers depend on has not changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from transformers import TrainingArguments

from anomalyr1 import run_folder
from anomalyr1.config import Config, dump_config
from anomalyr1.errors import InputError
from anomalyr1.provenance import read_provenance
from anomalyr1.storage import read_yaml

TRAINED_BY = {"train": "GRPO", "sft": "SFT"}

# What may change from one start to the next: how long, how fast, how loud, where it is shown.
_FREE_SECTIONS = ("run_dir", "resume", "eval", "segmentation", "preflight", "guard", "data.root")
_FREE_KEYS = (
    "keep_completions_every",
    "early_stop_patience",
    "policy.attention",
    "policy.shared_prefix",
    "policy.chunk_completions",
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
    # Of dataloader_ those that decide neither which rows make a batch nor in which order.
    "dataloader_num_workers",
    "dataloader_pin_memory",
    "dataloader_persistent_workers",
    "dataloader_prefetch_factor",
    "dataloader_multiprocessing_context",
)
_FREE_PREFIXES = ("logging_", "hub_", "push_to_hub", "eval_")

# What decides the order of the rows and the size of a step, as TRL has worked it out from config,
# launch and its own defaults. The seed and the data are compared with the config.
_FEEDING = (
    "gradient_accumulation_steps",
    "num_generations",
    "num_iterations",
    "steps_per_generation",
    "generation_batch_size",
    "shuffle_dataset",
    "train_sampling_strategy",
    "packing",
    "dataloader_drop_last",
    "dataloader_in_order",
)


def feeding(arguments: TrainingArguments) -> dict[str, Any]:
    """How rows are fed to the processes of this launch, for the record of the run."""
    return {
        "processes": arguments.world_size,
        "per_device_train_batch_size": arguments.train_batch_size,
        **{name: getattr(arguments, name) for name in _FEEDING if hasattr(arguments, name)},
    }


def refuse_changed(
    run_dir: Path, verb: str, config: Config, fed: Mapping[str, Any] | None = None
) -> None:
    """Hold a run that goes on against the one on record: its config, and how its rows are fed.

    `resume: force` lets settings change, but not the data: the policy's record of the images it was
    trained on, by which an evaluation refuses them, is that of one config.

    Args:
        run_dir: the run folder.
        verb: train or sft.
        config: of this start.
        fed: `feeding` of this start; what an older record does not tell passes.

    Raises:
        InputError: the folder was trained by another verb, or settings have changed; all are named.
    """
    runs = _runs(run_dir)
    verbs = [run["verb"] for run in runs]
    other = next((name for name in verbs if name in TRAINED_BY and name != verb), None)
    if other:
        raise InputError(
            f"expected a run of {TRAINED_BY[verb]} at {run_dir} to go on with, found one of "
            f"{TRAINED_BY[other]}; choose another run_dir"
        )
    changed = _changed_settings(run_dir, verb, verbs, config)
    changed |= _changed_feeding(runs, verb, fed or {}, known=changed)
    named = [
        f"{key} (was {before!r}, is {after!r})"
        for key, (before, after) in sorted(changed.items())
        if config.resume != "force" or key.startswith("data.")
    ]
    if named:
        raise InputError(
            f"expected the settings that the run at {run_dir} was begun with, found changed: "
            f"{', '.join(named)}; choose another run_dir or take the changes back "
            "(resume=force goes on with other settings, but not with other data)"
        )


def refuse_other_data(run_dir: Path, verb: str, data: Sequence[Mapping[str, Any]]) -> None:
    """The benchmark file itself has not changed either, whatever `resume` says.

    Args:
        run_dir: the run folder.
        verb: train or sft.
        data: records of the benchmarks trained on.

    Raises:
        InputError: another benchmark stands where the one of the record stood.
    """
    recorded = _last(_runs(run_dir), verb).get("data") or []
    before = [recorded] if isinstance(recorded, Mapping) else recorded
    same = len(before) == len(data) and all(
        was.get(key, now[key]) == now[key]
        for was, now in zip(before, data, strict=True)
        for key in ("sha256", "images")
    )
    if before and not same:
        raise InputError(
            f"expected the data that the run at {run_dir} was begun with, found changed: "
            f"{', '.join(str(one['benchmark']) for one in data)}; choose another run_dir or put "
            "the benchmark back as it was"
        )


def refuse_other_start(run_dir: Path, verb: str, config: Config, digest: str | None) -> None:
    """The weights at `policy.path` have not changed, where a run that goes on still needs them.

    Adapters go on top of them, and they are the reference of the KL term; a training of all weights
    without it has everything in its checkpoint.

    Args:
        run_dir: the run folder.
        verb: train or sft.
        config: of this start; `resume: force` goes on with other weights.
        digest: of the weights at `policy.path`; None, or a record without one, passes.

    Raises:
        InputError: other weights stand where those of the record stood.
    """
    needed = config.policy.lora is not None or (verb == "train" and config.grpo.get("beta", 0) > 0)
    before = _last(_runs(run_dir), verb).get("start")
    if needed and config.resume != "force" and None not in (before, digest) and before != digest:
        raise InputError(
            f"expected the policy that the run at {run_dir} was begun with at policy.path="
            f"{config.policy.path}, found other weights; put them back, or choose another run_dir "
            "(resume=force goes on with these)"
        )


def refuse_other_rewards(
    run_dir: Path, verb: str, config: Config, hashes: Mapping[str, str]
) -> None:
    """The user's own rewards are written as they were.

    Args:
        run_dir: the run folder.
        verb: train or sft.
        config: of this start; `resume: force` goes on with others.
        hashes: of them by path; one that the record does not have passes.

    Raises:
        InputError: another source stands where that of the record stood.
    """
    before = _last(_runs(run_dir), verb).get("own_rewards", {})
    other = [path for path, sha in hashes.items() if before.get(path, sha) != sha]
    if other and config.resume != "force":
        raise InputError(
            f"expected the rewards that the run at {run_dir} was begun with, found the source of "
            f"{', '.join(other)} changed; put it back, or choose another run_dir (resume=force "
            "goes on with it as it is)"
        )


def refuse_lost_reference(run_dir: Path, verb: str, config: Config) -> None:
    """A reference policy that followed the policy is in no checkpoint.

    Raises:
        InputError: the run would go on against the one that it was begun with.
    """
    synced = verb == "train" and config.grpo.get("sync_ref_model", False)
    if synced and config.resume != "force":
        raise InputError(
            f"expected a run without grpo.sync_ref_model to go on with at {run_dir}, found one "
            "whose reference policy followed it and is in no checkpoint; choose another run_dir, "
            "or go on from the reference it was begun with (resume=force)"
        )


def _runs(run_dir: Path) -> list[dict[str, Any]]:
    """The record of all that was run on a folder, the oldest first; nothing without a record."""
    record = run_dir / run_folder.PROVENANCE
    runs: list[dict[str, Any]] = read_provenance(record)["runs"] if record.is_file() else []
    return runs


def _last(runs: Sequence[dict[str, Any]], verb: str) -> dict[str, Any]:
    """The last run of a verb that trained; empty where there is none.

    A start that had nothing left to train says nothing of what was trained with.
    """
    trained = (run for run in reversed(runs) if run["verb"] == verb and run.get("trained", True))
    return next(trained, {})


def _changed_settings(
    run_dir: Path, verb: str, verbs: Sequence[str], config: Config
) -> dict[str, tuple[Any, Any]]:
    """Key -> what it was and what it is."""
    path = run_dir / run_folder.config_of(verb, verbs[0]) if verbs else run_dir
    if not path.is_file():
        return {}
    after = _flat(yaml.safe_load(dump_config(config)))
    # A key that did not exist when the run was begun was what it is by default.
    default = _flat(yaml.safe_load(dump_config(Config())))
    before = default | _flat(read_yaml(path, "a readable config"))
    return {
        key: (before.get(key), after.get(key))
        for key in before.keys() | after.keys()
        if not _is_free(key) and not _same(before.get(key), after.get(key))
    }


def _changed_feeding(
    runs: Sequence[dict[str, Any]],
    verb: str,
    now: Mapping[str, Any],
    known: Mapping[str, Any],
) -> dict[str, tuple[Any, Any]]:
    """The same of the feeding, without what is `known` to have changed."""
    section = {"train": "grpo"}.get(verb, verb)
    before = _last(runs, verb).get("feeding", {})
    names = {key: key if key == "processes" else f"{section}.{key}" for key in now}
    return {
        names[key]: (before[key], value)
        for key, value in now.items()
        if key in before and before[key] != value and names[key] not in known
    }


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
