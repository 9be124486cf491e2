"""An example that is clicked comes with what it can be inspected with, wherever its file is."""

from __future__ import annotations

import json
import socket
import tempfile
from copy import copy

import httpx
import pytest

from anomalyr1.demo.shown_examples import draw_benchmark, read_examples

pytest.importorskip("gradio", reason="needs the extra `demo`")
NO_PRODUCT = "none: only what is given here"


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory):
    return draw_benchmark(tmp_path_factory.mktemp("drawn") / "b")


def clicked(page, address: str, index: int) -> list:
    """What the page is given for the image and the product when an example is clicked."""
    [take] = [number for number, one in page.fns.items() if one.name == "take"]
    asked = {"fn_index": take, "data": [], "session_hash": "visitor"}
    asked["trigger_id"] = page.fns[take].targets[0][0]
    asked["event_data"] = {"index": index, "value": None, "selected": True}
    assert httpx.post(f"{address}gradio_api/queue/join", json=asked).status_code == 200
    told = {"session_hash": "visitor"}
    with httpx.stream("GET", f"{address}gradio_api/queue/data", params=told, timeout=30) as lines:
        for line in lines.iter_lines():
            if "process_completed" in line:
                answer = json.loads(line.removeprefix("data: "))
                assert answer["success"], answer
                return answer["output"]["data"]
    raise AssertionError("no answer")


@pytest.mark.parametrize("references", [None, 0, 1])
def test_a_click_is_answered_with_or_without_a_saved_threshold(
    references, inspector, benchmark, toy_benchmark, tmp_path, monkeypatch
):
    from anomalyr1.demo.inspect_request import Desk, Request
    from anomalyr1.demo.serving import served

    with monkeypatch.context() as patched:  # the examples lie in neither of Gradio's own places
        patched.setattr(tempfile, "tempdir", str(tmp_path))
        patched.chdir(tmp_path)
        chosen = copy(inspector)
        if references is not None:
            chosen.weigh = "at_once"
            chosen.calibrate(toy_benchmark, overkill=0.25, references=references, save=False)
        examples = read_examples(benchmark, chosen.calibration)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        desk = Desk(chosen, examples)
        with served(desk, "127.0.0.1", port) as (page, address):
            file, product = clicked(page, address, 0)
            _, image, of = examples.images[0]
            assert httpx.get(f"{address}gradio_api/file={image}").status_code == 200
            other = benchmark / "mmad.json"
            assert other.is_file()
            assert httpx.get(f"{address}gradio_api/file={other}").status_code == 403
    assert file["orig_name"] == image.name
    assert product == (NO_PRODUCT if references == 0 else of)
    coming = desk.answer(Request(image, product=product if product in examples.references else ""))
    with pytest.raises(StopIteration) as ended:
        while True:
            next(coming)
    row = ended.value.value.row
    assert row["decided_by"] == ("answer" if references is None else "threshold")
    assert len(row["settings"]["references"]) == (1 if references is None else references)
