"""Supervised fine-tuning by images: the same training, an image once for all its questions."""

from __future__ import annotations

from dataclasses import replace

import pytest
from families import both_families, second_slow
from mixed_references import mixed_references
from safetensors.torch import load_file
from test_resuming import assert_same, cut
from tiny_runs import history, toy_run

from anomalyr1.config import AugmentConfig, DataConfig, LoraSection, PromptConfig
from anomalyr1.errors import InputError
from anomalyr1.policy.load import load_policy
from anomalyr1.rows import build_rows, open_benchmark
from anomalyr1.shared_prefix import trained_rows
from anomalyr1.training.dataset import to_dataset
from anomalyr1.training.image_groups import ImageGroups, by_image
from anomalyr1.training.row_pictures import RowPicture
from anomalyr1.training.sft import finetune

LORA = LoraSection(r=4, alpha=8, dropout=0.0)
# What the policy section and TRL are told besides: a tower that learns, one reference, one step.
CASES = {
    "whole weights": ({}, {}, 1),
    "no reference, eager": ({"attention": "eager"}, {}, 0),
    "frozen": ({"freeze_vision": True, "freeze_projector": True}, {}, 1),
    "adapters, checkpointing": (
        {"lora": LORA, "freeze_vision": True},
        {"gradient_checkpointing": True},
        1,
    ),
    "checkpointing": ({}, {"gradient_checkpointing": True}, 1),
    "accumulation, dft": ({}, {"gradient_accumulation_steps": 2, "loss_type": "dft"}, 1),
    "autocast": ({}, {"bf16": True}, 1),
}


def by_images(run_dir, tiny_policy, benchmark, policy=None, options=None, references=1):
    """A step of three images of three questions each."""
    config = toy_run(run_dir, tiny_policy, benchmark)
    given = {"per_device_train_batch_size": 3, "learning_rate": 1e-3, "max_steps": 1}
    return replace(
        config,
        data=DataConfig(benchmark=str(benchmark), limit=7, group_by_image=True),
        prompt=PromptConfig(references=references),
        policy=replace(config.policy, **(policy or {})),
        sft={**config.sft, **given, **(options or {})},
    )


@both_families("name", CASES, quick=["whole weights"])
def test_a_step_is_that_of_stock_on_the_same_rows(
    name, policy_path, toy_benchmark, tmp_path, monkeypatch
):
    policy, options, references = CASES[name]
    lengths, inner = [], trained_rows.lay_out
    monkeypatch.setattr(
        trained_rows,
        "lay_out",
        lambda *given: (lengths.append(found := inner(*given)), found)[1],
    )
    logs, weights = [], []
    for shared in (False, True):
        folder = tmp_path / str(shared)
        config = by_images(folder, policy_path, toy_benchmark, policy, options, references)
        assert config.policy.shared_prefix
        finetune(replace(config, policy=replace(config.policy, shared_prefix=shared)))
        logs.append(history(folder)[0])
        file = "adapter_model" if "lora" in policy else "model"
        weights.append(load_file(folder / "policy" / f"{file}.safetensors"))
    stock, ours = logs
    half = name == "autocast"
    assert len(lengths) == options.get("gradient_accumulation_steps", 1)
    for key in ("loss", "entropy", "mean_token_accuracy"):
        assert ours[key] == pytest.approx(stock[key], abs=0.02 if half else 1e-5), key
    assert ours["num_tokens"] == stock["num_tokens"] > 1.3 * lengths[0].input_ids.size(1)
    assert ours["grad_norm"] == pytest.approx(stock["grad_norm"], rel=0.05 if half else 1e-4)
    if not half:
        for key, value in weights[0].items():
            assert (value - weights[1][key]).abs().max() < 1e-4, key


@second_slow
def test_it_goes_on_exactly(policy_path, toy_benchmark, tmp_path):
    """Two images a step; the second epoch begins with the fourth step."""
    config = by_images(tmp_path / "whole", policy_path, toy_benchmark, references=0)
    data = replace(config.data, limit=5)
    config = replace(config, data=data, sft={**config.sft, "max_steps": 5})
    finetune(replace(config, sft={**config.sft, "per_device_train_batch_size": 2}))
    resumed = cut(config, tmp_path, 2)
    finetune(replace(resumed, sft={**config.sft, "per_device_train_batch_size": 2}))
    assert_same(config, resumed, tmp_path)


@second_slow
def test_held_out_rows_are_scored_in_the_same_way(
    policy_path, toy_benchmark, mvtec_benchmark, tmp_path
):
    losses = []
    for shared in (False, True):
        config = by_images(tmp_path / str(shared), policy_path, toy_benchmark, references=0)
        data = replace(config.data, heldout=str(mvtec_benchmark), heldout_limit=4)
        policy = replace(config.policy, shared_prefix=shared)
        finetune(replace(config, data=data, policy=policy, sft={**config.sft, "save_steps": 1}))
        losses += [entry["eval_loss"] for entry in history(tmp_path / str(shared), "eval_loss")]
    assert len(losses) == 2 and losses[0] == pytest.approx(losses[1], abs=1e-5)


def test_rows_by_image(tiny_policy, toy_benchmark, tmp_path):
    config = by_images(tmp_path, tiny_policy, toy_benchmark)
    policy = load_policy(config.policy)
    _, samples = open_benchmark(str(toy_benchmark), "data.benchmark", config.prompt)
    rows = build_rows(
        [samples[0], samples[1], samples[1]], config.prompt, policy.processor, policy.family
    )
    groups = by_image(rows)  # an image that comes twice is shown twice
    assert groups == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    dataset = to_dataset(rows, with_completion=True)
    images = ImageGroups(dataset, groups)
    assert len(images) == 3
    assert_rows(images, dataset, groups)


def assert_rows(images, dataset, groups):
    for numbers, rows in zip(groups, images, strict=True):
        for number, row in zip(numbers, rows, strict=True):
            assert row == {key: dataset[number][key] for key in ("prompt", "completion", "images")}


COUNTS = [(1, 2, 0), (0, 1, 1)]


@pytest.mark.parametrize("counts", COUNTS)
def test_each_question_shows_its_own_references(
    counts, tiny_policy, toy_benchmark, tmp_path, monkeypatch
):
    bench = mixed_references(tmp_path / "bench", toy_benchmark, counts)
    config = by_images(tmp_path, tiny_policy, bench, references=2)
    policy = load_policy(config.policy)
    _, samples = open_benchmark(str(bench), "data.benchmark", config.prompt)
    rows = build_rows(samples, config.prompt, policy.processor, policy.family)
    dataset, groups = to_dataset(rows, with_completion=True), by_image(rows)
    assert len(groups) == 8 and {len(group) for group in groups} == {3}
    images = ImageGroups(dataset, groups)
    assert [len(row["images"]) for row in images[0]] == [count + 1 for count in counts]
    assert_rows(images, dataset, groups)
    decoded, stock = [], RowPicture.decode_example
    monkeypatch.setattr(
        RowPicture,
        "decode_example",
        lambda self, value, **more: decoded.append(value["path"]) or stock(self, value, **more),
    )
    anew = ImageGroups(dataset, groups)[0]
    assert sum(len(row["images"]) for row in anew) == sum(counts) + 3
    assert sorted(decoded) == sorted({path for row in rows[:3] for path in row.images})


@both_families("counts", COUNTS, quick=COUNTS[:1])
def test_a_step_with_references_of_their_own_is_that_of_stock(
    counts, policy_path, toy_benchmark, tmp_path
):
    """Stock is TRL on the same rows, each by itself, of all images."""
    bench = mixed_references(tmp_path / "bench", toy_benchmark, counts)
    logs = []
    for name, grouped, rows in (("stock", False, 24), ("ours", True, 8)):
        config = by_images(tmp_path / name, policy_path, bench, references=2)
        data = replace(config.data, limit=None, group_by_image=grouped)
        sft = {**config.sft, "per_device_train_batch_size": rows}
        finetune(replace(config, data=data, sft=sft))
        logs.append(history(tmp_path / name)[0])
    stock, ours = logs
    for key in ("loss", "entropy", "mean_token_accuracy"):
        assert ours[key] == pytest.approx(stock[key], abs=1e-5), key
    assert ours["num_tokens"] == stock["num_tokens"]
    assert ours["grad_norm"] == pytest.approx(stock["grad_norm"], rel=1e-4)


def test_what_does_not_go_with_it_is_refused(tiny_policy, toy_benchmark, tmp_path):
    config = by_images(tmp_path / "run", tiny_policy, toy_benchmark)
    with pytest.raises(InputError, match=r"expected data.group_by_image or data.augment"):
        replace(config.data, augment=AugmentConfig(mirror=True))
    sft = {**config.sft, "train_sampling_strategy": "group_by_length"}
    with pytest.raises(InputError, match="found group_by_length, which orders single rows"):
        finetune(replace(config, sft=sft))
    assert not (tmp_path / "run" / "policy").exists()
