"""What a training run is fed: its rows, the held-out rows, and TRL's arguments."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from transformers import ProcessorMixin

from anomalyr1.config import Config
from anomalyr1.data.mmad import Benchmark
from anomalyr1.errors import InputError
from anomalyr1.rows import Row, build_rows, open_benchmark
from anomalyr1.training.checkpoints import CHECKPOINT_DIR

Arguments = TypeVar("Arguments")

# Keys of TRL's configs that the sections of our own config decide.
_DECIDED_BY = {
    "output_dir": "run_dir",
    "seed": "seed",
    "data_seed": "seed",
    "reward_weights": "reward.weights",
    "model_init_kwargs": "policy",
    "resume_from_checkpoint": "resume",
    "remove_unused_columns": "the reward, which needs every column",
    "max_length": "prompt.max_prompt_tokens; a row is refused, never cut",
    "trust_remote_code": "nothing; remote code is never run",
}


def trl_keys(kind: type) -> frozenset[str]:
    """The keys a verbatim section may hold."""
    assert dataclasses.is_dataclass(kind)
    return frozenset(field.name for field in dataclasses.fields(kind)) - _DECIDED_BY.keys()


def trl_arguments(
    kind: type[Arguments], section: str, given: Mapping[str, Any], config: Config, **fixed: Any
) -> Arguments:
    """TRL's own arguments from the verbatim section of the config.

    Raises:
        InputError: a key that TRL does not know or that another section decides, or a combination
            that TRL refuses (its own words are passed on).
    """
    for key in given:
        if key in _DECIDED_BY:
            raise InputError(
                f"expected {section} without {key}, which is decided by {_DECIDED_BY[key]}; "
                f"found {section}.{key}={given[key]!r}"
            )
        if key not in trl_keys(kind):
            nearest = difflib.get_close_matches(key, trl_keys(kind), n=1, cutoff=0.0)[0]
            raise InputError(f"unknown key {section}.{key} (nearest: {nearest})")
    ours = {"output_dir": str(Path(config.run_dir) / CHECKPOINT_DIR), "seed": config.seed}
    try:
        return kind(**ours, **fixed, **given)
    except (ValueError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"expected a {section} section that TRL accepts, found: {reason}"
        ) from None


def training_rows(config: Config, processor: ProcessorMixin) -> tuple[Benchmark, list[Row]]:
    """The benchmark trained on and its rows."""
    data = config.data
    benchmark, samples = open_benchmark(
        data.benchmark,
        "data.benchmark",
        config.prompt,
        root=data.root,
        limit=data.limit,
        shuffle=data.shuffle_options,
        seed=config.seed,
    )
    rows = build_rows(samples, config.prompt, processor, question_types=data.question_types)
    return benchmark, rows


def heldout_rows(config: Config, processor: ProcessorMixin) -> list[Row] | None:
    """The rows scored during training, spread evenly over the held-out benchmark; None without."""
    data = config.data
    if data.heldout is None:
        return None
    _, samples = open_benchmark(
        data.heldout,
        "data.heldout",
        config.prompt,
        root=data.root,
        shuffle=data.shuffle_options,
    )
    rows = build_rows(samples, config.prompt, processor, question_types=data.question_types)
    step = max(1, len(rows) // data.heldout_limit)
    return rows[::step][: data.heldout_limit]
