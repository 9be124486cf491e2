"""TRL's arguments out of the verbatim sections of a config."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from transformers import TrainingArguments
from trl import GRPOConfig

from anomalyr1.config import Config
from anomalyr1.errors import InputError, one_line, unknown_key
from anomalyr1.run_folder import CHECKPOINTS

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


def trl_defaults(kind: type) -> dict[str, Any]:
    """What TRL takes where a key is left out."""
    assert dataclasses.is_dataclass(kind)
    return {
        field.name: field.default
        for field in dataclasses.fields(kind)
        if field.default is not dataclasses.MISSING
    }


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
                f"expected {section} without {key}, which is decided by {_DECIDED_BY[key]}, "
                f"found {section}.{key}={given[key]!r}; leave the key out"
            )
        if key not in trl_keys(kind):
            raise InputError(
                f"expected keys of TRL's {kind.__name__} in {section}, found "
                f"{unknown_key(f'{section}.{key}', key, trl_keys(kind))}; correct it"
            )
    _refuse_values(kind, section, given)
    ours = {"output_dir": str(Path(config.run_dir) / CHECKPOINTS), "seed": config.seed}
    try:
        return kind(**ours, **fixed, **given)
    except (ValueError, TypeError, ArithmeticError) as error:
        raise InputError(
            f"expected a {section} section that TRL accepts, found: {one_line(error)}; correct it"
        ) from None


def refuse_data_parallel(arguments: TrainingArguments) -> None:
    """One process would spread its batches over all GPUs it sees, which TRL does not support.

    Raises:
        InputError: no launcher gave this process a GPU of its own, and it sees several.
    """
    if arguments.n_gpu > 1:
        raise InputError(
            f"expected one GPU for each process, found {arguments.n_gpu} and one process; start it "
            "with `accelerate launch -m anomalyr1 ...`, or show it one (CUDA_VISIBLE_DEVICES=0)"
        )


def refuse_too_few(rows: int, arguments: GRPOConfig) -> None:
    """A rollout is of different prompts: where there are fewer, TRL's epoch has no step.

    Args:
        rows: of the training data, one a prompt.
        arguments: TRL's.

    Raises:
        InputError: the data hold fewer rows than a rollout asks prompts.
    """
    size, generations = arguments.generation_batch_size, arguments.num_generations
    if rows < size // generations:
        rest = f"{arguments.per_device_train_batch_size} x {arguments.world_size} x "
        rest += f"{arguments.steps_per_generation} / {generations}"
        raise InputError(
            f"expected a row for each of the {size // generations} prompts of a rollout "
            "(per_device_train_batch_size x processes x steps_per_generation / num_generations = "
            f"{rest}), found {rows}; lower grpo.per_device_train_batch_size, "
            "grpo.steps_per_generation or grpo.gradient_accumulation_steps, or take more data"
        )


# Smallest value of keys that neither TRL nor transformers looks at before work starts.
_AT_LEAST = {
    "per_device_train_batch_size": 1,
    "gradient_accumulation_steps": 1,
    "num_generations": 2,
    "num_iterations": 1,
    "max_completion_length": 1,
    "learning_rate": 0,
    "weight_decay": 0,
    "beta": 0,
    "epsilon": 0,
    "max_grad_norm": 0,
    "repetition_penalty": 0,
    "top_k": 0,
    "top_p": 0,
    "temperature": 0,
}
_ABOVE = ("temperature", "repetition_penalty", "top_p")  # 0 itself is no value of these
_AT_MOST = {"top_p": 1, "min_p": 1}


def _refuse_values(kind: type, section: str, given: Mapping[str, Any]) -> None:
    """Values of the wrong kind or out of range, all of them at once."""
    assert dataclasses.is_dataclass(kind)
    wrong = []
    for field in dataclasses.fields(kind):
        if given.get(field.name) is None:
            continue
        value = given[field.name]
        wanted = _wanted(field, value)
        if wanted:
            wrong.append(f"{section}.{field.name}={value!r} (expected {wanted})")
    if given.get("max_steps") == 0:
        wrong.append(f"{section}.max_steps=0 (expected steps, or -1 for num_train_epochs)")
    if wrong:
        raise InputError(
            f"expected values that a training can use, found {', '.join(wrong)}; correct them"
        )


def _wanted(field: dataclasses.Field[Any], value: Any) -> str | None:
    """What a key takes, where `value` is not that; known from its default."""
    name, default = field.name, field.default
    if isinstance(default, bool):
        return None if isinstance(value, bool) else "true or false"
    if not isinstance(default, int | float):
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "a number"
    if isinstance(default, int) and "float" not in str(field.type) and value != int(value):
        return "a whole number"
    if name in _ABOVE and value <= 0:
        return "above 0"
    if value < _AT_LEAST.get(name, value):
        return f"{_AT_LEAST[name]} or more"
    return f"at most {_AT_MOST[name]}" if value > _AT_MOST.get(name, value) else None
