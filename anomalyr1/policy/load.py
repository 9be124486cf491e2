"""Loading a policy: model, processor, LoRA, frozen parts, pixel caps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from qwen_vl_utils.vision_process import smart_resize
from transformers import AutoModelForImageTextToText, AutoProcessor, PreTrainedModel, ProcessorMixin

from anomalyr1.config import PolicyConfig
from anomalyr1.errors import InputError
from anomalyr1.geometry import Frame
from anomalyr1.policy.adapters import ADAPTER_CONFIG, first_line, load_adapter, read_adapter
from anomalyr1.policy.hub import could_be_hub_id


@dataclass(frozen=True)
class Policy:
    """A model and the processor that feeds it."""

    model: PreTrainedModel
    processor: ProcessorMixin


def load_policy(config: PolicyConfig, *, trainable: bool = False) -> Policy:
    """Load model and processor by hub id, checkpoint folder or adapter folder.

    An adapter folder (one with `adapter_config.json`) is loaded onto its base model. When
    `trainable`, the parts that the config freezes stop asking for gradients; a fresh LoRA adapter
    is not added here but by the trainer, from `lora_config`.

    Raises:
        InputError: nothing loadable is at `config.path`, or an adapter that does not fit its base.
    """
    processor = load_processor(config)
    folder = Path(config.path)
    if not (folder / ADAPTER_CONFIG).is_file():
        model = _load_model(config.path, config.revision, config)
    elif trainable and config.lora is not None:
        raise InputError(
            f"expected whole weights beside policy.lora, found an adapter at {config.path}; "
            "leave policy.lora out to train that adapter on, or `anomalyr1 merge` it first"
        )
    else:
        adapter = read_adapter(folder)
        revision = config.revision or adapter.get("revision")
        model = _load_model(str(adapter["base_model_name_or_path"]), revision, config)
        model = load_adapter(model, folder, trainable=trainable)
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
    try:
        processor = AutoProcessor.from_pretrained(
            config.path, revision=config.revision, trust_remote_code=False
        )
    except Exception as error:  # whatever a library says of files cut off or of another form
        raise _not_loadable(config.path, error) from None
    _require_template(processor, config.path)
    processor.image_processor.size = {
        "shortest_edge": config.min_pixels,
        "longest_edge": config.max_pixels,
    }
    processor.tokenizer.padding_side = "left"
    return processor


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
    )


def freeze(model: torch.nn.Module, *, vision: bool, projector: bool) -> None:
    """Stop gradients in the vision tower and, separately, in its patch merger (the projector)."""
    frozen = {"vision": vision, "projector": projector}
    for name, parameter in model.named_parameters():
        if frozen.get(part_of(name), False):
            parameter.requires_grad_(False)


def part_of(name: str) -> str:
    """The part of Qwen2.5-VL that a parameter belongs to.

    >>> part_of("model.visual.merger.mlp.0.weight"), part_of("model.visual.blocks.0.norm1.weight")
    ('projector', 'vision')
    >>> part_of("model.language_model.layers.0.mlp.up_proj.weight")
    'language'
    """
    if ".visual.merger." in f".{name}":
        return "projector"
    return "vision" if ".visual." in f".{name}" else "language"


def model_frame(width: int, height: int, processor: ProcessorMixin) -> Frame:
    """The frame of an image of `width` x `height` pixels once this processor has resized it."""
    images = processor.image_processor
    model_height, model_width = smart_resize(
        height,
        width,
        factor=images.patch_size * images.merge_size,
        min_pixels=images.size["shortest_edge"],
        max_pixels=images.size["longest_edge"],
    )
    return Frame(width, height, model_width, model_height)


def image_tokens(frame: Frame, processor: Any) -> int:
    """Prompt tokens that an image of this frame takes."""
    images = processor.image_processor
    factor: int = images.patch_size * images.merge_size
    return (frame.model_width // factor) * (frame.model_height // factor)


def _load_model(path: str, revision: str | None, config: PolicyConfig) -> PreTrainedModel:
    options: dict[str, Any] = {
        "dtype": config.dtype if config.dtype == "auto" else getattr(torch, config.dtype),
        "attn_implementation": config.kernel,
    }
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
            f"expected a Qwen2.5-VL checkpoint folder at policy.path={path}, found none; "
            "check the path, or make the policy first"
        )


def _not_loadable(path: str, error: Exception) -> InputError:
    return InputError(
        f"expected a Qwen2.5-VL checkpoint (hub id or folder) at policy.path={path}, "
        f"found none that loads ({first_line(error)}); check the path or download it first"
    )
