"""A policy whose files are cut off, empty or of another form is refused in one line."""

from __future__ import annotations

import errno
import json
import shutil

import pytest
from safetensors import SafetensorError

from anomalyr1.config import PolicyConfig
from anomalyr1.errors import InputError
from anomalyr1.policy.adapters import read_adapter_config
from anomalyr1.policy.load import load_policy, load_processor
from anomalyr1.policy.weights import saving


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


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
        (SafetensorError("Error: I/O error: No space left on device (os error 28)"), "No space"),
        (Exception("No space left on device (os error 28)"), "No space left"),  # of tokenizers
        (RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos"), "cut off"),
    ],
)
def test_what_libraries_say_of_a_full_disk_is_one_error(tmp_path, error, found):
    with pytest.raises(InputError, match=found), saving(tmp_path / "out"):
        (tmp_path / "out").mkdir()
        raise error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [ConnectionError("no network"), RuntimeError("x"), KeyError("x")])
def test_another_failure_takes_nothing_away(tmp_path, error):
    with pytest.raises(type(error)), saving(tmp_path / "out"):
        (tmp_path / "out").mkdir()
        raise error
    assert (tmp_path / "out").is_dir()
