"""Faults put into gold completions: as often and as far as was asked, and nowhere else."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from anomalyr1.config import PolicyConfig, PromptConfig
from anomalyr1.geometry import iou
from anomalyr1.parsing import parse_response
from anomalyr1.policy.family import QWEN2_5_VL
from anomalyr1.policy.load import load_processor
from anomalyr1.rewards.roam import outcome
from anomalyr1.rows import build_rows, open_benchmark
from anomalyr1.training.dataset import record_of
from anomalyr1.training.faulty_rows import contradicted, loosened
from anomalyr1.training.image_groups import by_image


@pytest.fixture(scope="module")
def rows(tiny_policy, toy_benchmark):
    processor = load_processor(PolicyConfig(path=str(tiny_policy), max_pixels=12544))
    _, samples = open_benchmark(str(toy_benchmark), "data.benchmark", PromptConfig())
    return build_rows(samples, PromptConfig(template="inspect"), processor, QWEN2_5_VL)


def outcomes(rows) -> Counter[str]:
    found: Counter[str] = Counter()
    for row in rows:
        [message] = record_of(row, with_completion=True)["completion"]
        text = message["content"][0]["text"]
        grounding = row.template == "grounding"
        response = parse_response(text, row.question)
        normal = row.sample.is_normal
        gold = ("normal" if normal else "abnormal") if grounding else row.question.answer
        found[outcome(response, gold)] += 1
    return found


def test_as_many_contradict_as_were_asked_for(rows):
    with_options = sum(bool(row.question.options) for row in rows)
    assert outcomes(contradicted(rows, None, 0)) == {"aligned_correct": len(rows)}
    all_of_them = outcomes(contradicted(rows, 1.0, 0))
    assert 0 < with_options < len(rows)
    assert all_of_them == {
        "contradictory": with_options,
        "aligned_correct": len(rows) - with_options,
    }
    several = [contradicted(rows, 0.5, seed) for seed in range(40)]
    drawn = sum(outcomes(some)["contradictory"] for some in several)
    assert drawn == pytest.approx(0.5 * 40 * with_options, rel=0.1)
    assert len({tuple(row.conclusion for row in some) for some in several}) > 30


def test_which_ones_hangs_on_seed_and_row_alone(rows):
    some = contradicted(rows, 0.5, 3)
    assert contradicted(rows[::-1], 0.5, 3) == some[::-1]
    few = {row.sample_id for row in contradicted(rows, 0.2, 3) if row.conclusion}
    assert few < {row.sample_id for row in some if row.conclusion}
    assert all(replace(row, conclusion=None) in rows for row in some)


def test_boxes_are_drawn_as_loosely_as_was_asked_for(rows):
    assert loosened(rows, None) == rows
    loose = loosened(rows, 0.25)
    assert rows == [
        replace(new, sample=old.sample, question=old.question)
        for new, old in zip(loose, rows, strict=True)
    ]
    seen = 0
    for new, old in zip(loose, rows, strict=True):
        assert (new.sample.boxes is None) == (old.sample.boxes is None)
        width, height = old.size
        for wide, box in zip(new.sample.boxes or (), old.sample.boxes or (), strict=True):
            grown = 0.25 * (box.x2 - box.x1), 0.25 * (box.y2 - box.y1)
            assert wide.label == box.label
            assert wide.x1 == max(0, box.x1 - grown[0]) and wide.x2 == min(width, box.x2 + grown[0])
            assert wide.y1 == max(0, box.y1 - grown[1])
            assert wide.y2 == min(height, box.y2 + grown[1])
            seen += 1
    assert seen


def test_loose_boxes_are_what_a_completion_says(rows):
    row = next(row for row in rows if row.template == "grounding" and row.sample.boxes)
    wide = loosened([row], 0.5)[0]
    said = []
    for each in (row, wide):
        [message] = record_of(each, with_completion=True)["completion"]
        response = parse_response(message["content"][0]["text"], each.question)
        said.append(response.boxes)
    assert len(said[0]) == len(said[1]) > 0
    for exact, loose in zip(*said, strict=True):
        assert loose.area > exact.area and iou(exact, loose) < 0.9


def test_questions_of_an_image_stay_together(rows):
    twice = [*rows, *rows[-3:], *rows[-3:]]  # an image that comes again is another one
    groups = by_image(twice)
    assert len(groups) == 10 and {len(group) for group in groups} == {3}
    assert by_image(loosened(twice, 0.25)) == groups
    assert by_image(loosened(contradicted(twice, 0.5, 0), 0.25)) == groups
