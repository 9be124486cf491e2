"""A limit takes from every data set, class and label before it takes more of any."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomalyr1.data.limited import stratified
from anomalyr1.schema import Sample

# (data set, class, label) -> images; normals outnumber, one stratum has a single image
SIZES = {
    ("A", "nut", "good"): 40,
    ("A", "nut", "dent"): 10,
    ("A", "cap", "good"): 20,
    ("A", "cap", "hole"): 1,
    ("B", "tile", "good"): 20,
    ("B", "tile", "crack"): 10,
}
SAMPLES = [
    Sample(f"{dataset}/{category}/test/{label}/{number:03d}.png", Path(), ())
    for (dataset, category, label), size in SIZES.items()
    for number in range(size)
]


def strata(samples) -> Counter:
    return Counter((s.dataset, s.category, s.is_normal) for s in samples)


@pytest.mark.parametrize("seed", range(3))
def test_cells_are_filled_first_then_classes_then_proportions(seed):
    sides = {(s.dataset, s.is_normal) for s in SAMPLES}
    four = stratified(SAMPLES, 4, seed)
    assert {(s.dataset, s.is_normal) for s in four} == sides
    assert set(strata(stratified(SAMPLES, 6, seed)).values()) == {1}
    half = strata(stratified(SAMPLES, 50, seed))
    for stratum, size in strata(SAMPLES).items():
        assert abs(half[stratum] - size / 2) <= 1, stratum


@given(st.integers(1, 120), st.integers(0, 5))
def test_fewer_are_among_more_in_the_benchmarks_order(limit, seed):
    few, more = stratified(SAMPLES, limit, seed), stratified(SAMPLES, limit + 1, seed)
    assert len(few) == min(limit, len(SAMPLES)) and set(few_keys(few)) <= set(few_keys(more))
    assert few == [sample for sample in SAMPLES if sample in few]


def few_keys(samples) -> list[str]:
    return [sample.image for sample in samples]


def test_the_seed_and_nothing_else_decides():
    assert stratified(SAMPLES, 30, 1) != stratified(SAMPLES, 30, 2)
    keys = few_keys(stratified(SAMPLES, 30, 1))
    assert set(keys) == set(few_keys(stratified(SAMPLES[::-1], 30, 1)))
