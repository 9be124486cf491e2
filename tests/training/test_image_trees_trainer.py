"""GRPO by images: the questions of an image come together, and the numbers are those of stock."""

from __future__ import annotations

from dataclasses import replace

import pytest
from families import both_families, second_slow
from mixed_references import mixed_references
from safetensors.torch import load_file
from test_resuming import assert_same, cut
from tiny_runs import history, toy_run
from tiny_trainer import SMALL, WIDE, dataset, greedy, make_trainer

from anomalyr1.config import DataConfig, LoraSection, PromptConfig
from anomalyr1.errors import InputError
from anomalyr1.shared_prefix import logprobs
from anomalyr1.shared_prefix.packing import pack
from anomalyr1.training.grpo import train
from anomalyr1.training.resuming import EpochSampler
from anomalyr1.training.sft import finetune

IMAGES = [[0, 1], [2], [3, 4, 5]]
CASES = {
    # Where a gradient is rounding and no more, Adam would move a weight by the sign of it, by far.
    "two updates, reference copy": (
        {},
        {"beta": 0.1, "num_iterations": 2, "max_steps": 2, "adam_epsilon": 1e-6},
    ),
    "adapters, frozen, checkpointing": (
        {"lora": LoraSection(r=4, alpha=8, dropout=0.0), "freeze_vision": True},
        {"gradient_checkpointing": True, "beta": 0.1},
    ),
    "eager, accumulation": (
        {"attention": "eager"},
        {"per_device_train_batch_size": 6, "gradient_accumulation_steps": 2},
    ),
}


def questions(count=2):
    """Questions about one pair of pictures, then about another, then one without any."""
    data = dataset([[SMALL, WIDE]] * count + [[WIDE]] * count + [[]])
    images = [data[(n // count) * count]["images"] for n in range(2 * count)] + [[]]
    return data.map(lambda row, n: {**row, "images": images[n]}, with_indices=True)


@both_families("name", CASES)
def test_one_step_gives_the_same_weights(name, policy_path, tmp_path, monkeypatch):
    policy_options, options = CASES[name]
    trees = []

    def packed(*given):
        found = pack(*given)
        trees.append(found.layout)
        return found

    monkeypatch.setattr(logprobs, "pack", packed)
    data, weights = questions(), []
    for shared in (False, True):
        run = make_trainer(
            policy_path,
            tmp_path,
            data,
            shared=shared,
            policy_options=policy_options,
            trainer_options={"images": [[0, 1], [2, 3], [4]]},
            **{"per_device_train_batch_size": 12, **options},
        )
        assert run.sharing.by_image is shared
        run.train()
        weights.append({k: v.detach().clone() for k, v in run.model.named_parameters()})
    stock, ours = weights
    assert max((stock[k] - ours[k]).abs().max().item() for k in stock) < 1e-4
    # Completions that see an image and a question see two stretches.
    assert any(len(part.seen) == 2 for layout in trees for part in layout)


@second_slow
def test_greedy_rollouts_are_token_identical(policy_path, tmp_path):
    found = []
    for images in (None, [[0, 1], [2, 3], [4]]):
        run = make_trainer(
            policy_path,
            tmp_path,
            questions(),
            shared=images is not None,
            trainer_options={"images": images},
            per_device_train_batch_size=15,
        )
        found.append(greedy(run))
    assert found[0] == found[1]
    assert max(len(completion) for completion in found[0]) > 1


def test_the_questions_of_an_image_come_one_after_the_other():
    def drawn(images, epoch=0):
        return list(EpochSampler(range(6), 2, 3, 2, seed=1, epoch=lambda: epoch, images=images))

    seen = drawn(IMAGES)
    assert sorted(seen) == sorted(drawn(None)) and seen == drawn(IMAGES)
    assert len({tuple(drawn(IMAGES, epoch)) for epoch in range(6)}) > 2
    # Three rows a rollout, each twice, the rollout twice.
    firsts = [seen[at] for start in (0, 12) for at in range(start, start + 6, 2)]
    order = [image for image in IMAGES if image[0] in firsts]
    order.sort(key=lambda image: firsts.index(image[0]))
    assert firsts == [row for image in order for row in image]
    assert seen[:6] == seen[6:12] == [row for row in firsts[:3] for _ in range(2)]


def test_an_image_with_more_or_fewer_questions_than_a_rollout_asks():
    def drawn(epoch, questions=2):
        sampler = EpochSampler(
            range(6), 2, 4, seed=1, epoch=lambda: epoch, images=IMAGES, questions=questions
        )
        order = list(sampler)
        assert len(order) == len(sampler)
        return order[::2]

    assert drawn(0) == drawn(0)
    seen, image_of = set(), {row: number for number, image in enumerate(IMAGES) for row in image}
    for epoch in range(9):  # two images a rollout, the third is cut off as TRL cuts it off
        first, second = drawn(epoch)[:2], drawn(epoch)[2:]
        images = [{image_of[row] for row in asked} for asked in (first, second)]
        assert all(len(image) == 1 for image in images) and images[0] != images[1]
        for asked in (first, second):
            assert asked == [2, 2] or len(set(asked)) == 2
        seen |= {*first, *second}
    assert seen == set(range(6))
    orders = [drawn(epoch, 4) for epoch in range(9)]
    for asked in (order[at : at + 4] for order in orders for at in range(0, len(order), 4)):
        assert set(asked) == set(IMAGES[image_of[asked[0]]])  # all of them, some once more


def test_images_that_do_not_divide_a_rollout_are_refused(tiny_policy, toy_benchmark, tmp_path):
    config = toy_run(tmp_path / "run", tiny_policy, toy_benchmark)
    data = DataConfig(benchmark=str(toy_benchmark), limit=2, group_by_image=True)
    grpo = {**config.grpo, "per_device_train_batch_size": 12, "max_steps": 1}
    for images, message in (
        (2, r"multiple of grpo.num_generations x data.images_per_rollout = 4 x 2, found 12"),
        (3, r"data.images_per_rollout=3 on 1 process, found 2; lower it"),
    ):
        shown = replace(data, images_per_rollout=images)
        with pytest.raises(InputError, match=message):
            train(replace(config, data=shown, grpo=grpo))
    alone = replace(data, images_per_rollout=3, group_by_image=False)
    with pytest.raises(InputError, match=r"images_per_rollout=3 \(needs data.group_by_image=true"):
        train(replace(config, data=alone, grpo=grpo))
    with pytest.raises(InputError, match=r"images_per_rollout=3 \(needs the verb train, found sft"):
        finetune(replace(config, data=shown))
    assert not (tmp_path / "run/provenance.json").exists()


@second_slow
@pytest.mark.parametrize(("images", "rows"), [(None, 12), (1, 8)])
def test_it_goes_on_exactly(images, rows, policy_path, toy_benchmark, tmp_path):
    config = toy_run(tmp_path / "whole", policy_path, toy_benchmark)
    data = DataConfig(
        benchmark=str(toy_benchmark), limit=2, group_by_image=True, images_per_rollout=images
    )
    grpo = {**config.grpo, "per_device_train_batch_size": rows, "max_steps": 3}
    config = replace(config, data=data, grpo=grpo)
    train(config)
    resumed = cut(config, tmp_path, 1)
    train(resumed)
    assert_same(config, resumed, tmp_path)


@second_slow
def test_questions_that_show_other_references_are_other_trees(policy_path, toy_benchmark, tmp_path):
    """A run whose questions of one image show one, two and no references is that of stock."""
    bench = mixed_references(tmp_path / "bench", toy_benchmark, (1, 2, 0))
    logs, weights = [], []
    for shared in (False, True):
        config = toy_run(tmp_path / str(shared), policy_path, bench)
        more = {"per_device_train_batch_size": 24, "max_steps": 1, "learning_rate": 1e-3}
        train(
            replace(
                config,
                data=DataConfig(benchmark=str(bench), limit=2, group_by_image=True),
                prompt=PromptConfig(references=2),
                policy=replace(config.policy, shared_prefix=shared),
                grpo={**config.grpo, **more, "adam_epsilon": 1e-6},
            )
        )
        logs.append(history(tmp_path / str(shared))[0])
        weights.append(load_file(tmp_path / str(shared) / "policy/model.safetensors"))
    stock, ours = logs
    assert stock["grad_norm"] > 0.1
    for key in ("reward", "entropy", "grad_norm", "completions/mean_length"):
        assert ours[key] == pytest.approx(stock[key], rel=1e-4), key
    for key, value in weights[0].items():
        assert (value - weights[1][key]).abs().max() < 1e-4, key
