"""Memory stays flat: what one inspection or one step needs is gone with it.

`pytest -m slow -s tests/reliability/test_memory.py` prints the curves.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator

import psutil
import pytest
from pictures import noise
from tiny_runs import toy_run

from anomalyr1 import Inspector
from anomalyr1.training.callbacks import HistoryCallback
from anomalyr1.training.grpo import train
from anomalyr1.training.sft import finetune

MEGABYTE = 1 << 20


def resident() -> float:
    """Megabytes of this process, after what can be thrown away is."""
    gc.collect()
    return psutil.Process().memory_info().rss / MEGABYTE


def growth(curve: list[float]) -> float:
    """Megabytes by which the last tenth lies above what follows the first fifth."""
    tenth = max(1, len(curve) // 10)
    early, late = curve[2 * tenth : 3 * tenth], curve[-tenth:]
    return sum(late) / len(late) - sum(early) / len(early)


def inspections(policy, count: int, every: int) -> Iterator[float]:
    inspector = Inspector.from_pretrained(policy, segmenter="box", max_new_tokens=4)
    reference = noise(10_000, 64, 56)
    for number in range(count):
        found = inspector.inspect(noise(number, 64, 56), references=[reference])
        assert found.to_json() and found.overlay()
        if number % every == every - 1:
            yield resident()


def told(what: str, curve: list[float]) -> None:
    points = " ".join(f"{value:.0f}" for value in curve[:: max(1, len(curve) // 20)])
    print(f"{what}: {points} MB, growth {growth(curve):.1f} MB")


def test_sixty_inspections(tiny_policy):
    curve = list(inspections(tiny_policy, 60, 3))
    told("60 inspections", curve)
    assert growth(curve) < 40


@pytest.mark.slow
def test_five_thousand_inspections(tiny_policy):
    curve = list(inspections(tiny_policy, 5_000, 50))
    told("5,000 inspections", curve)
    assert growth(curve) < 20


@pytest.mark.slow
@pytest.mark.parametrize("verb", [train, finetune])
def test_two_hundred_training_steps(verb, tiny_policy, toy_benchmark, tmp_path, monkeypatch):
    config = toy_run(tmp_path / "run", tiny_policy, toy_benchmark)
    section = config.grpo if verb is train else config.sft
    section.update(max_steps=200, save_steps=20, save_total_limit=1)
    curve, stock = [], HistoryCallback.on_log

    def on_log(self, args, state, control, logs=None, **more):
        stock(self, args, state, control, logs, **more)
        if state.global_step % 5 == 0:
            curve.append(resident())

    monkeypatch.setattr(HistoryCallback, "on_log", on_log)
    verb(config)
    told(f"200 steps of {verb.__name__}", curve)
    assert len(curve) >= 40 and growth(curve) < 30
