"""A server gives the answers of this process; when it fails no question is lost, and it is told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import run_here
from served_policy import ServedPolicy, hang, sent_image, serving
from started_server import CAPS, POLICY
from tiny_runs import write_config

from anomalyr1.config import PolicyConfig
from anomalyr1.data.images import open_image
from anomalyr1.policy.load import load_policy
from anomalyr1.policy.resizing import resized_image


@pytest.fixture(scope="module")
def served() -> Iterator[ServedPolicy]:
    with serving(load_policy(PolicyConfig(path=str(POLICY), **CAPS))) as server:
        yield server


@pytest.fixture
def calm(served) -> ServedPolicy:
    """The server without a fault and without a past."""
    served.forget()
    return served


@pytest.fixture(scope="module")
def config(tmp_path_factory, toy_benchmark) -> Path:
    return write_config(
        tmp_path_factory.mktemp("served") / "eval.yaml",
        policy={"path": POLICY, **CAPS},
        eval={
            "benchmark": toy_benchmark,
            "limit": 3,
            "max_new_tokens": 16,
            "batch_size": 1,
            "gallery": 0,
            "bootstrap": 10,
        },
        segmentation={"kind": "none"},
    )


@pytest.fixture(scope="module")
def expected(config, tmp_path_factory) -> list[dict]:
    """The predictions of the backend `transformers`."""
    run_dir = tmp_path_factory.mktemp("here")
    run_here("eval", config, f"run_dir={run_dir}")
    said = lines(run_dir)
    assert len({row["completion"] for row in said}) > len(said) / 2
    return said


def lines(run_dir: Path) -> list[dict]:
    """Predictions without what a server does not tell: the tokens."""
    rows = [json.loads(line) for line in (run_dir / "predictions.jsonl").open()]
    return [{k: v for k, v in row.items() if k != "completion_ids"} for row in rows]


def ask(config: Path, run_dir: Path, server: ServedPolicy, *more: str, status: int = 0) -> str:
    options = {"kind": "openai", "url": server.url, "model": "tiny", "concurrency": 3}
    patience = {"retries": 2, "backoff": 0.01, "timeout": 60}
    given = [f"eval.backend.{key}={value}" for key, value in {**options, **patience}.items()]
    said = run_here("eval", config, f"run_dir={run_dir}", *given, *more, status=status)
    return " ".join(said.split())


@pytest.mark.parametrize("images", ["resized", "data", "file"])
def test_a_server_gives_the_answers_of_this_process(config, tmp_path, calm, expected, images):
    ask(config, tmp_path, calm, f"eval.backend.images={images}")
    assert lines(tmp_path) == expected  # the same text, in the same order
    card = json.loads((tmp_path / "metrics.json").read_text())["settings"]["card"]
    record = card["backend"]
    assert record["kind"] == "openai" and record["request"]["temperature"] == 0.0
    sent = calm.requests[0]
    greedy = {"temperature": 0.0, "top_p": 1.0, "repetition_penalty": 1.0, "top_k": -1}
    assert {key: sent[key] for key in greedy} == greedy and sent["max_tokens"] == 16


def test_questions_of_an_image_are_asked_one_after_the_other(config, tmp_path, calm):
    ask(config, tmp_path, calm, "eval.backend.concurrency=1")
    urls = [body["messages"][1]["content"][3]["image_url"]["url"] for body in calm.requests]
    assert len(urls) == 9 and all(len(set(urls[i : i + 3])) == 1 for i in range(0, 9, 3))


def once(*faults):
    """The first requests fail in these ways, and none after them."""
    return lambda number, body: faults[number - 1]() if number <= len(faults) else None


PASSING = {
    "busy": lambda: (503, "busy"),
    "garbage": lambda: (200, "<html>a proxy</html>"),
    "no text": lambda: (200, json.dumps({"choices": [{"message": {"content": None}}]})),
    "broken off": lambda: ConnectionError(),
}


def test_what_passes_is_tried_again(config, tmp_path, calm, expected):
    calm.fault = once(*PASSING.values())
    ask(config, tmp_path, calm, "eval.backend.retries=4")
    assert lines(tmp_path) == expected


def test_a_hang_is_given_up_and_told(config, tmp_path, calm):
    calm.fault = lambda number, body: hang(0.2)
    more = ("eval.backend.timeout=0.1", "eval.backend.retries=1", "eval.backend.concurrency=1")
    said = ask(config, tmp_path, calm, *more, status=2)
    assert "found: timed out; start it again" in said and len(calm.requests) == 2


def test_a_server_that_dies_costs_no_question(config, tmp_path, calm, expected):
    calm.fault = lambda number, body: ConnectionError() if number > 5 else None
    said = ask(config, tmp_path, calm, status=2)
    assert "expected a server with chat completions at" in said
    assert "give the command again: what was answered is kept" in said
    kept = lines(tmp_path)
    assert len(kept) == 5 and not (tmp_path / "metrics.json").exists()
    calm.fault = lambda number, body: None
    calm.requests.clear()
    assert "5 of 9 questions were already answered" in ask(config, tmp_path, calm)
    assert lines(tmp_path) == expected and len(calm.requests) == 9 - len(kept)


def test_an_image_that_is_refused_is_named_after_all_others_are_answered(
    config, tmp_path, calm, expected
):
    target = expected[3]["image"]  # the second of three, three questions each
    text = open_image(Path(config_root(config)) / target)
    calm.fault = lambda number, body: (400, "cannot decode") if is_of(body, text, calm) else None
    said = ask(config, tmp_path, calm, status=2)
    assert f"found 3 without: {target}#0 (status 400, cannot decode)" in said
    assert "all other answers are kept" in said and len(lines(tmp_path)) == 6
    calm.fault = lambda number, body: None
    ask(config, tmp_path, calm)
    assert lines(tmp_path) == expected


def config_root(config: Path) -> str:
    return next(
        line.split()[-1] for line in config.read_text().splitlines() if "benchmark:" in line
    )


def is_of(body: dict, image, server: ServedPolicy) -> bool:
    shown = [p for p in body["messages"][1]["content"] if p["type"] == "image_url"][-1]
    ours = resized_image(image, server.policy.processor)
    return sent_image(shown["image_url"]["url"]).tobytes() == ours.tobytes()


def test_a_server_that_refuses_everything_is_not_asked_everything(config, tmp_path, calm):
    calm.fault = lambda number, body: (400, "no such model")
    said = ask(config, tmp_path, calm, status=2)
    assert "status 400, no such model" in said and len(calm.requests) < 9


def test_another_prompt_than_ours_stops_the_run_by_name(config, tmp_path, calm):
    calm.spoil = lambda content: content["usage"].update(prompt_tokens=7)
    said = ask(config, tmp_path, calm, status=2)
    assert "#0, as the processor of policy.path counts them, found 7" in said
    assert "chat template and pixel caps" in said and not (tmp_path / "predictions.jsonl").exists()


def test_other_pixel_caps_of_a_server_stop_the_run_by_name(config, tmp_path, calm):
    said = ask(config, tmp_path, calm, "eval.backend.images=data", "policy.max_pixels=12544",
               status=2)  # fmt: skip
    assert "give it the same checkpoint, chat template and pixel caps" in said


def test_a_completion_without_its_reasoning_stops_the_run_by_name(config, tmp_path, calm):
    def take_apart(content: dict) -> None:
        content["choices"][0]["message"] |= {"reasoning_content": "Even.", "content": None}

    calm.spoil = take_apart
    said = ask(config, tmp_path, calm, status=2)
    assert "found its reasoning taken out of it" in said and "response_template" in said


def test_what_cannot_be_is_told_before_a_question_is_asked(config, tmp_path, calm):
    said = ask(config, tmp_path, calm, "eval.backend.model=big", status=2)
    assert "to serve big, found tiny; set eval.backend.model" in said
    said = ask(config, tmp_path, calm, "eval.backend.url=http://127.0.0.1:9/v1", status=2)
    assert "expected a server with chat completions at http://127.0.0.1:9/v1, found:" in said
    said = ask(config, tmp_path, calm, "eval.likelihood=true", status=2)
    assert "expected eval.backend.kind=transformers with eval.likelihood, found openai" in said
    assert not calm.requests and not list(tmp_path.glob("predictions*"))


def test_answers_of_another_backend_are_not_mixed_in(config, tmp_path, calm):
    ask(config, tmp_path, calm)
    said = run_here("eval", config, f"run_dir={tmp_path}", status=2)
    assert "to come from the same options, found others" in " ".join(said.split())


def test_what_is_asked_more_than_once_is_what_this_process_says(config, tmp_path, calm):
    more = ["eval.limit=1", "eval.temperature=0.7", "eval.votes=2", "eval.max_new_tokens=24"]
    more += ["eval.consistency.shifted=1", "eval.consistency.asked_again=true"]
    run_here("eval", config, f"run_dir={tmp_path / 'here'}", *more)
    ask(config, tmp_path / "served", calm, *more)
    assert lines(tmp_path / "served") == lines(tmp_path / "here")
    sent = [body for body in calm.requests if body.get("continue_final_message")]
    assert sent and all(body["messages"][-1]["role"] == "assistant" for body in sent)
    assert {body["temperature"] for body in calm.requests} == {0.7}
    assert len({body["seed"] for body in calm.requests}) == len(calm.requests)


def test_a_server_that_cannot_go_on_with_a_turn_is_refused(config, tmp_path, calm):
    more = ("eval.consistency.asked_again=true", "eval.backend.server=transformers")
    said = ask(config, tmp_path, calm, *more, status=2)
    assert "expected eval.backend.server=vllm or sglang with eval.consistency.asked_again" in said
