"""`transformers serve` on loopback gives the answers of this process."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from commands import REPOSITORY, run_here
from tiny_runs import write_config

pytest.importorskip("openai", reason="transformers serve needs the package openai")

# Without it `transformers serve` takes the reasoning out of a completion.
WHOLE = {
    "defaults": {"role": "assistant"},
    "start_anchor": "<|im_start|>assistant\n",
    "fields": {
        "content": {"close_pattern": "(?:<\\|im_end\\|>|<\\|endoftext\\|>)", "content": "text"}
    },
}
POLICY = REPOSITORY / "data/tiny-policy"  # it has something to say
CAPS = {"min_pixels": 3136, "max_pixels": 6272}


def copied(policy: Path, folder: Path, **settings: object) -> Path:
    """The policy with further settings of its tokenizer."""
    shutil.copytree(policy, folder)
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))
    return folder


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    serve = str(Path(sys.executable).with_name("transformers"))
    server = subprocess.Popen(
        [serve, "serve", "--host", "127.0.0.1", "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                httpx.get(f"http://127.0.0.1:{port}/health")
                break
            except httpx.TransportError:
                assert server.poll() is None and time.monotonic() < deadline
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait(60)


def test_the_answers_of_this_process(url, tmp_path, toy_benchmark):
    config = write_config(
        tmp_path / "eval.yaml",
        policy={"path": POLICY, **CAPS},
        eval={
            "benchmark": toy_benchmark,
            "limit": 2,
            "max_new_tokens": 24,
            "batch_size": 1,
            "gallery": 0,
            "bootstrap": 10,
        },
        segmentation={"kind": "none"},
    )
    run_here("eval", config, f"run_dir={tmp_path / 'here'}")
    whole = copied(POLICY, tmp_path / "whole", response_template=WHOLE)
    served = ("kind=openai", "server=transformers", f"url={url}", "retries=0", f"model={whole}")
    options = [f"eval.backend.{option}" for option in (*served, "concurrency=1")]
    run_here("eval", config, f"run_dir={tmp_path / 'served'}", *options)
    here, there = (
        [json.loads(line) for line in (tmp_path / name / "predictions.jsonl").open()]
        for name in ("here", "served")
    )
    assert len({row["completion"] for row in here}) > 3
    assert len(here) == 6 and [row.pop("completion_ids") for row in there] == [None] * 6
    assert [{**row, "completion_ids": None} for row in here] == [
        {**row, "completion_ids": None} for row in there
    ]
