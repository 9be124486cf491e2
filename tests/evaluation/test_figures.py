"""The figures of runs against twins that count one by one, and paired intervals between them."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest
from evaluation_data import DEFECT, boxes, letter, question, to_frame, write

from anomalyr1.evaluation.figures import (
    FIGURES,
    Counts,
    count,
    differences,
    discordances,
    ends_of,
)
from anomalyr1.evaluation.image_readings import PredictionReading, readings_of
from anomalyr1.evaluation.score import measure, score
from anomalyr1.geometry import iou
from anomalyr1.metrics.bootstrap import RESAMPLES, SEED
from anomalyr1.schema import GROUNDING, ROBUSTMAD_TYPES, Box, Prediction

NEAR = Box(22, 17, 42, 30, "dent")  # IoU 0.66 with DEFECT
HALF = Box(20, 15, 30, 28, "dent")  # IoU 0.43
FAR = Box(60, 40, 70, 50, "dent")
DATASETS = ("Drawn", "Other")


def run(seed: int, images: int = 12) -> list[Prediction]:
    """Random answers: three letters and a list of boxes for every image of two data sets."""
    draw, other = random.Random(seed), random.Random(seed + 100)
    made = []
    for number in range(images):
        normal, dataset = number % 3 == 0, DATASETS[number % 4 == 1]
        where = {"normal": normal, "dataset": dataset}
        for index, kind in enumerate(("Anomaly Detection", "Defect Classification")):
            said = draw.choice(["A", "B", "A", "?"])
            text = letter(said, draw.choice(["A", said, said])) if said != "?" else "I see."
            made.append(question(str(number), index, text, type=kind, answer="AB"[normal], **where))
        found = draw.choice([(), (DEFECT,), (NEAR,), (HALF, FAR), (FAR,), None])
        text = "no list" if found is None else boxes(*map(to_frame, found))
        made.append(question(str(number), 2, text, type=GROUNDING, **where))
        kind = ROBUSTMAD_TYPES[number % 4]
        made.append(question(str(number), 3, letter(other.choice("AB")), type=kind, **where))
    return made


def counted(*seeds: int) -> list[Counts]:
    return [count(readings_of(run(seed))) for seed in seeds]


# The twins: plain arithmetic over readings, which know nothing of each other.


def strict(readings: Sequence[PredictionReading], kinds: Sequence[str]) -> float:
    """Mean over data sets of the mean over question types; detection of normal and anomalous."""
    rows = []
    for dataset in DATASETS:
        shares = []
        for kind in kinds:
            right: dict[bool, list[bool]] = {True: [], False: []}
            for reading in readings:
                said = reading.prediction
                if (said.dataset, said.question_type) == (dataset, kind):
                    group = said.is_normal and kind == "Anomaly Detection"
                    right[group].append(reading.response.answer == said.answer)
            groups = [100 * fmean(group) for group in right.values() if group]
            if groups:
                shares.append(fmean(groups))
        if shares:
            rows.append(fmean(shares))
    return fmean(rows)


def most_pairs(reading: PredictionReading, threshold: float) -> int:
    """Tries every order of the gold boxes."""
    found, gold = reading.boxes_in_image or (), reading.gold_in_image or ()
    short, long = sorted((found, gold), key=len)
    return max(
        sum(iou(one, other) >= threshold for one, other in zip(short, order, strict=False))
        for order in itertools.permutations(long)
    )


def overlap(reading: PredictionReading) -> float:
    found, gold = reading.boxes_in_image or (), reading.gold_in_image or ()
    if not found and not gold:
        return 1.0
    short, long = sorted((found, gold), key=len)
    best = max(
        sum(iou(one, other) for one, other in zip(short, order, strict=False))
        for order in itertools.permutations(long)
    )
    return best / len(long)


def contradicts(reading: PredictionReading) -> bool:
    response = reading.response
    said: str | None = response.answer
    if reading.is_grounding and response.boxes is not None:
        said = "abnormal" if response.boxes else "normal"
    return response.well_formed and None not in (said, response.conclusion) and (
        said != response.conclusion
    )  # fmt: skip


def twin(readings: Sequence[PredictionReading]) -> dict[str, float]:
    located = [reading for reading in readings if reading.is_grounding]
    every = sum(len(r.boxes_in_image or ()) + len(r.gold_in_image or ()) for r in located)
    return {
        "strict accuracy": strict(readings, ("Anomaly Detection", "Defect Classification")),
        "AD accuracy": strict(readings, ("Anomaly Detection",)),
        "RobustMAD accuracy": 100
        * fmean(
            r.response.answer == r.prediction.answer
            for r in readings
            if r.prediction.question_type in ROBUSTMAD_TYPES
        ),
        "box F1@0.5": 200 * sum(most_pairs(r, 0.5) for r in located) / every,
        "box F1@0.33": 200 * sum(most_pairs(r, 0.33) for r in located) / every,
        "set IoU": 100 * fmean(overlap(r) for r in located),
        "set IoU anomalous": 100 * fmean(overlap(r) for r in located if r.gold_in_image),
        "unreadable": 100 * fmean(not r.is_readable for r in readings),
        "contradictory": 100 * fmean(contradicts(r) for r in readings),
    }


def drawn(readings: Sequence[PredictionReading], draw: int) -> dict[str, float]:
    """The twin on the images of one draw; accuracies are drawn by data set, the rest at once."""
    by_image = {
        image: list(group)
        for image, group in itertools.groupby(
            sorted(readings, key=lambda r: r.prediction.image), lambda r: r.prediction.image
        )
    }

    def images(names: list[str], seed: int) -> list[PredictionReading]:
        rows = np.random.default_rng(seed).integers(len(names), size=(RESAMPLES, len(names)))
        return [reading for row in rows[draw] for reading in by_image[names[row]]]

    names = sorted(by_image)
    strata = [[name for name in names if name.startswith(dataset)] for dataset in DATASETS]
    by_dataset = [images(stratum, SEED + number) for number, stratum in enumerate(strata)]
    found, accuracies = twin(images(names, SEED)), twin([*by_dataset[0], *by_dataset[1]])
    return found | {name: accuracies[name] for name in ("strict accuracy", "AD accuracy")}


def test_the_values_are_those_of_the_twin_and_of_metrics_json(tmp_path: Path) -> None:
    for seed in range(5):
        readings = readings_of(run(seed))
        found = count(readings[::-1]).values  # order does not matter
        assert list(found) == list(FIGURES)
        assert found == pytest.approx(twin(readings))
        metrics = measure(write(tmp_path / "it.jsonl", run(seed)), readings, tmp_path / "none", 2)
        pooled = metrics["localization"]["boxes"]["pooled"]
        assert found == pytest.approx(
            {
                "strict accuracy": metrics["macro"]["strict"],
                "AD accuracy": metrics["mmad"]["strict"]["Average"]["Anomaly Detection"],
                "RobustMAD accuracy": metrics["robustmad"]["all"]["percent"],
                "box F1@0.5": pooled["f1@0.5"],
                "box F1@0.33": pooled["f1@0.33"],
                "set IoU": pooled["set_iou"],
                "set IoU anomalous": pooled["set_iou_anomalous"],
                "unreadable": metrics["invalid_rate"],
                "contradictory": metrics["outcomes"]["contradictory"],
            }
        )


def test_a_draw_is_the_twin_on_the_images_drawn() -> None:
    readings = readings_of(run(3))
    counts = count(readings)
    for draw in (0, 1, 7, 400):
        found = {name: values[draw] for name, values in counts.draws.items()}
        assert found == pytest.approx(drawn(readings, draw))


def test_a_difference_is_the_percentiles_of_its_draws() -> None:
    """Two seeds a side: every figure's mean over the seeds, draw by draw, then the percentiles."""
    sides = (counted(1, 2), counted(3, 4))
    found = differences(*sides)
    assert list(found) == list(FIGURES)
    for name, difference in found.items():
        after, before = (
            [fmean(run.draws[name][draw] for run in side) for draw in range(RESAMPLES)]
            for side in sides[::-1]
        )
        one_by_one = np.array(after) - np.array(before)
        assert difference.ends == pytest.approx(tuple(np.percentile(one_by_one, [2.5, 97.5])))
        assert difference.detectable == pytest.approx(2.801585 * one_by_one.std(ddof=1), rel=1e-5)
        assert difference.value == pytest.approx(
            fmean(twin(readings_of(run(seed)))[name] for seed in (3, 4))
            - fmean(twin(readings_of(run(seed)))[name] for seed in (1, 2))
        )
        assert difference.questions == 48


def test_the_ends_of_one_run_are_those_that_score_writes(tmp_path) -> None:
    of_one = sorted(run(1), key=lambda one: (one.image, one.question_index))  # drawn alike
    metrics = score(write(tmp_path / "predictions.jsonl", of_one), resamples=RESAMPLES)
    ends = ends_of([count(readings_of(of_one))])
    assert ends["strict accuracy"] == pytest.approx(tuple(metrics["intervals"]["macro"]["strict"]))
    average = metrics["intervals"]["strict"]["Average"]
    assert ends["AD accuracy"] == pytest.approx(tuple(average["Anomaly Detection"]))
    boxes = metrics["localization"]["boxes"]["pooled"]["intervals"]
    assert ends["set IoU"] == pytest.approx(tuple(boxes["set_iou"]))
    assert ends["box F1@0.5"] == pytest.approx(tuple(boxes["f1@0.5"]))


def test_the_mean_of_seeds_is_held_as_tightly_as_its_draws_say() -> None:
    runs = [count(readings_of(run(seed, images=150))) for seed in (1, 2)]
    drawn = np.mean([one.draws["set IoU"] for one in runs], axis=0)
    low, high = ends_of(runs)["set IoU"]
    assert (high - low) / drawn.std() == pytest.approx(2 * 1.96, rel=0.05)
    assert low < fmean(one.values["set IoU"] for one in runs) < high


def test_all_right_is_not_certain() -> None:
    right = [question(str(i), 0, letter("A")) for i in range(20)]
    for seeds in (1, 3):
        ends = ends_of([count(readings_of(right))] * seeds)
        assert ends["AD accuracy"][1] == 100 and 80 < ends["AD accuracy"][0] < 90
        assert ends["unreadable"][0] == 0 and 10 < ends["unreadable"][1] < 20


def test_pairing_tells_what_two_separate_intervals_do_not() -> None:
    """Two runs alike but for six letters: certain, though each run alone is not."""
    worse = [question(str(i), 0, letter("B" if i % 2 else "A")) for i in range(40)]
    better = [replace(p, completion=letter("A")) if i < 12 else p for i, p in enumerate(worse)]
    first, second = ([count(readings_of(of))] for of in (worse, better))
    [difference] = [differences(first, second)["strict accuracy"]]
    assert difference.value == 15 and difference.ends is not None and difference.ends[0] > 0
    alone = [ends_of(side)["strict accuracy"] for side in (first, second)]
    assert alone[0][1] > alone[1][0]  # they overlap


def test_equal_runs_differ_by_nothing_and_claim_nothing() -> None:
    same = differences(counted(5), counted(5))["set IoU"]
    assert (same.value, same.ends, same.detectable) == (0.0, (0.0, 0.0), None)


def test_what_was_not_asked_is_left_out() -> None:
    letters = [question(str(i), 0, letter("A")) for i in range(3)]
    asked = {"strict accuracy", "AD accuracy", "unreadable", "contradictory"}
    assert set(count(readings_of(letters)).values) == asked
    located = [question(str(i), 0, boxes(), type=GROUNDING) for i in range(3)]
    assert set(count(readings_of(located)).values) == set(FIGURES) - {
        "strict accuracy",
        "AD accuracy",
        "RobustMAD accuracy",
    }
    one = [count(readings_of(letters[:1]))]
    assert ends_of(one) == {} and differences(one, one)["unreadable"].ends is None


def test_a_difference_that_rests_on_one_image_has_no_interval() -> None:
    letters = [question(str(i), 0, letter("A")) for i in range(5)]
    box = question("5", 0, boxes(), type=GROUNDING)
    one = [count(readings_of([*letters, box]))]
    found = differences(one, one)
    assert found["set IoU"].ends is None and found["set IoU"].detectable is None
    assert found["unreadable"].ends is not None


def test_the_images_that_differ_are_those_of_the_twin() -> None:
    """Right answers counted image by image: of the verdict alone, and of both letters."""
    first, second = (readings_of(run(seed)) for seed in (5, 6))
    found = discordances(count(first[::-1]), count(second))
    for name, kinds in (
        ("AD accuracy", {"Anomaly Detection"}),
        ("strict accuracy", {"Anomaly Detection", "Defect Classification"}),
    ):
        right: list[dict[str, int]] = [{}, {}]
        for side, readings in zip(right, (first, second), strict=True):
            for reading in readings:
                said = reading.prediction
                if said.question_type in kinds:
                    is_right = reading.response.answer == said.answer
                    side[said.image] = side.get(said.image, 0) + is_right
        gained = [right[1][image] - right[0][image] for image in right[0]]
        assert found[name].better == sum(value > 0 for value in gained) > 0
        assert found[name].worse == sum(value < 0 for value in gained) > 0
    assert discordances(*(count(readings_of(run(5)[2::4])) for _ in range(2))) == {}  # boxes alone
