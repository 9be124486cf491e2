"""A merged adapter answers as base and adapter do together; what cannot be merged is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from commands import invoke
from peft import LoraConfig, PeftModel, get_peft_model
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText, AutoProcessor

from anomalyr1.cli import app
from anomalyr1.config import LoraSection, PolicyConfig
from anomalyr1.errors import InputError
from anomalyr1.policy import merge as merging
from anomalyr1.policy.generate import generate
from anomalyr1.policy.load import load_policy
from anomalyr1.policy.merge import TOLERANCES, merge_adapter
from anomalyr1.run_folder import TRAINING_DATA

QUESTION = [
    {
        "role": "user",
        "content": [{"type": "image"}, {"type": "text", "text": "Is there a defect?"}],
    }
]
IMAGE = Image.linear_gradient("L").resize((84, 56)).convert("RGB")


def load(path) -> torch.nn.Module:
    return AutoModelForImageTextToText.from_pretrained(str(path)).eval()


def logits(model, processor) -> torch.Tensor:
    text = processor.apply_chat_template(QUESTION, tokenize=False, add_generation_prompt=True)
    inputs = processor(text=[text], images=[[IMAGE]], return_tensors="pt")
    with torch.inference_mode():
        return model(**inputs).logits.float()


def rewrite(path: Path, **changes) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tiny_policy) -> Path:
    """A run folder with an adapter whose weights are the same every time and none of them zero."""
    run = tmp_path_factory.mktemp("run")
    lora = LoraConfig(
        r=4, lora_alpha=8, target_modules=LoraSection().target_modules, task_type="CAUSAL_LM"
    )
    model = get_peft_model(load(tiny_policy), lora)
    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data.normal_(0, 0.2, generator=generator)
    model.save_pretrained(run / "policy")
    processor = AutoProcessor.from_pretrained(str(tiny_policy))
    processor.image_processor.size = {"shortest_edge": 3136, "longest_edge": 6272}
    processor.save_pretrained(run / "policy")
    (run / "policy" / TRAINING_DATA).write_text('{"manifests": []}')
    return run


@pytest.fixture
def adapter(trained, tmp_path) -> Path:
    """A copy of the adapter, to be spoilt."""
    return Path(shutil.copytree(trained / "policy", tmp_path / "adapter"))


def test_the_merged_policy_is_base_and_adapter(trained, tiny_policy, tmp_path):
    out = tmp_path / "new" / "merged"
    result = invoke(app, "merge", trained, "--out", out)
    assert result.exit_code == 0, result.output
    assert f"policy: {out}" in result.output and "largest difference" in result.output
    processor = AutoProcessor.from_pretrained(str(out))
    base = load(tiny_policy)
    alone = logits(base, processor)
    together = logits(PeftModel.from_pretrained(base, str(trained / "policy")), processor)
    merged = logits(load(out), processor)
    assert (together - alone).abs().max() > 0.1 * alone.abs().max()
    torch.testing.assert_close(merged, together, rtol=0, atol=1e-4)
    assert processor.image_processor.size["longest_edge"] == 6272  # the adapter's, not the base's
    names = {path.name for path in out.iterdir()}
    assert {"config.json", "generation_config.json", "model.safetensors", TRAINING_DATA} <= names
    assert not [name for name in names if name.startswith("adapter") or name.endswith(".bin")]
    assert [path.name for path in out.parent.iterdir()] == ["merged"]


def test_the_merged_policy_generates(trained, tmp_path):
    """Into a folder that is there and empty; the adapter's own folder serves as well."""
    done = merge_adapter(trained / "policy", tmp_path)
    assert done.difference <= done.tolerance == 1e-4 and done.moved > 0.1
    policy = load_policy(PolicyConfig(path=str(tmp_path), max_pixels=12544))
    assert not isinstance(policy.model, PeftModel)
    (completion,) = generate(policy, [QUESTION], [[IMAGE]], max_new_tokens=4)
    with_adapter = load_policy(PolicyConfig(path=str(trained / "policy"), max_pixels=12544))
    assert generate(with_adapter, [QUESTION], [[IMAGE]], max_new_tokens=4) == [completion]


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
def test_a_dtype_can_be_chosen(trained, tmp_path, dtype):
    """Rounding stays below half of what is allowed."""
    done = merge_adapter(trained / "policy", tmp_path, dtype=str(dtype).removeprefix("torch."))
    assert done.difference < 0.5 * done.tolerance == 0.5 * TOLERANCES[dtype]
    weights = load_file(tmp_path / "model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {dtype}


def refused(adapter: Path, out: Path, **options) -> str:
    before = sorted(out.parent.iterdir())
    with pytest.raises(InputError) as error:
        merge_adapter(adapter, out, **options)
    assert "\n" not in str(error.value)
    assert sorted(out.parent.iterdir()) == before
    return str(error.value)


def test_what_has_no_adapter_is_refused(tiny_policy, tmp_path):
    out = tmp_path / "out"
    assert "nothing to merge, it is already whole" in refused(tiny_policy, out)
    assert "neither an adapter nor a checkpoint" in refused(tmp_path, out)
    assert "found none; check the path" in refused(tmp_path / "nowhere", out)
    with pytest.raises(InputError):
        invoke(app, "merge", tmp_path, "--out", out)


def test_a_full_folder_is_not_written_into(adapter, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    assert "found files in it; choose another" in refused(adapter, out)
    assert (out / "notes.txt").read_text() == "mine"
    assert "found a file; choose another" in refused(adapter, out / "notes.txt")


BROKEN = [
    ({"base_model_name_or_path": "/no/such/base"}, "/no/such/base that"),
    ({"base_model_name_or_path": "no-owner/no-base"}, "found none that loads (We couldn't"),
    ({"base_model_name_or_path": None}, "expected base_model_name_or_path"),
    ({"peft_type": "IA3"}, "found peft_type 'IA3'"),
    ({"r": 8}, "to fit its base"),
    # The names of modules have changed, the adapter is made afresh and peft only warns.
    ({"target_modules": ["qkv"]}, "tensors without a place, like base_model"),
]


@pytest.mark.parametrize(("changes", "expected"), BROKEN)
def test_an_adapter_that_cannot_be_loaded_is_refused(
    adapter, tmp_path, monkeypatch, changes, expected
):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    rewrite(adapter / "adapter_config.json", **changes)
    assert expected in refused(adapter, tmp_path / "out")


@pytest.mark.parametrize("changes", [{"r": 8}, {"target_modules": ["qkv"]}])
def test_an_adapter_that_does_not_fit_is_no_policy(adapter, changes):
    """Left to peft, the policy would answer as its base does."""
    rewrite(adapter / "adapter_config.json", **changes)
    with pytest.raises(InputError, match="to fit its base"):
        load_policy(PolicyConfig(path=str(adapter)))


def test_an_adapter_needs_its_weights_its_processor_and_a_whole_base(adapter, trained, tmp_path):
    out = tmp_path / "out"
    assert "expected a dtype out of auto" in refused(adapter, out, dtype="int8")
    rewrite(adapter / "adapter_config.json", base_model_name_or_path=str(trained / "policy"))
    assert "merge that one first" in refused(adapter, out)
    weights = adapter / "adapter_model.safetensors"
    weights.rename(adapter / "adapter_model.bin")
    assert "expected adapter_model.safetensors" in refused(adapter, out)
    with pytest.raises(InputError, match="as safetensors"):
        load_policy(PolicyConfig(path=str(adapter)))
    shutil.copy(trained / "policy" / weights.name, weights)
    for name in ("processor_config.json", "tokenizer.json", "tokenizer_config.json"):
        (adapter / name).unlink()
    assert "expected the processor beside the adapter" in refused(adapter, out)


def test_logits_that_move_are_refused(adapter, tmp_path, monkeypatch):
    """By the merge itself, or by what comes back from the disk."""
    out = tmp_path / "out"
    monkeypatch.setitem(merging.TOLERANCES, torch.float32, -1.0)
    assert "nothing was written" in refused(adapter, out)
    monkeypatch.undo()
    real = merging._load

    def spoilt(path, revision, dtype):
        model = real(path, revision, dtype)
        if Path(path).parent == out:  # what was just written
            model.get_output_embeddings().weight.data.mul_(1.01)
        return model

    monkeypatch.setattr(merging, "_load", spoilt)
    assert "the saved policy once it is loaded again" in refused(adapter, out)
    weights = load_file(adapter / "adapter_model.safetensors")
    save_file(
        {name: tensor * float("nan") for name, tensor in weights.items()},
        adapter / "adapter_model.safetensors",
    )
    assert "found nan" in refused(adapter, out)
