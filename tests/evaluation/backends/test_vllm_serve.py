"""vLLM as a server on loopback gives the answers of this process."""

from __future__ import annotations

import importlib
import importlib.util
import json
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import run_here
from started_server import AGAIN, CAPS, POLICY, answered, asking_config, started, without_ids
from tiny_runs import VLLM_ENVIRONMENT

from anomalyr1.training.vllm_server import server_caps

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed"),
]


@pytest.fixture(scope="module")
def url(tmp_path_factory, toy_benchmark) -> Iterator[str]:
    """Of a server with the pixel caps of the config, started as docs/extend.md says."""
    arguments = ["--model", str(POLICY), "--dtype", "float32", "--max-model-len", "2048"]
    arguments += shlex.split(server_caps(CAPS["min_pixels"], CAPS["max_pixels"]))
    arguments += ["--allowed-local-media-path", str(toy_benchmark)]  # for images=file
    # For a policy this small no compilation.
    arguments += ["--enforce-eager", "--limit-mm-per-prompt", '{"image": 2, "video": 0}']
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", *arguments]
    log = tmp_path_factory.mktemp("vllm") / "log"
    with started(log, *command, seconds=600, **VLLM_ENVIRONMENT) as url:
        yield url


@pytest.fixture
def config(tmp_path, toy_benchmark) -> Path:
    return asking_config(tmp_path / "eval.yaml", toy_benchmark, limit=3)


def served(url: str, *more: str) -> list[str]:
    return [f"eval.backend.{it}" for it in ("kind=openai", f"url={url}", "retries=0", *more)]


@pytest.mark.parametrize("images", ["resized", "data", "file"])
def test_the_answers_of_this_process(url, config, tmp_path, images):
    run_here("eval", config, f"run_dir={tmp_path / 'here'}")
    run_here("eval", config, f"run_dir={tmp_path / 'served'}", *served(url, f"images={images}"))
    here, there = answered(tmp_path / "here"), answered(tmp_path / "served")
    assert len(here) == 9 and len({row["completion"] for row in here}) > 4
    assert there == without_ids(here)
    card = json.loads((tmp_path / "served/metrics.json").read_text())["settings"]["card"]
    assert card["backend"]["version"] == importlib.import_module("vllm").__version__


def test_what_is_asked_again_goes_on_with_the_turn_that_is_begun(url, config, tmp_path):
    for name, backend in (("here", ()), ("served", served(url))):
        run_here("eval", config, f"run_dir={tmp_path / name}", *backend, *AGAIN)
    here, there = answered(tmp_path / "here"), answered(tmp_path / "served")
    assert there == without_ids(here)
    kinds = {asking["kind"] for row in there for asking in row["askings"]}
    assert "asked_again" in kinds


def test_votes_are_the_same_in_a_second_run(url, config, tmp_path):
    drawn = (*served(url), "eval.temperature=1.0", "eval.votes=3")
    for name in ("first", "second"):
        run_here("eval", config, f"run_dir={tmp_path / name}", *drawn)
    assert answered(tmp_path / "first") == answered(tmp_path / "second")
    assert any(len(set(row["drawn"])) > 1 for row in answered(tmp_path / "first"))


def test_other_pixel_caps_end_the_run_by_name(url, config, tmp_path):
    more = ("policy.max_pixels=12544", f"run_dir={tmp_path / 'run'}")
    said = " ".join(run_here("eval", config, *more, *served(url), status=2).split())
    assert f"expected the server at {url} to read" in said
    assert "give it the same checkpoint, chat template and pixel caps (policy.min_pixels" in said
    assert not (tmp_path / "run/predictions.jsonl").exists()
