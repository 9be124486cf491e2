"""The policy without its weights: its configuration, a copy on the meta device, its parameters."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig, get_peft_model
from transformers import AutoConfig, AutoModelForImageTextToText, Qwen2_5_VLConfig

from anomalyr1.config import PolicyConfig
from anomalyr1.errors import InputError
from anomalyr1.planning.published import KNOWN
from anomalyr1.policy.adapters import ADAPTER_CONFIG, first_line, read_adapter_config
from anomalyr1.policy.family import FAMILIES, QWEN2_5_VL, family_of
from anomalyr1.policy.hub import could_be_hub_id
from anomalyr1.policy.load import freeze, lora_config, stated_dtype
from anomalyr1.policy.precision import learn_in_float32

PUBLISHED = "published numbers (the checkpoint is not on this machine)"
PARTS = ("vision", "projector", "language", "head", "LoRA")


@dataclass(frozen=True)
class Architecture:
    """What is known of a policy before its weights are read.

    Attributes:
        config: of the base model.
        adapter: folder of a trained adapter that goes on top, or None.
        source: where the configuration comes from, in words.
        here: the checkpoint's own files can be read, its tokenizer among them.
    """

    config: Qwen2_5_VLConfig
    adapter: Path | None
    source: str
    here: bool


@dataclass(frozen=True)
class Count:
    """Parameters of one part."""

    total: int
    trained: int


def read_architecture(policy: PolicyConfig) -> Architecture:
    """The configuration of `policy.path`; weights are never read and known ids never fetched.

    Raises:
        InputError: there is no such checkpoint, or it is no Qwen2.5-VL.
    """
    path, adapter = policy.path, None
    if (Path(path) / ADAPTER_CONFIG).is_file():
        adapter, path = Path(path), str(read_adapter_config(Path(path))["base_model_name_or_path"])
    config, source = _read(path, policy.revision)
    here = source != PUBLISHED or adapter is not None
    if config.model_type != QWEN2_5_VL.model_type:
        raise _not_traced(policy.path, family_of(config.model_type).name)
    return Architecture(config, adapter, source, here)


def meta_model(
    architecture: Architecture,
    policy: PolicyConfig,
    *,
    dtype: torch.dtype = torch.float32,
    attention: str = "sdpa",
    upcast_trained: bool = True,
    autocast: bool = True,
) -> torch.nn.Module:
    """The model as the trainer holds it, frozen parts and adapter included, on the meta device.

    Args:
        architecture: of the base model; of a trained adapter on it the shape is used.
        policy: says what is frozen and which adapter is added.
        dtype: of the weights as they are loaded.
        attention: kernel name.
        upcast_trained: hold what learns in float32, as peft and the trainer do.
        autocast: passes run under it.
    """
    with torch.device("meta"):
        model: Any = AutoModelForImageTextToText.from_config(
            copy.deepcopy(architecture.config),  # it writes the dtype there
            dtype=dtype,
            attn_implementation=attention,
            trust_remote_code=False,
        )
        lora = lora_config(policy)
        if architecture.adapter is not None:
            lora = PeftConfig.from_pretrained(str(architecture.adapter))
            lora.inference_mode = False
        if lora is not None:
            model = get_peft_model(model, lora, autocast_adapter_dtype=upcast_trained)
        freeze(model, vision=policy.freeze_vision, projector=policy.freeze_projector)
        if upcast_trained:
            learn_in_float32(model, autocast=autocast)
    held: torch.nn.Module = model.train()
    return held


def held_dtype(config: Qwen2_5_VLConfig, policy: PolicyConfig) -> torch.dtype:
    """The dtype the weights are loaded in; float32, the most, where no config names one."""
    return stated_dtype(policy, config) or torch.float32


def part_of(name: str) -> str:
    """The part a parameter belongs to.

    >>> part_of("model.visual.merger.mlp.0.weight"), part_of("lm_head.weight")
    ('projector', 'head')
    """
    if ".lora_" in name:
        return "LoRA"
    return "head" if "lm_head" in name else QWEN2_5_VL.part_of(name)


def count_parameters(model: torch.nn.Module) -> dict[str, Count]:
    """Parameters by part; a head tied to the embedding has none of its own."""
    totals = dict.fromkeys(PARTS, 0)
    trained = dict.fromkeys(PARTS, 0)
    for name, parameter in model.named_parameters():
        part = part_of(f".{name}")
        totals[part] += parameter.numel()
        trained[part] += parameter.numel() * parameter.requires_grad
    return {part: Count(totals[part], trained[part]) for part in PARTS}


def _read(path: str, revision: str | None) -> tuple[Any, str]:
    local = Path(path).is_dir()
    # A known id is not looked up in the network: its numbers are the ones above.
    offline = path in KNOWN or not could_be_hub_id(path)
    options: dict[str, Any] = {"revision": revision, "trust_remote_code": False}
    try:
        config = AutoConfig.from_pretrained(path, local_files_only=offline, **options)
    except Exception as error:  # whatever a library says of a file cut off or of another form
        if path in KNOWN and not local:
            return Qwen2_5_VLConfig(**KNOWN[path]), PUBLISHED
        for family in FAMILIES:  # hub ids begin with the name their makers gave
            if family is not QWEN2_5_VL and path.partition("/")[2].startswith(f"{family.name}-"):
                raise _not_traced(path, family.name) from None
        reason = first_line(error)
        raise InputError(
            f"expected a Qwen2.5-VL checkpoint at policy.path={path}, found none that loads "
            f"({reason}); check the path, or plan with {' or '.join(KNOWN)}"
        ) from None
    return config, f"{path}/config.json" if local else "its config.json"


def _not_traced(path: str, family: str) -> InputError:
    return InputError(
        f"expected a Qwen2.5-VL at policy.path={path}, whose layers are what plan knows, found a "
        f"{family}; plan for a Qwen2.5-VL of about its size, or try a short run"
    )
