"""Loading a policy: model, processor, LoRA, frozen parts, pixel caps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    AutoProcessor,
    PreTrainedModel,
    ProcessorMixin,
)

from anomalyr1.config import PolicyConfig
from anomalyr1.errors import InputError
from anomalyr1.policy.adapters import ADAPTER_CONFIG, base_of, first_line, load_adapter
from anomalyr1.policy.family import FAMILIES, Family, family_of
from anomalyr1.policy.hub import could_be_hub_id
from anomalyr1.policy.own_code import refuse_own_code
from anomalyr1.policy.resizing import require_pixel_limits

_KNOWN = " or ".join(family.name for family in FAMILIES)


@dataclass(frozen=True)
class Policy:
    """A model and the processor that feeds it."""

    model: PreTrainedModel
    processor: ProcessorMixin

    @property
    def family(self) -> Family:
        """What is particular to its family, the frame of its boxes above all."""
        return family_of(self.model.config.model_type)


def load_policy(config: PolicyConfig, *, trainable: bool = False) -> Policy:
    """Load model and processor by hub id, checkpoint folder or adapter folder.

    An adapter folder (one with `adapter_config.json`) is loaded onto its base model. When
    `trainable`, the parts that the config freezes stop asking for gradients; a fresh LoRA adapter
    is not added here but by the trainer, from `lora_config`.

    Raises:
        InputError: nothing loadable is at `config.path`, or an adapter that does not fit its base.
    """
    processor = load_processor(config)
    folder, (base, revision) = Path(config.path), base_of(config)
    if not (folder / ADAPTER_CONFIG).is_file():
        model = _load_model(base, revision, config)
    elif trainable and config.lora is not None:
        raise InputError(
            f"expected whole weights beside policy.lora, found an adapter at {config.path}; "
            "leave policy.lora out to train that adapter on, or `anomalyr1 merge` it first"
        )
    else:
        model = _load_model(base, revision, config)
        model = load_adapter(model, folder, trainable=trainable)
    _require_fit(model, processor, config.path)
    if trainable:
        freeze(model, vision=config.freeze_vision, projector=config.freeze_projector)
    else:
        model.requires_grad_(False)
        model.eval()
    return Policy(model, processor)


def load_processor(config: PolicyConfig) -> ProcessorMixin:
    """The processor alone, with the pixel caps of the config.

    Raises:
        InputError: nothing loadable is at `config.path`.
    """
    _require_local(config.path)
    refuse_own_code(Path(config.path))
    try:
        processor = AutoProcessor.from_pretrained(
            config.path, revision=config.revision, trust_remote_code=False
        )
    except Exception as error:  # whatever a library says of files cut off or of another form
        raise _not_loadable(config.path, error) from None
    require_pixel_limits(getattr(processor, "image_processor", None), config.path)
    _require_template(processor, config.path)
    processor.image_processor.size = {
        "shortest_edge": config.min_pixels,
        "longest_edge": config.max_pixels,
    }
    processor.tokenizer.padding_side = "left"
    return processor


def read_config(config: PolicyConfig) -> Any:
    """The config.json of the policy, or of an adapter's base.

    Raises:
        InputError: nothing readable is at `config.path`.
    """
    path, revision = base_of(config)
    try:
        return AutoConfig.from_pretrained(path, revision=revision, trust_remote_code=False)
    except Exception as error:  # as above
        raise _not_loadable(path, error) from None


def read_family(config: PolicyConfig) -> Family:
    """The family of the policy, or of an adapter's base, from its config.json alone.

    Raises:
        InputError: nothing readable is at `config.path`.
    """
    return family_of(read_config(config).model_type)


def read_dtype(config: PolicyConfig) -> torch.dtype:
    """The dtype that `load_policy` would hold the weights in, found without reading them.

    Raises:
        InputError: nothing readable is at `config.path`.
    """
    stated = stated_dtype(config, read_config(config))
    if stated is not None:
        return stated
    # The first floating-point weight decides, by transformers' own rule.
    empty = _load_model(*base_of(config), config, device_map="meta", attn_implementation="eager")
    return dtype_named(str(empty.dtype))


def stated_dtype(config: PolicyConfig, found: Any) -> torch.dtype | None:
    """The dtype that the setting names or, where it is `auto`, the checkpoint's config.json.

    Args:
        config: of the policy.
        found: its config.json as transformers reads it.

    Returns:
        None where neither names one: the weights have it.
    """
    named = found.dtype if config.dtype == "auto" else config.dtype
    return None if named is None else dtype_named(str(named))


def dtype_named(name: str) -> torch.dtype:
    """A torch dtype by its name.

    >>> dtype_named("bfloat16"), dtype_named("torch.float32")
    (torch.bfloat16, torch.float32)
    """
    dtype = getattr(torch, name.removeprefix("torch."))
    assert isinstance(dtype, torch.dtype)
    return dtype


def lora_config(config: PolicyConfig) -> LoraConfig | None:
    """The adapter the trainer adds, or None for training the weights themselves."""
    if config.lora is None:
        return None
    return LoraConfig(
        r=config.lora.r,
        lora_alpha=config.lora.alpha,
        lora_dropout=config.lora.dropout,
        target_modules=config.lora.target_modules,
        task_type="CAUSAL_LM",
        revision=config.revision,
    )


def reference_options(config: PolicyConfig) -> dict[str, Any]:
    """TRL's argument by which it loads the reference policy: the same revision as the policy.

    The policy itself TRL is given, and only its path stands in its config.
    """
    return {"model_init_kwargs": {"revision": config.revision}} if config.revision else {}


def freeze(model: Any, *, vision: bool, projector: bool) -> None:
    """Stop gradients in the vision tower and, separately, in its patch merger (the projector).

    Raises:
        InputError: a part is to be frozen that the model does not have under its family's name.
    """
    family = family_of(model.config.model_type)
    frozen = {part for part, asked in (("vision", vision), ("projector", projector)) if asked}
    found = set()
    for name, parameter in model.named_parameters():
        part = family.part_of(name)
        if part in frozen:
            parameter.requires_grad_(False)
            found.add(part)
    for part in sorted(frozen - found):
        raise InputError(
            f"expected a {part} to freeze in a {family.name}, found no weights under "
            f"{' or '.join(family.projectors) if part == 'projector' else family.tower}; set "
            f"policy.freeze_{part}=false"
        )


def _load_model(
    path: str, revision: str | None, config: PolicyConfig, **given: Any
) -> PreTrainedModel:
    options: dict[str, Any] = {
        "dtype": config.dtype if config.dtype == "auto" else dtype_named(config.dtype),
        "attn_implementation": config.kernel,
        **given,
    }
    refuse_own_code(Path(path))
    try:
        return AutoModelForImageTextToText.from_pretrained(
            path,
            revision=revision,
            trust_remote_code=False,
            use_safetensors=True,
            **options,
        )
    except Exception as error:  # as above; safetensors has an error of its own
        raise _not_loadable(path, error) from None


def _require_fit(model: Any, processor: Any, path: str) -> None:
    """A processor of another family would cut images into other patches than the tower knows."""
    family, images = family_of(model.config.model_type), processor.image_processor
    found = images.patch_size, images.merge_size
    if family.unit is not None and found != (family.patch_size, family.merge_size):
        raise InputError(
            f"expected the processor of a {family.name} (patches of {family.patch_size} pixels, "
            f"merged by {family.merge_size}) at policy.path={path}, found patches of {found[0]} "
            f"merged by {found[1]}; save the processor again that belongs to the weights"
        )


def _require_template(processor: ProcessorMixin, path: str) -> None:
    """A chat template that is cut off or empty would ask nothing, and say nothing of it."""
    asked = [{"role": "user", "content": [{"type": "text", "text": "question"}]}]
    try:
        prompt = processor.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
    except Exception as error:
        raise _not_loadable(path, error) from None
    if "question" not in prompt:
        raise _not_loadable(path, ValueError("its chat template leaves the question out"))


def _require_local(path: str) -> None:
    """What cannot be a hub id is a folder: do not ask the network for it."""
    if not Path(path).is_dir() and not could_be_hub_id(path):
        raise InputError(
            f"expected a {_KNOWN} checkpoint folder at policy.path={path}, found none; "
            "check the path, or make the policy first"
        )


def _not_loadable(path: str, error: Exception) -> InputError:
    return InputError(
        f"expected a {_KNOWN} checkpoint (hub id or folder) at policy.path={path}, "
        f"found none that loads ({first_line(error)}); check the path or download it first"
    )
