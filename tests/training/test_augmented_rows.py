"""Rows as an epoch shows them: by seed, row and epoch alone, their gold with them."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_resuming import assert_same, cut
from tiny_runs import history, toy_run
from tiny_trainer import make_trainer

from anomalyr1.config import AugmentConfig, PolicyConfig, PromptConfig
from anomalyr1.data.images import boxes_from_mask
from anomalyr1.data.looks import AS_IS
from anomalyr1.errors import InputError
from anomalyr1.geometry import Frame
from anomalyr1.policy.load import load_policy
from anomalyr1.rows import build_rows, open_benchmark
from anomalyr1.training.augmented_rows import AugmentedRows, augmented_rows
from anomalyr1.training.dataset import to_dataset
from anomalyr1.training.grpo import train
from anomalyr1.training.sft import finetune

EVERYTHING = AugmentConfig(True, True, True, crop=0.5, keep=1.0, brightness=0.2, contrast=0.2)


@pytest.fixture(scope="module")
def policy(tiny_policy):
    return load_policy(PolicyConfig(path=str(tiny_policy), max_pixels=12544))


def made(policy, benchmark, options=EVERYTHING, seed=0, prompt=None, **kind):
    prompt = prompt or PromptConfig()
    _, samples = open_benchmark(str(benchmark), "data.benchmark", prompt)
    rows = build_rows(samples, prompt, policy.processor, policy.family)
    dataset = to_dataset(rows, **kind)
    return AugmentedRows(rows, dataset, options, seed, policy.processor, policy.family)


def same(one, other):
    pixels = [np.array_equal(a, b) for a, b in zip(one["images"], other["images"], strict=True)]
    rest = [{k: v for k, v in record.items() if k != "images"} for record in (one, other)]
    return all(pixels) and rest[0] == rest[1]


@pytest.mark.parametrize("kind", [{}, {"with_completion": True}])
def test_a_row_that_is_shown_as_it_is_is_the_row_of_the_data_set(policy, toy_benchmark, kind):
    rows = made(policy, toy_benchmark, AugmentConfig(), **kind)
    assert len(rows) == len(rows.dataset) == 24
    for index in range(len(rows)):
        assert same(rows[index], rows.dataset[index])


def test_nothing_stands_between_where_nothing_is_changed(policy, toy_benchmark):
    config = toy_run("unused", "unused", toy_benchmark)
    for section in (None, AugmentConfig(), AugmentConfig(keep=0.5)):
        off = replace(config, data=replace(config.data, augment=section))
        assert augmented_rows(off, [], None, policy.processor, policy.family) is None


def test_a_look_follows_from_seed_row_and_epoch(policy, toy_benchmark):
    rows, again = made(policy, toy_benchmark), made(policy, toy_benchmark)
    other = made(policy, toy_benchmark, seed=1)
    backwards = [again[index] for index in reversed(range(24))][::-1]
    assert all(same(rows[index], backwards[index]) for index in range(24))
    assert not any(same(rows[index], other[index]) for index in range(24))
    first = [rows[index] for index in range(24)]
    assert not any(same(a, b) for a, b in zip(first, first[3:], strict=False))
    rows.begin(1)
    assert not any(same(rows[index], first[index]) for index in range(24))
    rows.begin(0)
    assert all(same(rows[index], first[index]) for index in range(24))


def test_gold_boxes_are_on_the_defect_that_is_shown(policy, toy_benchmark):
    rows = made(policy, toy_benchmark, with_completion=True)
    quarters, cropped = 0, 0
    for epoch in range(6):
        rows.begin(epoch)
        for index in range(2, 24, 3):  # the grounding questions
            record, (row, look) = rows[index], rows.shown(index)
            quarters += look.view.turn.transposed
            reference, query = record["images"]
            assert query.size == look.view.turn.size(rows.rows[index].size) == row.size
            assert reference.size == (112, 112)  # the reference is turned too; it is square
            assert record["frame"] == [row.frame.model_width, row.frame.model_height]
            assert record["completion"][0]["content"][0]["text"].endswith(
                f"<answer>{written(record)}</answer>"
            )
            if not record["boxes"]:
                continue
            cropped += look.view.part.x1 > 0
            grey = np.asarray(query.convert("L")).astype(int)
            (spot,) = boxes_from_mask(grey < (grey.min() + grey.max()) / 2)
            seen = Frame(*query.size, *record["frame"]).to_model(spot)
            assert seen.xyxy == pytest.approx(record["boxes"][0], abs=1.6)
    assert quarters > 10 and cropped > 10


def written(record):
    corners = [[round(value) for value in box] for box in record["boxes"]]
    boxes = [{"bbox_2d": c, "label": n} for c, n in zip(corners, record["box_labels"], strict=True)]
    return json.dumps(boxes)


def test_references_are_shown_as_the_query_is(policy, toy_benchmark, tmp_path):
    """A template in register with its image stays so."""
    content = json.loads((toy_benchmark / "mmad.json").read_text())
    for key, record in content.items():
        record["similar_templates"] = [key]  # the image itself
    (tmp_path / "mmad.json").write_text(json.dumps(content))
    (tmp_path / "manifest.json").write_text(json.dumps({"root": str(toy_benchmark)}))
    rows = made(policy, tmp_path)
    for index in range(0, 24, 3):
        reference, query = rows[index]["images"]
        assert np.array_equal(reference, query)


def test_workers_that_outlive_an_epoch_are_told_of_the_next(policy, toy_benchmark):
    rows = made(policy, toy_benchmark)
    loader = torch.utils.data.DataLoader(
        rows, batch_size=6, collate_fn=list, num_workers=1, persistent_workers=True
    )
    for epoch in range(2):
        rows.begin(epoch)
        loaded = [record for batch in loader for record in batch]
        assert all(same(record, rows[index]) for index, record in enumerate(loaded))


def test_rows_that_name_a_place_stay_and_are_told(policy, toy_benchmark, tmp_path):
    content = json.loads((toy_benchmark / "mmad.json").read_text())
    first, second, *rest = content
    content[first]["conversation"][0]["Question"] = "Is there a defect at the top?"
    for key in (second, *rest):
        if content[key]["boxes"]:
            content[key]["box_labels"] = ["left pin"]
            break
    for key in rest[2:]:
        del content[key]["boxes"], content[key]["box_labels"]
        content[key]["conversation"].pop()
    (tmp_path / "mmad.json").write_text(json.dumps(content))
    (tmp_path / "manifest.json").write_text(json.dumps({"root": str(toy_benchmark)}))
    rows = made(policy, tmp_path)
    counts = rows.counts()
    assert counts["never_turned"] == 4 and counts["never_cropped"] > 4
    lines = rows.told()
    assert len(lines) == 2
    assert lines[0].startswith(f"augmentation: 4 of {len(rows)} rows are never turned")
    assert f"{first}#0" in lines[0]
    assert made(policy, tmp_path, AugmentConfig(brightness=0.1)).told() == []
    for epoch in range(5):
        rows.begin(epoch)
        assert rows.shown(0)[1].view == AS_IS


@pytest.fixture
def config(tmp_path, tiny_policy, toy_benchmark):
    config = toy_run(tmp_path / "whole", tiny_policy, toy_benchmark)
    return replace(config, data=replace(config.data, augment=EVERYTHING))


@pytest.mark.parametrize(("verb", "step"), [(finetune, 3), (train, 4)])
def test_a_run_of_changing_images_goes_on_exactly(config, tmp_path, verb, step):
    """And it says what was done; the images it was trained on are those of the benchmark."""
    verb(config)
    resumed = cut(config, tmp_path, step)  # at the end of an epoch, within the second
    verb(resumed)
    assert_same(config, resumed, tmp_path)
    (run,) = json.loads((tmp_path / "whole/provenance.json").read_text())["runs"]
    assert run["augmented"] == {"rows": 3, "never_turned": 0, "never_cropped": 0}
    section = "sft" if verb is finetune else "grpo"
    plain = replace(
        config,
        run_dir=str(tmp_path / "plain"),
        data=replace(config.data, augment=None),
        **{section: {**getattr(config, section), "max_steps": 1}},
    )
    verb(plain)
    records = [tmp_path / run / "policy/training_data.json" for run in ("whole", "plain")]
    assert records[0].read_text() == records[1].read_text()
    first = [history(tmp_path / run)[0]["grad_norm"] for run in ("whole", "plain")]
    assert first[0] != first[1]
    with pytest.raises(InputError, match=r"found changed: data\.augment"):
        verb(replace(plain, run_dir=config.run_dir))


def test_completions_of_a_prompt_see_one_image(policy, tiny_policy, toy_benchmark, tmp_path):
    """And so does each pass over them."""
    rows = made(policy, toy_benchmark)
    run = make_trainer(
        tiny_policy,
        tmp_path,
        rows.dataset,
        num_iterations=2,
        trainer_options={"augmented": rows},
        max_steps=6,
    )
    assert run.train_dataset is rows
    batches = list(run.get_train_dataloader())
    for first, second in zip(batches[::2], batches[1::2], strict=True):
        for group in (first[:3] + second[:3], first[3:] + second[3:]):
            assert all(same(record, group[0]) for record in group)
        assert not same(first[0], first[3])
