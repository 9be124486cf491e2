"""`transformers serve` on loopback gives the answers of this process."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import run_here
from started_server import POLICY, answered, asking_config, started, without_ids

pytest.importorskip("openai", reason="transformers serve needs the package openai")

# Without it `transformers serve` takes the reasoning out of a completion.
WHOLE = {
    "defaults": {"role": "assistant"},
    "start_anchor": "<|im_start|>assistant\n",
    "fields": {
        "content": {"close_pattern": "(?:<\\|im_end\\|>|<\\|endoftext\\|>)", "content": "text"}
    },
}


def copied(policy: Path, folder: Path, **settings: object) -> Path:
    """The policy with further settings of its tokenizer."""
    shutil.copytree(policy, folder)
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))
    return folder


@pytest.fixture(scope="module")
def url(tmp_path_factory) -> Iterator[str]:
    serve = str(Path(sys.executable).with_name("transformers"))
    with started(tmp_path_factory.mktemp("serve") / "log", serve, "serve") as url:
        yield url


def test_the_answers_of_this_process(url, tmp_path, toy_benchmark):
    config = asking_config(tmp_path / "eval.yaml", toy_benchmark, limit=2, batch_size=1)
    run_here("eval", config, f"run_dir={tmp_path / 'here'}")
    whole = copied(POLICY, tmp_path / "whole", response_template=WHOLE)
    served = ("kind=openai", "server=transformers", f"url={url}", "retries=0", f"model={whole}")
    options = [f"eval.backend.{option}" for option in (*served, "concurrency=1")]
    run_here("eval", config, f"run_dir={tmp_path / 'served'}", *options)
    here, there = answered(tmp_path / "here"), answered(tmp_path / "served")
    assert len({row["completion"] for row in here}) > 3
    assert len(here) == 6 and there == without_ids(here)
