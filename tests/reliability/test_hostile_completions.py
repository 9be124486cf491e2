"""Whatever a policy writes, it is read and scored: finite, in the term's range, in linear time."""

from __future__ import annotations

import json
import math
import time
from typing import Any

import pytest
from commands import run_here
from hostile_completions import UNITS, hostile_completions

from anomalyr1.config.reward import IouOptions, RewardConfig
from anomalyr1.rewards.build import TERMS, build_rewards
from anomalyr1.rewards.reading import read_batch
from anomalyr1.rewards.telemetry import batch_metrics

SEED, FEW, MANY = 0, 2_000, 100_000
SECONDS = 30  # of one completion: a fuse, where quadratic reading takes hours
MEGABYTES = 10
RANGES = dict.fromkeys(TERMS, (0.0, 1.0)) | {"length": (-1.0, 0.0), "repetition": (-1.0, 0.0)}
YES_NO = {"A": "No.", "B": "Yes."}
PLACES = {"A": "Top.", "B": "Left.", "C": "Rim.", "D": "Base."}
SCRATCH = [10.0, 10.0, 30.0, 30.0]
ASKED: list[dict[str, Any]] = [
    {"options": YES_NO, "answer": "B", "boxes": None},
    {"options": None, "answer": None, "boxes": [SCRATCH]},
    {"options": YES_NO, "answer": "A", "boxes": []},
    {"options": None, "answer": None, "boxes": []},
    {"options": PLACES, "answer": "C", "boxes": [SCRATCH, [1.0, 2.0, 3.0, 4.0]]},
    {"options": None, "answer": None, "boxes": [[5.0, 5.0, 5.0, 5.0]]},
    {"options": PLACES, "answer": None, "boxes": None},
]
REWARDS = [
    RewardConfig(
        gate=gate,
        weights={"length": 1.0, "repetition": 1.0},
        iou=IouOptions(similarity=similarity, threshold=threshold, label_aware=aware),
    )
    for gate, similarity, threshold, aware in (
        ("strict", "iou", None, False),
        ("released", "giou", None, False),
        ("strict", "siou", None, True),
        ("strict", "giou", 0.5, True),
    )
]


def luggage(number: int, text: str) -> dict[str, Any]:
    """What the completion of that number is scored by."""
    ids = list(text[:600].encode("utf-8", "replace"))
    return {**ASKED[number % len(ASKED)], "frame": [100, 100], "completion_ids": ids}


def score(seed: int, count: int) -> tuple[float, int]:
    """Score so many; the seconds of the slowest, and how many different rewards were given."""
    sets = [build_rewards(config)[0] for config in REWARDS]
    slowest, given, readings = 0.0, set(), []
    for number, text in enumerate(hostile_completions(seed, count)):
        columns = {name: [value] for name, value in luggage(number, text).items()}
        started = time.process_time()
        values = []
        for term in sets[number % len(sets)]:
            [value] = term([text], **columns)
            low, high = RANGES[term.__name__]
            assert value is None or low <= value <= high, (term.__name__, value, text[:500])
            values.append(value)
        slowest = max(slowest, time.process_time() - started)
        given.add(tuple(values[:4]))
        readings += read_batch([text], columns)
        if len(readings) == 500:
            metrics = batch_metrics(readings)
            assert all(math.isfinite(value) for value in metrics.values()), metrics
            readings.clear()
    assert slowest < SECONDS
    return slowest, len(given)


@pytest.mark.filterwarnings("error")
def test_hostile_completions_are_scored():
    _, given = score(SEED, FEW)
    assert given > 30  # they are no heap that the gate refuses alike


@pytest.mark.slow
@pytest.mark.filterwarnings("error")
def test_a_hundred_thousand_hostile_completions_are_scored(capsys):
    slowest, given = score(SEED, MANY)
    with capsys.disabled():
        print(f"\n{MANY:,} completions, {given} different rewards, slowest {slowest:.3f} s")


@pytest.mark.slow
@pytest.mark.filterwarnings("error")
def test_ten_megabytes_are_scored(capsys):
    terms = build_rewards(REWARDS[1])[0]
    seconds = {}
    for number, unit in enumerate([*UNITS, "[1e200,2,3,4],", "[5,5,3,3],"]):
        form = ("{}", "<think>x</think><answer>[{}[1,2,3,4]]</answer>")["," in unit]
        text = form.replace("{}", unit * (MEGABYTES * 1_000_000 // len(unit)))
        columns = {name: [value] for name, value in luggage(number, text).items()}
        started = time.process_time()
        for term in terms:
            [value] = term([text], **columns)
            assert value is None or -1 <= value <= 1
        seconds[unit] = time.process_time() - started
    assert max(seconds.values()) < SECONDS
    unit = max(seconds, key=lambda unit: seconds[unit])
    with capsys.disabled():
        print(f"\n{len(seconds)} of {MEGABYTES} MB, slowest {unit!r} {seconds[unit]:.1f} s")


def test_hostile_completions_are_the_same_from_a_file(tmp_path):
    """JSON keeps every character: what is replayed earns what it earned."""
    texts = list(hostile_completions(SEED + 1, 300))
    rows = [
        {"completion": text, **luggage(number, text)} | {"completion_ids": None}
        for number, text in enumerate(texts)
    ]
    file, out = tmp_path / "completions.jsonl", tmp_path / "scored.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="ascii")
    run_here("reward", "replay", file, "--out", out)
    scored = [json.loads(line) for line in out.read_bytes().splitlines()]
    assert [row["completion"] for row in scored] == texts
    terms, _ = build_rewards(RewardConfig())
    for row in scored:
        columns = {name: [row[name]] for name in ("options", "answer", "boxes", "frame")}
        assert row["rewards"] == {t.__name__: t([row["completion"]], **columns)[0] for t in terms}
