"""Faults in hand-made telemetry: each is seen, at the step it begins at, once; noise is not."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomalyr1.config import Config, GuardConfig
from anomalyr1.errors import InputError
from anomalyr1.training.collapse import lasting_fall
from anomalyr1.training.watch import Watch

SAMPLER = "sampling/sampling_logp_difference/mean"
# A step of a run that learns, as the trainer logs it.
HEALTHY = {
    "reward": 1.5,
    "kl": 0.02,
    "completions/clipped_ratio": 0.0,
    "outcome/aligned_correct": 0.5,
    "outcome/silent_correct": 0.1,
    "outcome/malformed": 0.0,
    "letter/A": 0.4,
    "letter/B": 0.6,
    "letter/none": 0.0,
    "completions/mean_length": 40.0,
    "reasoning/characters": 60.0,
    "entropy": 0.2,
    "zero_variance": 0.5,
    "boxes/iou": 0.5,
    SAMPLER: 0.01,
}
SHORT_WINDOW = GuardConfig(window=4, groups=1)


def watched(rows, guard=SHORT_WINDOW, groups=1.0):
    watch = Watch(guard, groups)
    return [fault for row in rows for fault in watch.see(row)]


def steps(*parts: tuple[int, dict], every: int = 1) -> list[dict]:
    """So many rows of each part, one after the other; a part is what differs from a healthy row."""
    rows = [part for count, part in parts for _ in range(count)]
    return [{**HEALTHY, **row, "step": every * n} for n, row in enumerate(rows, start=1)]


# What changes after step 8, and how many steps of it a window of four needs.
FAULTS = [
    ("sampler", {SAMPLER: 0.26}, SAMPLER, 2),  # (0.01 0.01 0.26 0.26) / 4 is 0.135, above 0.1
    ("kl", {"kl": 2.0}, "kl", 2),  # the median of 0.02 0.02 2 2 is 1.01, at least 0.5
    ("cut", {"completions/clipped_ratio": 1.0}, "completions/clipped_ratio", 2),  # half of four
    ("unreadable", {"outcome/malformed": 1.0}, "outcome/malformed", 4),  # 3 of 4 are below 0.8
    ("unreadable", {"letter/none": 0.9, "letter/B": 0.1}, "letter/none", 4),
    (
        "letter",
        {"letter/B": 1.0, "letter/A": 0.0},
        "letter/B",
        3,
    ),  # (0.6 1 1 1) / 4 is 0.9, (0.6 0.6 1 1) / 4 is 0.8
    ("short", {"completions/mean_length": 4.0}, "completions/mean_length", 4),  # 0.1 of the start
    ("short", {"reasoning/characters": 0.0}, "reasoning/characters", 3),  # 60 / 4 is a quarter
    ("entropy", {"entropy": 0.001}, "entropy", 4),
    ("flat", {"zero_variance": 1.0}, "zero_variance", 4),
    ("boxes", {"boxes/iou": 0.2}, "boxes/iou", 8),  # eight rows of a fall, whatever the window
]


@pytest.mark.parametrize(("kind", "change", "key", "needs"), FAULTS)
def test_each_fault_is_named_once_with_its_first_step(kind, change, key, needs):
    [fault] = watched(steps((8, {}), (40, change)))
    assert (fault.kind, fault.key, fault.since, fault.step) == (kind, key, 9, 8 + needs)
    assert not fault.from_start and fault.follows is None


@pytest.mark.parametrize(("kind", "change", "key", "needs"), FAULTS)
def test_it_is_named_again_once_it_has_ended(kind, change, key, needs):
    found = watched(steps((8, {}), (20, change), (30, {}), (20, change)))
    assert [fault.kind for fault in found] == [kind, kind]
    assert [fault.since for fault in found] == [9, 59]


@pytest.mark.parametrize(("kind", "change", "key", "needs"), FAULTS)
def test_a_limit_of_none_watches_nothing(kind, change, key, needs):
    limits = {
        "sampler": "sampler", "kl": "kl", "cut": "cut_share", "unreadable": "unreadable_share",
        "letter": "letter_share", "short": "length_share", "entropy": "entropy",
        "flat": "flat_share", "boxes": "box_share",
    }  # fmt: skip
    rows = steps((8, {}), (40, change))
    assert not watched(rows, GuardConfig(window=4, groups=1, **{limits[kind]: None}))
    assert not watched(rows, GuardConfig(enabled=False))


FROM_START = [change for change in FAULTS if change[0] not in ("short", "boxes")]


@pytest.mark.parametrize(("kind", "change", "key", "needs"), FROM_START)
def test_what_stood_before_the_first_update_is_said_to(kind, change, key, needs):
    [fault] = watched(steps((40, change)))
    assert (fault.kind, fault.since, fault.step, fault.from_start) == (kind, 1, 4, True)


def test_a_fault_of_the_first_update_is_not_from_the_start():
    [fault] = watched(steps((1, {}), (40, {"outcome/malformed": 1.0})))
    assert (fault.since, fault.from_start) == (2, False)


def test_a_lone_step_is_no_fault_and_wavering_is_one():
    alone = {"completions/clipped_ratio": 1.0, "kl": 300.0}
    assert not watched(steps((8, {}), (1, alone), (8, {}), (1, alone), (8, {})))
    wavers = [(2, {"completions/clipped_ratio": share}) for share in (0.55, 0.45) * 10]
    assert [fault.kind for fault in watched(steps((8, {}), *wavers))] == ["cut"]


def test_what_follows_from_a_fault_names_it():
    """All begins at once; the cause is the first of the list, also of what comes a little later."""
    broken = {"kl": 5.0, "outcome/malformed": 1.0, "zero_variance": 1.0}
    later = {**broken, "entropy": 0.0}
    found = watched(steps((8, {}), (10, broken), (30, later)))
    assert [(fault.kind, fault.follows) for fault in found] == [
        ("kl", None),
        ("unreadable", "kl"),
        ("flat", "kl"),
        ("entropy", "kl"),
    ]


def test_what_comes_long_after_a_fault_or_after_flat_groups_stands_alone():
    flat, cold = {"zero_variance": 1.0}, {"zero_variance": 1.0, "entropy": 0.0}
    found = watched(steps((8, {}), (6, flat), (10, cold)))
    assert [fault.follows for fault in found] == [None, None]
    cut, both = ({"completions/clipped_ratio": 1.0, "entropy": e} for e in (0.2, 0.0))
    found = watched(steps((8, {}), (30, cut), (10, both)))
    assert [(fault.kind, fault.follows) for fault in found] == [("cut", None), ("entropy", None)]


def test_a_letter_that_is_right_has_not_taken_over():
    """Nine of ten parts are defective, and the policy sees it."""
    right = {"letter/A": 0.05, "letter/B": 0.95, "outcome/aligned_correct": 0.8}  # and 0.1 silent
    assert not watched(steps((40, right)))
    wrong = {**right, "outcome/aligned_correct": 0.6}
    assert [fault.kind for fault in watched(steps((40, wrong)))] == ["letter"]


def test_a_letter_that_is_seldom_offered_counts_nothing_where_it_is_not():
    rows = steps((40, {}))
    for row in rows[::4]:
        row["letter/E"] = 1.0
    assert not watched(rows)


def test_rows_of_evaluations_and_figures_that_are_none_are_passed_over():
    rows = []
    for row in steps((8, {}), (40, {"zero_variance": 1.0, "entropy": math.nan})):
        held_out = {f"eval_{key}": 0.0 for key in HEALTHY}
        rows += [row, {**held_out, "step": row["step"]}]
    rows.append({"train_runtime": 3.0, "step": 48})
    [fault] = watched(rows)
    assert (fault.kind, fault.since, fault.step) == ("flat", 9, 12)


def test_a_window_is_of_steps_however_seldom_they_are_logged():
    """Every tenth step is logged, and a row is the mean of ten."""
    [fault] = watched(
        steps((8, {}), (9, {"zero_variance": 1.0}), every=10), GuardConfig(), groups=8
    )
    assert (fault.since, fault.step) == (90, 90)


def test_a_window_is_longer_where_a_step_has_few_groups():
    assert Watch(GuardConfig(), groups=8).window == 10
    assert Watch(GuardConfig(), groups=1).window == 64
    rows = steps((8, {}), (80, {"zero_variance": 1.0}))
    [fault] = watched(rows, GuardConfig(), groups=1)
    assert fault.since == 9 and fault.step == 66  # 6 of 64 are half flat: 61 / 64 is over 0.95


LETTERS = ("letter/A", "letter/B", "letter/C", "letter/D", "letter/none")


def learning(count: int, groups: int, seed: int) -> list[dict]:
    """A run that learns, with the noise of so many groups of eight a step.

    Six groups of ten are flat, a token in a thousand makes the KL jump, one step in three has no
    box; entropy falls to a tenth and completions to half of what they were.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for step in range(1, count + 1):
        done = step / count
        letters = rng.dirichlet(groups * np.array([1.5, 1.2, 0.8, 0.6, 0.1]))
        right = rng.binomial(8 * groups, 0.4 + 0.4 * done) / (8 * groups)
        box = rng.beta(0.8, 1.8, size=max(1, groups // 4)).mean()
        rows.append(
            {
                "step": step,
                "reward": right,
                "kl": 0.1 * rng.lognormal() * (500 if rng.random() < 0.02 else 1),
                "completions/clipped_ratio": rng.binomial(8 * groups, 0.1) / (8 * groups),
                "outcome/aligned_correct": right,
                "outcome/malformed": rng.binomial(groups, 0.3 * (1 - done)) / groups,
                **dict(zip(LETTERS, letters, strict=True)),
                "completions/mean_length": rng.normal(120 - 60 * done, 15),
                "reasoning/characters": rng.normal(400 - 200 * done, 60),
                "entropy": (0.3 - 0.27 * done) * rng.lognormal(sigma=0.3),
                "zero_variance": rng.binomial(groups, 0.6) / groups,
                SAMPLER: 0.02 + 0.01 * math.sin(step),
                **({"boxes/iou": box} if rng.random() < 2 / 3 else {}),
            }
        )
    return rows


@pytest.mark.parametrize("groups", [1, 4, 16])
@pytest.mark.parametrize("seed", range(4))
def test_noise_is_no_fault(groups, seed):
    assert watched(learning(500, groups, seed), GuardConfig(), groups) == []


@pytest.mark.parametrize("groups", [1, 4, 16])
@pytest.mark.parametrize(("kind", "change", "key", "needs"), FAULTS)
def test_faults_are_seen_in_noise(kind, change, key, needs, groups):
    """Within two windows, their first step to within one."""
    rows = learning(400, groups, seed=9)
    lost = {"letter/A": 0.0, "letter/C": 0.0, "letter/D": 0.0} if kind == "letter" else {}
    for row in rows[300:]:
        row |= {name: value for name, value in {**change, **lost}.items() if name in row}
        if key == "boxes/iou" and key in row:
            row[key] *= 0.1
    window = Watch(GuardConfig(), groups).window
    [fault] = watched(rows, GuardConfig(), groups)
    assert (fault.kind, fault.key) == (kind, key)
    assert 301 <= fault.step <= 301 + 2 * window and abs(fault.since - 301) <= window


def apart(values: list[int], at: int) -> tuple[float, float, float]:
    """Both means of a split, and the pooled standard errors between them."""
    before, after = np.array(values[:at]), np.array(values[at:])
    within = ((before - before.mean()) ** 2).sum() + ((after - after.mean()) ** 2).sum()
    error = math.sqrt(within / (len(values) - 2) * (1 / len(before) + 1 / len(after)))
    return before.mean(), after.mean(), (before.mean() - after.mean()) / max(error, 1e-12)


@settings(max_examples=80)
@given(st.lists(st.integers(5, 9), max_size=20), st.lists(st.integers(0, 6), max_size=20))
def test_a_fall_is_what_its_equation_says(high, low):
    """Against every split, tried one by one."""
    values = high + low
    tried = {at: apart(values, at) for at in range(8, len(values) - 7)}
    falls = {at: t for at, (before, after, t) in tried.items() if after <= before / 2 and t >= 4}
    found = lasting_fall(np.array(values, dtype=float), 0.5)
    assert (found is None) == (not falls)
    assert found is None or falls[found] == pytest.approx(max(falls.values()), rel=1e-6)


def test_the_section_is_checked():
    assert Config().guard == GuardConfig()
    for wrong in ({"window": 0}, {"flat_share": 1.5}, {"entropy": 0.0}, {"kl": -1.0}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            GuardConfig(**wrong)
