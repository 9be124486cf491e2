"""LoRA adapters onto their base: every tensor finds its place, or nothing is loaded."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from peft import PeftModel, get_peft_model_state_dict
from safetensors import safe_open

from anomalyr1.config import PolicyConfig
from anomalyr1.errors import InputError
from anomalyr1.storage import read_json

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"


def read_adapter(adapter: Path) -> dict[str, Any]:
    """The account of its kind and its base of an adapter that has its weights.

    Raises:
        InputError: it names no base, or has no weights as safetensors.
    """
    config = read_adapter_config(adapter)
    if not (adapter / ADAPTER_WEIGHTS).is_file():
        raise InputError(
            f"expected {ADAPTER_WEIGHTS} in {adapter}, found none; save the adapter again, as "
            "safetensors"
        )
    return config


def read_adapter_config(adapter: Path) -> dict[str, Any]:
    """The adapter's own account of its kind and its base, `base_model_name_or_path`.

    Raises:
        InputError: it names no base.
    """
    config: Any = read_json(adapter / ADAPTER_CONFIG, "the record of an adapter")
    base = config.get("base_model_name_or_path") if isinstance(config, dict) else None
    if not isinstance(base, str) or not base:
        raise InputError(
            f"expected base_model_name_or_path in {adapter / ADAPTER_CONFIG}, found {base!r}; "
            "write the path of the base there"
        )
    return dict(config)


def base_of(policy: PolicyConfig) -> tuple[str, str | None]:
    """Path and revision of the weights: those of the base where `policy.path` is an adapter.

    Raises:
        InputError: an adapter names no base, or has no weights as safetensors.
    """
    folder = Path(policy.path)
    if not (folder / ADAPTER_CONFIG).is_file():
        return policy.path, policy.revision
    adapter = read_adapter(folder)
    return str(adapter["base_model_name_or_path"]), policy.revision or adapter.get("revision")


def load_adapter(model: Any, adapter: Path, *, trainable: bool = False) -> Any:
    """The model with the adapter on it, loaded on the CPU.

    peft makes a tensor that it does not find afresh, and drops one that finds no place, with no
    more than a warning: the policy would answer as its base. A changed naming of modules between
    versions of transformers is how that comes about.

    Raises:
        InputError: the adapter does not fit the model.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Found missing adapter keys")
            adapted = PeftModel.from_pretrained(
                model, str(adapter), is_trainable=trainable, torch_device="cpu"
            )
    except Exception as error:  # whatever a library says of files cut off or of another form
        raise _does_not_fit(adapter, first_line(error)) from None
    with safe_open(adapter / ADAPTER_WEIGHTS, framework="pt") as file:
        saved = {name for name in file.keys() if "lora_" in name}  # noqa: SIM118
    loaded = get_peft_model_state_dict(adapted, save_embedding_layers=False)
    stray = saved ^ {name for name in loaded if "lora_" in name}
    if stray:
        raise _does_not_fit(adapter, f"{len(stray)} tensors without a place, like {min(stray)}")
    return adapted


def first_line(error: Exception) -> str:
    """The first line of what a library says, with the kind of error where that says little."""
    lines = str(error).strip().splitlines()
    kind = type(error).__name__
    if not lines:
        return kind
    return f"{kind}: {lines[0]}" if isinstance(error, LookupError) else lines[0]


def _does_not_fit(adapter: Path, found: str) -> InputError:
    return InputError(
        f"expected the adapter {adapter} to fit its base, found {found}; check the base, and the "
        "version of transformers that it was trained with"
    )
