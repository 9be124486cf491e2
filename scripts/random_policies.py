"""Random policies and random micro-batches for them, with transformers alone: no hub, no tokenizer.

Both sides of a comparison are one set of weights: `twin` copies the modules around them, so that
`anomalyr1.shared_prefix.prepare` changes one side and leaves the other as transformers made it.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Literal

import torch
from transformers import AutoConfig, GenerationConfig, Qwen2_5_VLForConditionalGeneration

from anomalyr1.planning.published import KNOWN
from anomalyr1.policy.family import QWEN2_5_VL
from anomalyr1.policy.tiny import TinyShape, build_model, image_token_ids, train_tokenizer
from anomalyr1.shared_prefix import Prompt, RowImages

NAME = "Qwen/Qwen2.5-VL-3B-Instruct"
# What learns: all but the vision tower (the default of `policy`), the tower too, or adapters.
Learning = Literal["full", "tower", "lora"]
TEXT_IDS = (100, 250)  # tokens that every vocabulary here has for text


@dataclass(frozen=True)
class Load:
    """A micro-batch: prompts of some pictures and a question, G completions of C tokens each."""

    prompts: int = 1
    images: int = 2
    side: int = 448
    question: int = 32
    completion: int = 128
    generations: int = 8

    @property
    def rows(self) -> int:
        """Completions, B."""
        return self.prompts * self.generations


@dataclass(frozen=True)
class Batch:
    """A micro-batch as tensors.

    Attributes:
        prompts: of the B rows, all of P tokens.
        images: of the rows.
        ids: (B, C) completions.
        mask: (B, C), 1 on tokens.
    """

    prompts: list[Prompt]
    images: RowImages
    ids: torch.Tensor
    mask: torch.Tensor

    def whole(self) -> dict[str, torch.Tensor]:
        """The prompts as stock takes them: B rows, images repeated with them."""
        ids = torch.stack([prompt.ids for prompt in self.prompts])
        kinds = torch.stack([prompt.kinds for prompt in self.prompts])
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        seen = self.images.batch(range(len(ids)))
        return {**inputs, "mm_token_type_ids": kinds, **seen}


def published_config(name: str) -> Any:
    """The config of a published architecture."""
    return AutoConfig.for_model(**deepcopy(KNOWN[name]))


def tiny_config() -> Any:
    """The same at laptop size, to try the code with."""
    tokenizer = train_tokenizer(["Is there any defect in the object?"])
    config = build_model(tokenizer, TinyShape()).config
    # As much gain a layer as 0.02 gives the published width: less, and nobody would see a wrong
    # attention in the numbers.
    for part in (config.text_config, config.vision_config):
        part.initializer_range = 0.02 * (2048 / part.hidden_size) ** 0.5
    return config


def cut_layers(config: Any, layers: int) -> None:
    """Keep the first layers of both towers, in place; the last of the vision tower sees it all."""
    text, vision = config.text_config, config.vision_config
    text.num_hidden_layers, text.layer_types = layers, text.layer_types[:layers]
    vision.depth, vision.fullatt_block_indexes = layers, [layers - 1]


def name_tokens(config: Any, tokenizer: Any) -> tuple[int, int]:
    """Have a config call its special tokens as a tokenizer does; the ids of end and padding."""
    end, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
    text = config.text_config
    text.bos_token_id, text.eos_token_id, text.pad_token_id = pad, end, pad
    for key, token in image_token_ids(tokenizer).items():
        setattr(config, key, token)
    return end, pad


def random_weights(config: Any, device: torch.device, dtype: torch.dtype) -> Any:
    """Weights from a fixed seed; sampling never ends before its last token."""
    torch.manual_seed(0)
    with torch.device(device):
        model: Any = Qwen2_5_VLForConditionalGeneration._from_config(
            config, dtype=dtype, attn_implementation="sdpa"
        )
    model.generation_config = GenerationConfig(
        do_sample=False, pad_token_id=0, bos_token_id=None, eos_token_id=None
    )
    return model.to(device)


def twin(model: Any) -> Any:
    """The same weights in modules of its own."""
    held = [*model.parameters(), *model.buffers()]
    return deepcopy(model, {id(tensor): tensor for tensor in held})


def let_learn(model: Any, learning: Learning) -> Any:
    """Say what learns; for `lora` the model with its adapters, those of `policy.lora`."""
    for name, parameter in model.named_parameters():
        part = QWEN2_5_VL.part_of(name)
        parameter.requires_grad_(learning == "tower" or (learning == "full" and part != "vision"))
    if learning != "lora":
        return model.train()
    from peft import get_peft_model

    from anomalyr1.config import LoraSection, PolicyConfig
    from anomalyr1.policy.load import lora_config

    # Without dropout: chance would set the two sides apart.
    section = PolicyConfig(lora=LoraSection(dropout=0.0))
    return get_peft_model(model, lora_config(section)).train()


def random_batch(config: Any, load: Load, device: torch.device, seed: int = 0) -> Batch:
    """Random pictures, questions and completions; one completion ends a token early.

    There always is one that does, and then stock's attention needs its mask.
    """
    chance = torch.Generator().manual_seed(seed)
    vision = config.vision_config
    side = load.side // vision.patch_size
    patches, merged = side * side, side * side // vision.spatial_merge_size**2
    width = vision.in_channels * vision.temporal_patch_size * vision.patch_size**2

    def text(*shape: int) -> torch.Tensor:
        return torch.randint(*TEXT_IDS, shape, generator=chance)

    prompts, pixels = [], []
    for _ in range(load.prompts):
        start, image, end = (
            torch.tensor([token] * count)
            for token, count in (
                (config.vision_start_token_id, 1),
                (config.image_token_id, merged),
                (config.vision_end_token_id, 1),
            )
        )
        ids = torch.cat([start, image, end] * load.images + [text(load.question)]).to(device)
        prompts.append(Prompt(ids, (ids == config.image_token_id).long()))
        pixels.append(torch.randn(load.images * patches, width, generator=chance).to(device))
    grid = torch.tensor([[1, side, side]] * load.images, device=device)
    of_row = [number for number in range(load.prompts) for _ in range(load.generations)]
    mask = torch.ones(load.rows, load.completion, dtype=torch.long, device=device)
    mask[0, -1] = 0
    return Batch(
        [prompts[number] for number in of_row],
        RowImages([pixels[number] for number in of_row], [grid] * load.rows),
        text(load.rows, load.completion).to(device),
        mask,
    )
