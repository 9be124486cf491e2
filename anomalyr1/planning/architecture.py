"""The policy without its weights: its configuration, a copy on the meta device, its parameters."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import torch
from peft import PeftConfig, get_peft_model
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    Qwen2_5_VLConfig,
    Qwen3VLConfig,
)

from anomalyr1.config import PolicyConfig
from anomalyr1.errors import InputError
from anomalyr1.planning.published import KNOWN
from anomalyr1.policy.adapters import ADAPTER_CONFIG, first_line, read_adapter_config
from anomalyr1.policy.family import QWEN2_5_VL, QWEN3_VL, Family, family_of
from anomalyr1.policy.hub import could_be_hub_id
from anomalyr1.policy.load import freeze, lora_config, stated_dtype

PUBLISHED = "published numbers (the checkpoint is not on this machine)"
PARTS = ("vision", "projector", "language", "head", "LoRA")
# Whose layers are traced (tape.py), and how messages name them.
TRACED = (QWEN2_5_VL, QWEN3_VL)
_NAMES = " or ".join(family.name for family in TRACED)

PolicyShape: TypeAlias = Qwen2_5_VLConfig | Qwen3VLConfig


@dataclass(frozen=True)
class Architecture:
    """What is known of a policy before its weights are read.

    Attributes:
        config: of the base model.
        adapter: folder of a trained adapter that goes on top, or None.
        source: where the configuration comes from, in words.
        here: the checkpoint's own files can be read, its tokenizer among them.
    """

    config: PolicyShape
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
        InputError: there is no such checkpoint, or it is of a family whose layers are not traced.
    """
    path, adapter = policy.path, None
    if (Path(path) / ADAPTER_CONFIG).is_file():
        adapter, path = Path(path), str(read_adapter_config(Path(path))["base_model_name_or_path"])
    config, source = _read(path, policy.revision)
    here = source != PUBLISHED or adapter is not None
    if config.model_type not in {family.model_type for family in TRACED}:
        raise InputError(
            f"expected a {_NAMES} at policy.path={policy.path}, whose layers are what plan knows, "
            f"found a {config.model_type}; plan for one of those of about its size, or try a short "
            "run"
        )
    return Architecture(config, adapter, source, here)


def one_of_each(config: PolicyShape) -> PolicyShape:
    """The same with one language layer, two vision blocks and one projector on the way, if any."""
    found: Any = copy.deepcopy(config)
    text, vision = found.text_config, found.vision_config
    text.num_hidden_layers, vision.depth = 1, 2
    if config.model_type == QWEN3_VL.model_type:
        vision.deepstack_visual_indexes = list(vision.deepstack_visual_indexes)[:1] and [0]
    else:
        text.layer_types = text.layer_types[:1]
        vision.fullatt_block_indexes = [1]
    shape: PolicyShape = found
    return shape


def meta_model(
    architecture: Architecture,
    policy: PolicyConfig,
    *,
    dtype: torch.dtype = torch.float32,
    attention: str = "sdpa",
    upcast_adapter: bool = True,
) -> torch.nn.Module:
    """The model as the trainer holds it, frozen parts and adapter included, on the meta device.

    Args:
        architecture: of the base model; of a trained adapter on it the shape is used.
        policy: says what is frozen and which adapter is added.
        dtype: of the base weights.
        attention: kernel name.
        upcast_adapter: hold a 16-bit model's adapter in float32, as peft does.
    """
    with torch.device("meta"):
        model: Any = AutoModelForImageTextToText.from_config(
            copy.deepcopy(architecture.config),  # it writes the dtype there
            dtype=dtype,
            attn_implementation=attention,
            trust_remote_code=False,
        )
        freeze(model, vision=policy.freeze_vision, projector=policy.freeze_projector)
        lora = lora_config(policy)
        if architecture.adapter is not None:
            lora = PeftConfig.from_pretrained(str(architecture.adapter))
            lora.inference_mode = False
        if lora is not None:
            model = get_peft_model(model, lora, autocast_adapter_dtype=upcast_adapter)
    held: torch.nn.Module = model.train()
    return held


def held_dtype(config: PolicyShape, policy: PolicyConfig) -> torch.dtype:
    """The dtype the weights are loaded in; float32, the most, where no config names one."""
    return stated_dtype(policy, config) or torch.float32


def part_of(name: str, family: Family) -> str:
    """The part a parameter of a policy of that family belongs to.

    >>> part_of("model.visual.merger.mlp.0.weight", QWEN2_5_VL), part_of("lm_head.weight", QWEN3_VL)
    ('projector', 'head')
    """
    if ".lora_" in name:
        return "LoRA"
    return "head" if "lm_head" in name else family.part_of(name)


def count_parameters(model: Any) -> dict[str, Count]:
    """Parameters by part; a head tied to the embedding has none of its own."""
    family = family_of(model.config.model_type)
    totals = dict.fromkeys(PARTS, 0)
    trained = dict.fromkeys(PARTS, 0)
    for name, parameter in model.named_parameters():
        part = part_of(f".{name}", family)
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
            return AutoConfig.for_model(**copy.deepcopy(KNOWN[path])), PUBLISHED
        reason = first_line(error)
        raise InputError(
            f"expected a {_NAMES} checkpoint at policy.path={path}, found none that loads "
            f"({reason}); check the path, or plan with {' or '.join(KNOWN)}"
        ) from None
    return config, f"{path}/config.json" if local else "its config.json"
