"""A checkpoint is weights and settings: a pickle is not opened, and code is not run."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import pytest
from commands import run_here

from anomalyr1.config import PolicyConfig
from anomalyr1.errors import InputError
from anomalyr1.policy.load import load_policy, load_processor


class Bomb:
    """Runs a program when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


@pytest.fixture
def policy(tiny_policy, tmp_path) -> Path:
    return shutil.copytree(tiny_policy, tmp_path / "policy")


@pytest.fixture
def mark(tmp_path) -> Path:
    """Is there where code was run."""
    return tmp_path / "hacked"


@pytest.mark.parametrize(
    "name", ["pytorch_model.bin", "model.bin", "model.pt", "consolidated.00.pth", "model.ckpt"]
)
def test_weights_in_a_pickle_are_refused(policy, mark, name):
    (policy / "model.safetensors").unlink()
    (policy / name).write_bytes(pickle.dumps(Bomb(mark)))
    with pytest.raises(InputError, match="checkpoint") as refused:
        load_policy(PolicyConfig(path=str(policy)))
    assert "\n" not in str(refused.value) and not mark.exists()


def test_a_pickle_under_the_name_of_weights_is_refused(policy, mark):
    (policy / "model.safetensors").write_bytes(pickle.dumps(Bomb(mark)))
    with pytest.raises(InputError, match="checkpoint"):
        load_policy(PolicyConfig(path=str(policy)))
    assert not mark.exists()


def test_pickles_beside_the_weights_are_left_closed(policy, mark):
    """A trainer leaves them there."""
    for name in ("training_args.bin", "optimizer.pt", "pytorch_model.bin", "tokenizer.pkl"):
        (policy / name).write_bytes(pickle.dumps(Bomb(mark)))
    load_policy(PolicyConfig(path=str(policy)))
    assert not mark.exists()


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("config.json", {"AutoModelForImageTextToText": "own.Own", "AutoConfig": "own.Own"}),
        ("processor_config.json", {"AutoProcessor": "own.Own"}),
        ("preprocessor_config.json", {"AutoImageProcessor": "someone/else--own.Own"}),
        ("tokenizer_config.json", {"AutoTokenizer": ["own.Own", None]}),
    ],
)
@pytest.mark.parametrize("known", [True, False])
def test_code_of_its_own_is_named_and_not_run(policy, mark, name, entry, known):
    file = policy / name
    content = json.loads(file.read_text()) if file.exists() else {}
    content |= {"auto_map": entry} | ({} if known else {"model_type": "own"})
    file.write_text(json.dumps(content))
    (policy / "own.py").write_text(f"open({str(mark)!r}, 'w')\nclass Own: pass\n")
    for load in (load_policy, load_processor):
        with pytest.raises(InputError, match=f"without code of its own.* auto_map in {name}"):
            load(PolicyConfig(path=str(policy)))
    said = run_here("predict", "data/tiny-policy/config.json", "--policy", policy, status=2)
    assert f"auto_map in {name}" in said and said.startswith("error: ")
    assert not mark.exists()


def test_a_way_to_generate_of_its_own_is_refused(policy, mark):
    (policy / "custom_generate").mkdir()
    (policy / "custom_generate/generate.py").write_text(f"open({str(mark)!r}, 'w')\n")
    with pytest.raises(InputError, match=r"found custom_generate/generate\.py"):
        load_policy(PolicyConfig(path=str(policy)))
    assert not mark.exists()


@pytest.mark.parametrize("name", ["adapter_model.bin", "adapter_model.pt"])
def test_an_adapter_in_a_pickle_is_refused(policy, tmp_path, mark, name):
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    for file in policy.iterdir():
        if file.suffix in (".json", ".jinja") and file.name != "config.json":
            shutil.copy(file, adapter)
    record = {"peft_type": "LORA", "base_model_name_or_path": str(policy), "r": 2}
    (adapter / "adapter_config.json").write_text(json.dumps(record))
    (adapter / name).write_bytes(pickle.dumps(Bomb(mark)))
    with pytest.raises(InputError, match=r"expected adapter_model\.safetensors"):
        load_policy(PolicyConfig(path=str(adapter)))
    said = run_here("merge", adapter, "--out", tmp_path / "merged", status=2)
    assert "adapter_model.safetensors" in said
    assert not mark.exists() and not (tmp_path / "merged").exists()
