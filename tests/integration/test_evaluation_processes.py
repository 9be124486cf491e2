"""Two processes answer what one does, and what they leave when they are killed is not lost."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from forked import kill_when, run
from tiny_runs import write_config

from anomalyr1.evaluation.processes import gather, own_file, own_share, parts_of
from anomalyr1.storage import write_jsonl


def row(image, question):
    return SimpleNamespace(sample=SimpleNamespace(image=image), index=question)


def line(image, question, completion=""):
    return {"image": image, "question_index": question, "completion": completion}


def test_shares_keep_the_questions_of_an_image_together():
    rows = [row(image, question) for image in "abcde" for question in range(2)]
    shares = [
        own_share(rows, SimpleNamespace(process_index=index, num_processes=3)) for index in range(3)
    ]
    assert ["".join(r.sample.image for r in share) for share in shares] == ["aadd", "bbee", "cc"]
    assert sorted(id(r) for share in shares for r in share) == sorted(map(id, rows))


def test_gathering_orders_lines_and_takes_each_once(tmp_path):
    path = tmp_path / "predictions.jsonl"
    write_jsonl(path, [line("b", 0)])
    first, second = (
        own_file(path, SimpleNamespace(process_index=index, num_processes=2)) for index in range(2)
    )
    write_jsonl(first, [line("b", 0), line("a", 1)])  # the first line was gathered before
    second.write_text(json.dumps(line("a", 0)) + '\n{"image": "torn')
    assert parts_of(path) == [first, second]
    order = [("a", 0), ("a", 1), ("b", 0)]
    assert gather(path, order) == [line(*key) for key in order]
    assert [json.loads(text) for text in path.open()] == gather(path)
    assert list(tmp_path.iterdir()) == [path]


@pytest.fixture(scope="module")
def config(tmp_path_factory, tiny_policy, toy_benchmark) -> Path:
    return write_config(
        tmp_path_factory.mktemp("processes") / "eval.yaml",
        policy={"path": tiny_policy, "max_pixels": 12544},
        eval={
            "benchmark": toy_benchmark,
            "batch_size": 4,
            "max_new_tokens": 24,
            "gallery": 0,
            "bootstrap": 20,
        },
        segmentation={"kind": "box"},
    )


@pytest.fixture(scope="module")
def alone(config) -> Path:
    run("eval", config, f"run_dir={config.parent / 'alone'}")
    return config.parent / "alone"


def assert_same(one: Path, other: Path) -> None:
    for name in ("predictions.jsonl", "metrics.json"):
        assert (one / name).read_text() == (other / name).read_text()
    assert {p.name for p in one.iterdir()} == {p.name for p in other.iterdir()}


def test_two_processes_answer_what_one_does(config, alone, tmp_path):
    out = run("eval", config, f"run_dir={tmp_path / 'two'}", processes=2)
    assert "answered 12/12 questions of the first of 2 shares" in out
    assert out.count("report: ") == 1
    assert_same(alone, tmp_path / "two")


def test_what_killed_processes_leave_is_gathered_by_one(config, alone, tmp_path):
    run_dir = tmp_path / "cut"
    path = run_dir / "predictions.jsonl"
    words = ("anomalyr1", "eval", config, f"run_dir={run_dir}")
    kill_when(words, lambda: any(p.stat().st_size for p in parts_of(path)), processes=2)
    assert parts_of(path) and not path.exists()
    changed = config.with_name("changed.yaml")
    changed.write_text(config.read_text().replace("24", "23"))
    refused = run("eval", changed, words[-1], status=2)  # not with other options
    assert "already answered" not in refused and "run.lock: taken over" in refused
    out = run("eval", config, words[-1])
    assert "of 24 questions were already answered" in out
    assert_same(alone, run_dir)
