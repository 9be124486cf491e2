"""`data.shots`: so many images of every defect, nested, and told by the record of the run."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_runs import toy_run

from anomalyr1.config import Config, DataConfig
from anomalyr1.data.shots import few_shot, short_of, stratum_of, training_shots
from anomalyr1.errors import InputError
from anomalyr1.schema import Sample


def samples(counts: dict[str, int]) -> list[Sample]:
    """`nut/crack: 3` are three images of a nut with a crack."""
    return [
        Sample(f"Parts/{kind.split('/')[0]}/test/{kind.split('/')[1]}/{n}.png", Path(), ())
        for kind, number in counts.items()
        for n in range(number)
    ]


NUTS = {"nut/good": 9, "nut/crack": 4, "nut/dent": 5, "pin/good": 2, "pin/bent": 6}


def kinds(chosen) -> dict[str, int]:
    return Counter("/".join(stratum_of(s)[1:]) for s in chosen)


def test_counts_by_hand():
    # Two of each defect; the nut has two defects, hence four normals; the pin has only two.
    chosen = training_shots(samples(NUTS), 2, seed=0)
    assert kinds(chosen) == {
        "nut/crack": 2, "nut/dent": 2, "nut/good": 4, "pin/bent": 2, "pin/good": 2,
    }  # fmt: skip
    assert kinds(training_shots(samples(NUTS), 4, seed=0))["pin/good"] == 2  # all there are
    assert kinds(training_shots(samples({"cap/good": 5}), 3, seed=0)) == {"cap/good": 3}


@given(st.integers(0, 2**31), st.integers(1, 3), st.integers(1, 4))
def test_fewer_shots_are_among_more_in_the_benchmarks_order(seed, fewer, more):
    every = samples(NUTS)
    small, large = (training_shots(every, shots, seed) for shots in sorted((fewer, more)))
    assert {s.image for s in small} <= {s.image for s in large}
    assert [s for s in every if s in large] == large
    assert training_shots(every[::-1], more, seed) == training_shots(every, more, seed)[::-1]


def test_another_seed_is_another_choice():
    chosen = {tuple(s.image for s in training_shots(samples(NUTS), 1, seed)) for seed in range(8)}
    assert len(chosen) > 4


def test_one_of_a_cluster_and_one_to_spare():
    cracks = samples({"nut/crack": 3})
    names = [s.image for s in cracks]
    assert few_shot(cracks, 3, {names[0]: 0, names[1]: 0, names[2]: 1}) == [cracks[0], cracks[2]]
    assert few_shot(cracks, 3, spare=1) == cracks[:2]
    assert few_shot(cracks[:1], 3, spare=1) == cracks[:1]


def test_where_there_are_fewer_all_are_taken_and_the_defects_are_named():
    chosen = training_shots(samples(NUTS), 5, seed=0)
    assert kinds(chosen)["nut/crack"] == 4 and kinds(chosen)["nut/dent"] == 5
    assert short_of(chosen, 5) == ["Parts/nut/crack (4)"]


def test_two_choices_of_images_are_refused(tmp_path):
    from anomalyr1.training.feed import training_rows

    with pytest.raises(InputError, match=r"expected data\.limit or data\.shots, found 3 and 1"):
        DataConfig(limit=3, shots=1)
    with pytest.raises(InputError, match="shots: expected at least 1, found 0"):
        DataConfig(shots=0)
    mixed = Config(data=DataConfig(mixture=str(tmp_path / "mixture.yaml"), shots=1))
    with pytest.raises(InputError, match=r"data.mixture alone, .* found data\.shots beside"):
        training_rows(mixed, None, None)


@pytest.mark.parametrize("shots", [3, 5])
def test_a_run_trains_on_them_and_records_them(tmp_path, tiny_policy, toy_benchmark, capsys, shots):
    from anomalyr1.training.sft import finetune

    config = toy_run(tmp_path / "run", tiny_policy, toy_benchmark)
    data = replace(config.data, limit=None, shots=shots)
    finetune(replace(config, data=data, seed=3, sft={**config.sft, "max_steps": 1}))
    record = json.loads((tmp_path / "run/provenance.json").read_text())["runs"][0]["data"]
    there = min(shots, 4)  # the toy benchmark has four of either kind
    counts = {"Toy/tile": {"good": there, "spot": there}}
    assert record["shown"] == {"images": 2 * there, "by_category": counts}
    told = "data.shots=5: 1 defect(s) have fewer images: Toy/tile/spot (4)"
    assert (told in capsys.readouterr().out) == (shots == 5)
    assert record["images"] == 8  # of the benchmark
    seen = json.loads((tmp_path / "run/policy/training_data.json").read_text())["manifests"]
    shown = [key for key in seen[-1]["files"] if "/test/" in key]
    from anomalyr1.data.mmad import load_benchmark

    every = load_benchmark(toy_benchmark).samples
    assert shown == sorted(s.image for s in training_shots(every, shots, seed=3))
