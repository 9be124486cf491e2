"""A policy whose files are cut off, empty or of another form is refused in one line."""

from __future__ import annotations

import json
import shutil

import pytest

from anomalyr1.config import PolicyConfig
from anomalyr1.errors import InputError
from anomalyr1.policy.adapters import read_adapter_config
from anomalyr1.policy.load import load_policy, load_processor


@pytest.fixture
def policy(tiny_policy, tmp_path):
    return shutil.copytree(tiny_policy, tmp_path / "policy")


@pytest.mark.parametrize("content", [None, b"", b"[1]", b"{}", b"\x89PNG\0"])
@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_broken_file_is_one_line(policy, name, content):
    file = policy / name
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2] if content is None else content)
    with pytest.raises(
        InputError, match=r"expected a Qwen2\.5-VL.* checkpoint \(hub id or folder\)"
    ) as refused:
        load_policy(PolicyConfig(path=str(policy)))
    assert "\n" not in str(refused.value) and str(policy) in str(refused.value)


@pytest.mark.parametrize("template", ["", "[1]", "{% for message in messages %}"])
def test_a_chat_template_that_asks_nothing_is_refused(policy, template):
    """It would be a prompt without the question, silently."""
    (policy / "chat_template.jinja").write_text(template)
    with pytest.raises(InputError, match="found none that loads"):
        load_processor(PolicyConfig(path=str(policy)))


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"{", "broken JSON"),
        ('{"a": "é"}'.encode("cp1252"), "in UTF-8"),
        (b"[1]", "base_model_name_or_path"),
        (json.dumps({"base_model_name_or_path": 3}).encode(), "found 3"),
    ],
)
def test_a_broken_record_of_an_adapter_is_one_line(tmp_path, content, found):
    (tmp_path / "adapter_config.json").write_bytes(content)
    with pytest.raises(InputError, match=found):
        read_adapter_config(tmp_path)
