"""LoRA adapters into their base model, checked by logits before anything is kept."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from anomalyr1.errors import InputError, unknown
from anomalyr1.output_folder import new_folder, require_new
from anomalyr1.policy.adapters import ADAPTER_CONFIG, first_line, load_adapter, read_adapter
from anomalyr1.policy.hub import could_be_hub_id
from anomalyr1.policy.own_code import refuse_own_code
from anomalyr1.policy.precision import computed_in_float32
from anomalyr1.policy.weights import saving

# Largest allowed difference of two logits, as a share of the largest logit. Beside the base an
# adapter keeps its own 24 bits; once merged, every weight is rounded to the base's dtype: 24 bits
# of significand in float32, 11 in float16, 8 in bfloat16. That alone moves the logits of a random
# Qwen2.5-VL-3B by 0.02 in bfloat16; activations in bfloat16 would move them by 0.06.
TOLERANCES = {torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 5e-2}


@dataclass(frozen=True)
class Merge:
    """What a merge did; the three shares are of the largest logit.

    Attributes:
        base: the model that the adapter was trained on.
        out: the folder written.
        dtype: of the weights written.
        difference: largest difference between base with adapter and merged, or merged and reloaded.
        tolerance: what was allowed.
        moved: how far the adapter moves the logits; 0 for one that was never trained.
    """

    base: str
    out: Path
    dtype: str
    difference: float
    tolerance: float
    moved: float


def merge_adapter(
    adapter: Path, out: Path, *, dtype: str = "auto", carry: Sequence[str] = ()
) -> Merge:
    """Write base plus adapter as one checkpoint, on the CPU.

    The logits of a small prompt with an image must stay the same, relative to the largest of them:
    within 1e-4 for weights in float32, 1e-2 in float16 and 5e-2 in bfloat16, activations being
    float32 for all. The last is loose: it finds a merge that went wrong, not one that lost digits;
    `moved` says what it is to be compared with.
    The saved folder is loaded once and held against the same logits; `out` is there whole or not
    at all.

    Args:
        adapter: folder with adapter_config.json and a processor.
        out: folder to write; new or empty.
        dtype: of the weights written; `auto` keeps the base checkpoint's.
        carry: names of other files of the adapter folder that go along where they are there.

    Raises:
        InputError: there is nothing to merge, the base or the processor does not load, the adapter
            does not fit the base, `out` is in use, or the logits differ.
    """
    base, revision = _base_of(adapter)
    require_new(out)
    processor = _load_processor(adapter)
    inputs = _prompt(processor)
    model: Any = load_adapter(_load_base(base, revision, dtype, adapter), adapter).eval()
    before = _logits(model, inputs)
    with model.disable_adapter():
        moved = _difference(before, _logits(model, inputs))
    model = model.merge_and_unload()
    merged = _logits(model, inputs)
    tolerance = TOLERANCES[model.dtype]
    difference = _difference(before, merged)
    _require_equal(difference, tolerance, f"the merge of {adapter} into {base}")
    written = model.dtype
    with new_folder(out):
        temporary = out / ".unproven"
        with saving(temporary):
            model.save_pretrained(temporary)
            processor.save_pretrained(temporary)
        for name in carry:
            if (adapter / name).is_file():
                shutil.copyfile(adapter / name, temporary / name)
        del model  # two whole models need not fit beside each other
        reloaded = _difference(merged, _logits(_load(str(temporary), None, written), inputs))
        _require_equal(reloaded, tolerance, "the saved policy once it is loaded again")
        for file in sorted(temporary.iterdir()):
            file.rename(out / file.name)
        temporary.rmdir()
    name = str(written).removeprefix("torch.")
    return Merge(base, out, name, max(difference, reloaded), tolerance, moved)


def _base_of(adapter: Path) -> tuple[str, str | None]:
    """The base and its revision, by the adapter's own account."""
    if not adapter.is_dir():
        raise InputError(f"expected a run or an adapter at {adapter}, found none; check the path")
    if not (adapter / ADAPTER_CONFIG).is_file():
        if (adapter / "config.json").is_file():
            raise InputError(
                f"expected {ADAPTER_CONFIG} in {adapter}, found a checkpoint without an adapter: "
                "nothing to merge, it is already whole; use it as it is"
            )
        raise InputError(
            f"expected {ADAPTER_CONFIG} in {adapter}, found neither an adapter nor a checkpoint; "
            "give a run folder, or the adapter's own folder"
        )
    config = read_adapter(adapter)
    if config.get("peft_type") != "LORA":
        raise InputError(
            f"expected a LoRA adapter in {adapter}, found peft_type {config.get('peft_type')!r}; "
            "evaluate it as it is, unmerged"
        )
    return str(config["base_model_name_or_path"]), config.get("revision")


def _load_processor(adapter: Path) -> Any:
    """The processor as it was saved, with its own pixel caps."""
    try:
        return AutoProcessor.from_pretrained(str(adapter), trust_remote_code=False)
    except Exception as error:  # whatever a library says of files cut off or of another form
        raise InputError(
            f"expected the processor beside the adapter in {adapter}, found none that loads "
            f"({first_line(error)}); bring the files of the base's processor there"
        ) from None


def _load_base(base: str, revision: str | None, dtype: str, adapter: Path) -> Any:
    names = {str(known).removeprefix("torch."): known for known in TOLERANCES}
    if dtype != "auto" and dtype not in names:
        raise unknown("a dtype", dtype, ("auto", *names))
    if (Path(base) / ADAPTER_CONFIG).is_file():
        raise InputError(
            f"expected a whole checkpoint as the base of {adapter}, found an adapter at {base}; "
            "merge that one first, then name the merged folder in base_model_name_or_path"
        )
    if not Path(base).is_dir() and not could_be_hub_id(base):
        raise _no_base(adapter, base, "no such folder")
    refuse_own_code(Path(base))
    refuse_own_code(adapter)
    try:
        model = _load(base, revision, names.get(dtype, "auto"))
    except Exception as error:  # as above
        raise _no_base(adapter, base, f"none that loads ({first_line(error)})") from None
    if model.dtype not in TOLERANCES:
        raise InputError(
            f"expected a base with weights of {', '.join(names)}, found {model.dtype}; "
            "choose one with --dtype"
        )
    return model


def _no_base(adapter: Path, base: str, found: str) -> InputError:
    return InputError(
        f"expected the base model {base} that {adapter / ADAPTER_CONFIG} names, found {found}; "
        "download it, start from the folder that a relative path counts from, or correct "
        "base_model_name_or_path"
    )


def _load(path: str, revision: str | None, dtype: torch.dtype | str) -> Any:
    model = AutoModelForImageTextToText.from_pretrained(
        path, revision=revision, dtype=dtype, trust_remote_code=False, use_safetensors=True
    )
    return model.eval()


def _prompt(processor: Any) -> Any:
    """A question about an image of 56 x 56 pixels whose colours shade in two directions."""
    shade = Image.linear_gradient("L").resize((56, 56))
    image = Image.merge("RGB", (shade, shade.rotate(90), shade.rotate(180)))
    content = [{"type": "image"}, {"type": "text", "text": "Is there a defect in the object?"}]
    text = processor.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    return processor(text=[text], images=[[image]], return_tensors="pt", add_special_tokens=False)


@torch.inference_mode()
def _logits(model: Any, inputs: Any) -> torch.Tensor:
    """(1, tokens, vocabulary), float32."""
    with computed_in_float32(model):
        logits: torch.Tensor = model(**inputs).logits
    return logits


def _difference(one: torch.Tensor, other: torch.Tensor) -> float:
    """Largest difference as a share of the largest logit of `one`.

    >>> _difference(torch.tensor([2.0, -4.0]), torch.tensor([2.0, -3.0]))
    0.25
    """
    return ((one - other).abs().max() / one.abs().max()).item()


def _require_equal(difference: float, tolerance: float, what: str) -> None:
    if not difference <= tolerance:  # not a number is no agreement either
        raise InputError(
            f"expected {what} to keep the logits within {tolerance:g} of their scale, found "
            f"{difference:.2g}, and nothing was written; take --dtype float32"
        )
