"""How an accelerate file spreads a run over GPUs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from anomalyr1.errors import InputError, unknown
from anomalyr1.storage import read_json, read_yaml

_DATA_PARALLEL = ("NO", "MULTI_GPU", "MULTI_CPU")  # accelerate's names

Kind = Literal["single", "DDP", "ZeRO-1", "ZeRO-2", "ZeRO-3", "FSDP"]

# DeepSpeed's own defaults in elements, where a file does not set them: deepspeed/runtime/zero/
# config.py, `reduce_bucket_size` and `stage3_max_live_parameters`.
REDUCE_BUCKET = 500_000_000
MAX_LIVE = 1_000_000_000


@dataclass(frozen=True)
class Sharding:
    """Who holds what.

    Attributes:
        kind: the scheme.
        processes: GPUs over all machines.
        mixed: the file's `mixed_precision`.
        offload_optimizer: optimiser state and gradients live in host memory.
        offload_weights: the weights not in use live in host memory.
        reduce_bucket: gradient elements reduced at once (DeepSpeed); None is `auto`, the square of
            the hidden size.
        double_bucket: a second bucket fills while the first is reduced.
        max_live: weights gathered at once (ZeRO-3), in elements.
        reshard: FSDP frees gathered weights between forward and backward (FULL_SHARD).
        source: the file, or how it was made up, in words.
    """

    kind: Kind = "single"
    processes: int = 1
    mixed: str = "no"
    offload_optimizer: bool = False
    offload_weights: bool = False
    reduce_bucket: int | None = REDUCE_BUCKET
    double_bucket: bool = False
    max_live: int = MAX_LIVE
    reshard: bool = True
    source: str = "no accelerate file: 1 process"

    @property
    def deepspeed(self) -> bool:
        """DeepSpeed casts the whole model to the mixed dtype and keeps float32 masters."""
        return self.kind.startswith("ZeRO")

    @property
    def splits_weights(self) -> bool:
        """No process holds all weights."""
        return self.kind in ("ZeRO-3", "FSDP")


def read_sharding(
    path: Path | None, processes: int | None = None, deepspeed: str | None = None
) -> Sharding:
    """Read an accelerate file.

    Args:
        path: the YAML; None is one process, or data parallel where `processes` is more.
        processes: overrides `num_processes`.
        deepspeed: a DeepSpeed JSON file that the config itself names (`grpo.deepspeed`).

    Raises:
        InputError: the file cannot be read or asks for what is not planned here.
    """
    if processes is not None and processes < 1:
        raise InputError(f"expected at least 1 GPU, found {processes}; give another --gpus")
    if path is None:
        count = processes or 1
        base = Sharding(
            "single" if count == 1 else "DDP",
            count,
            source=f"no accelerate file: {count} process{'es' if count > 1 else ''}",
        )
        return _named_by_config(base, deepspeed)
    content = _load(path)
    count = processes or int(content.get("num_processes") or 1)
    base = Sharding(
        "single" if count == 1 else "DDP",
        count,
        str(content.get("mixed_precision") or "no"),
        source=str(path),
    )
    kind = str(content.get("distributed_type") or "NO")
    if kind in _DATA_PARALLEL:
        return _named_by_config(base, deepspeed)
    if kind == "DEEPSPEED":
        return _deepspeed(base, content.get("deepspeed_config") or {}, path)
    if kind == "FSDP":
        return _fsdp(base, content.get("fsdp_config") or {})
    raise unknown(f"distributed_type in {path}", kind, (*_DATA_PARALLEL, "DEEPSPEED", "FSDP"))


def _named_by_config(base: Sharding, deepspeed: str | None) -> Sharding:
    """Data parallel, unless the config names a DeepSpeed file: transformers follows that."""
    if deepspeed is None:
        return base
    section = {"deepspeed_config_file": deepspeed}
    return _deepspeed(replace(base, source=deepspeed), section, Path(deepspeed))


def _deepspeed(base: Sharding, section: dict[str, Any], path: Path) -> Sharding:
    zero: dict[str, Any] = {}
    file = section.get("deepspeed_config_file")
    if file is not None:
        zero = _load(Path(file)).get("zero_optimization") or {}
    stage = int(section.get("zero_stage", zero.get("stage", 2)))
    if stage not in (1, 2, 3):
        raise InputError(f"expected zero_stage 1, 2 or 3 in {path}, found {stage}; choose one")
    kinds: dict[int, Kind] = {1: "ZeRO-1", 2: "ZeRO-2", 3: "ZeRO-3"}
    return replace(
        base,
        kind=kinds[stage],
        offload_optimizer=_offloads(section, zero, "optimizer"),
        offload_weights=_offloads(section, zero, "param"),
        reduce_bucket=_number(zero.get("reduce_bucket_size"), REDUCE_BUCKET),
        # Stage 3 has one bucket a dtype however it overlaps.
        double_bucket=stage < 3 and bool(zero.get("overlap_comm", False)),
        max_live=_number(zero.get("stage3_max_live_parameters"), MAX_LIVE) or MAX_LIVE,
    )


def _fsdp(base: Sharding, section: dict[str, Any]) -> Sharding:
    strategy = str(section.get("fsdp_sharding_strategy", "FULL_SHARD")).upper()
    if strategy in ("NO_SHARD", "3"):
        return base
    reshard = section.get("fsdp_reshard_after_forward", True)
    kept = strategy in ("SHARD_GRAD_OP", "2") or reshard in (False, "false", "SHARD_GRAD_OP")
    offload = bool(section.get("fsdp_offload_params", False))
    return replace(
        base,
        kind="FSDP",
        offload_optimizer=offload,
        offload_weights=offload,
        reshard=not kept,
    )


def _offloads(section: dict[str, Any], zero: dict[str, Any], what: str) -> bool:
    given = section.get(f"offload_{what}_device")
    if given is None:
        given = (zero.get(f"offload_{what}") or {}).get("device")
    return given not in (None, "none", "None")


def _number(value: Any, otherwise: int) -> int | None:
    """A number of a DeepSpeed file; None where it says `auto`."""
    if value == "auto":
        return None
    return otherwise if value is None else int(float(value))


def _load(path: Path) -> dict[str, Any]:
    read = read_json if path.suffix == ".json" else read_yaml
    content = read(path, "an accelerate file")
    if not isinstance(content, dict):
        raise InputError(
            f"expected the keys of a launch file in {path}, found {type(content).__name__}; check "
            "the file"
        )
    return content
