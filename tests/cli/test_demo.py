"""`anomalyr1 demo` as a person types it."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys

import httpx
import psutil
import pytest
from commands import REPOSITORY, command, run_here

OPTIONS = ["--policy", REPOSITORY / "data/tiny-policy", "--segmenter", "box"]


def test_without_gradio_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    said = " ".join(run_here("demo", *OPTIONS, status=2).split())
    assert "found none" in said and "pip install -e '.[demo]'" in said


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--segmenter", "knife"], "segmenter out of"),
        (["--threshold", "high"], "saved or none, found 'high'"),
        (["--examples", "nowhere"], "nowhere"),
    ],
)
def test_a_mistake_is_one_line(more, said):
    assert said in " ".join(run_here("demo", *OPTIONS, *more, status=2).split())


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("gradio") is None, reason="needs the extra `demo`")
def test_it_listens_on_this_machine_alone_until_it_is_stopped():
    line = command("demo", *OPTIONS, "--port", 7899)
    with subprocess.Popen(line, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        address = process.stdout.readline().split()[1]
        assert httpx.get(address).status_code == 200
        listening = psutil.Process(process.pid).net_connections("inet")
        assert {c.laddr.ip for c in listening if c.status == psutil.CONN_LISTEN} == {"127.0.0.1"}
        process.send_signal(signal.SIGINT)
        assert process.wait(30) in (0, 130)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("gradio") is None, reason="needs the extra `demo`")
def test_no_upload_outlives_the_page_and_the_next_one(tmp_path):
    """Asked to end, with an upload there, it leaves nothing; killed, what the next takes away."""
    line = command("demo", *OPTIONS, "--port", 7898)
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
        with subprocess.Popen(
            line,
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": str(tmp_path)},
        ) as process:
            address = process.stdout.readline().split()[1]
            sent = {"files": ("part.png", b"\x89PNG of a part", "image/png")}
            assert httpx.post(f"{address}gradio_api/upload", files=sent).status_code == 200
            assert len(list(tmp_path.rglob("part.png"))) == 1
            process.send_signal(number)
            process.wait(30)
        # Libraries leave empty folders of their own, made before the page begins.
        left = any(path.is_file() for path in tmp_path.rglob("*"))
        assert left == (number == signal.SIGKILL)
    assert not list(tmp_path.glob("anomalyr1-demo-*"))
