"""vLLM gives the answers of this process; without it one line says so."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import pytest
import torch
import vllm_stand_in
from commands import run_here
from started_server import AGAIN, POLICY, answered, asking_config
from tiny_runs import VLLM_ENVIRONMENT

from anomalyr1.config import load_config
from anomalyr1.errors import InputError
from anomalyr1.evaluation.backends.vllm_engine import VllmEngine
from anomalyr1.policy.load import load_policy

INSTALLED = importlib.util.find_spec("vllm") is not None
# Where there is no GPU: no compilation for a policy this small.
VLLM = (
    *("eval.backend.kind=vllm", "eval.backend.engine.enforce_eager=true"),
    "eval.backend.engine.gpu_memory_utilization=0.3",  # others may have the rest of the memory
)


@pytest.fixture
def config(tmp_path, toy_benchmark) -> Path:
    return asking_config(tmp_path / "eval.yaml", toy_benchmark, limit=3)


@pytest.fixture
def quiet_vllm(monkeypatch) -> None:
    """What of vLLM is set by the environment."""
    for name, value in VLLM_ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


@pytest.mark.skipif(INSTALLED, reason="vLLM is installed here")
def test_without_vllm_one_line_says_what_to_do(config, tmp_path):
    run_dir = f"run_dir={tmp_path / 'run'}"
    said = " ".join(run_here("eval", config, run_dir, "eval.backend.kind=vllm", status=2).split())
    assert "expected vllm to be installed for eval.backend.kind=vllm, found none" in said
    assert "eval.backend.kind=openai" in said and not list((tmp_path / "run").glob("pred*"))


def test_an_adapter_is_to_be_merged_first(config, tmp_path):
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter/adapter_config.json").write_text("{}")
    with pytest.raises(InputError, match=r"found an adapter at .*merge it first"):
        VllmEngine(load_config(config, [f"policy.path={tmp_path / 'adapter'}"]))


@pytest.mark.parametrize(
    ("asked", "stated", "computed"),
    [
        ("auto", "float32", "float32"),  # of which vLLM's own `auto` makes bfloat16
        ("auto", "bfloat16", "bfloat16"),
        ("auto", None, "float32"),  # the weights themselves say it
        ("bfloat16", "float32", "bfloat16"),
    ],
)
def test_it_computes_in_the_dtype_that_transformers_would(
    config, tmp_path, monkeypatch, asked, stated, computed
):
    folder = tmp_path / "policy"
    shutil.copytree(POLICY, folder)
    told = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**told, "dtype": stated}))
    vllm_stand_in.install(monkeypatch)
    loaded = load_config(config, [f"policy.path={folder}", f"policy.dtype={asked}"])
    engine = VllmEngine(loaded)
    assert engine.engine.arguments["dtype"] == engine.settings["dtype"] == computed
    assert load_policy(loaded.policy).model.dtype == getattr(torch, computed)


@pytest.mark.vllm
@pytest.mark.usefixtures("quiet_vllm")
@pytest.mark.skipif(not INSTALLED, reason="vLLM is not installed here")
@pytest.mark.parametrize("more", [(), AGAIN], ids=["once", "again"])
def test_the_answers_of_this_process(config, tmp_path, more):
    found = {}
    for kind, backend in (("transformers", ()), ("vllm", VLLM)):
        run_here("eval", config, f"run_dir={tmp_path / kind}", *backend, *more)
        found[kind] = answered(tmp_path / kind)
    assert len({row["completion"] for row in found["vllm"]}) > 4
    assert found["vllm"] == found["transformers"]
    assert not more or any(row["askings"] for row in found["vllm"])


@pytest.mark.vllm
@pytest.mark.usefixtures("quiet_vllm")
@pytest.mark.skipif(not INSTALLED, reason="vLLM is not installed here")
def test_votes_are_the_same_in_a_second_run(config, tmp_path):
    drawn = (*VLLM, "eval.temperature=1.0", "eval.votes=3")
    for name in ("first", "second"):
        run_here("eval", config, f"run_dir={tmp_path / name}", *drawn)
    rows = answered(tmp_path / "first")
    assert rows == answered(tmp_path / "second")
    assert all(len(row["drawn"]) == 3 for row in rows)
    assert any(len(set(row["drawn"])) > 1 for row in rows)
