"""Weighted advantages, dropped groups and resampled groups, against numbers worked out by hand."""

from __future__ import annotations

import pytest
import torch
from commands import completed, torchrun
from tiny_trainer import SMALL, WIDE, dataset, make_trainer

from anomalyr1.config import SignalConfig
from anomalyr1.errors import InputError
from anomalyr1.shared_prefix.micro_batches import take_rows
from anomalyr1.training.difficulty import emit_weights
from anomalyr1.training.dynamic_sampling import other_questions
from anomalyr1.training.groups import zero_variance, zero_variance_groups

NAN = float("nan")


class Script:
    """A reward that hands out prepared values, a list a call."""

    __name__ = "accuracy"

    def __init__(self, *calls):
        self.calls = list(calls)
        self.asked = []

    def __call__(self, completions, **columns):
        values = self.calls[min(len(self.asked), len(self.calls) - 1)]
        self.asked.append(len(completions))
        return (values * len(completions))[: len(completions)]


def trainer(policy, tmp_path, script, *, rows=4, shared=True, **options):
    """Four questions, groups of two; `signal` options are those of the trainer."""
    signal = {
        name: options.pop(name)
        for name in ("zero_variance", "max_rounds", "difficulty")
        if name in options
    }
    return make_trainer(
        policy,
        tmp_path,
        dataset([[SMALL], [WIDE], [SMALL, WIDE], [WIDE]][:rows]),
        shared=shared,
        rewards=script if isinstance(script, list) else [script],
        trainer_options={"signal": SignalConfig(**signal)},
        **{
            "per_device_train_batch_size": 8,
            "num_generations": 2,
            "max_completion_length": 6,
            **options,
        },
    )


def sampled(run, questions=(0, 1, 2, 3)):
    """The scored batch of some questions."""
    run.model.train()
    rows = [run.train_dataset[i] for i in questions for _ in range(run.num_generations)]
    return run._generate_and_score_completions(rows)


def advantage(reward, group):
    """TRL's: (r - mean) / (sd + 1e-4), with n - 1 under the root."""
    mean = sum(group) / len(group)
    sd = (sum((r - mean) ** 2 for r in group) / (len(group) - 1)) ** 0.5
    return (reward - mean) / (sd + 1e-4)


EMIT_TABLE = [
    ([1, 1, 1, 1], 1.0),  # nothing wrong
    ([1, 1, 1, 0], 1.25),
    ([1, 0, 0, 0], 1.75),  # the hardest question that was solved
    ([0, 0, 0, 0], 1.0),  # never solved: nothing to emphasise
    ([1, 0, NAN, NAN], 1.5),  # two of unknown gold
    ([NAN, NAN, NAN, NAN], 1.0),
    ([0.5, -1, 0, 0], 1.75),  # right is what earns something
]


@pytest.mark.parametrize(("rewards", "weight"), EMIT_TABLE)
def test_emit_weight_of_a_group(rewards, weight):
    assert emit_weights(torch.tensor([rewards])).item() == pytest.approx(weight)


def test_flat_groups_by_hand():
    groups = [[2.35, 2.35], [0.0, 1e-3], [NAN, NAN], [1.0, NAN]]
    assert zero_variance(torch.tensor(groups)).tolist() == [True, False, True, True]


def test_flat_is_judged_on_the_weighted_total(tiny_policy, tmp_path):
    """Two terms that cancel are flat when summed first, and vary when normalised first."""

    def up(completions, **_):
        return [float(i % 2) for i in range(len(completions))]

    def down(completions, **_):
        return [-float(i % 2) for i in range(len(completions))]

    for aggregation, expected in (("sum_then_normalize", True), ("normalize_then_sum", False)):
        run = trainer(tiny_policy, tmp_path, [up, down], multi_objective_aggregation=aggregation)
        sampled(run)
        flat = zero_variance_groups(run.scored, run.reward_weights, 2, aggregation)
        assert flat.tolist() == [expected] * 4
        assert run._metrics["train"]["zero_variance"] == [float(expected)]


def test_emit_advantages_by_hand(tiny_policy, tmp_path):
    rewards = [1, 0, 1, 1, 0, 0, 0, 1]
    run = trainer(tiny_policy, tmp_path, Script(rewards), difficulty="emit")
    plain = [advantage(r, rewards[i - i % 2 :][:2]) for i, r in enumerate(rewards)]
    weights = [1.5, 1.5, 1, 1, 1, 1, 1.5, 1.5]
    expected = [a * w for a, w in zip(plain, weights, strict=True)]
    assert sampled(run)["advantages"].tolist() == pytest.approx(expected, abs=1e-5)
    assert list(run._logs["advantages"]) == pytest.approx(expected, abs=1e-5)
    assert run._metrics["train"]["signal/difficulty_weight"] == [pytest.approx(1.25)]


def test_off_is_trl(tiny_policy, tmp_path):
    rewards = [1, 0, 1, 1, 0, 0, 0, 1]
    output = sampled(trainer(tiny_policy, tmp_path, Script(rewards)))
    plain = [advantage(r, rewards[i - i % 2 :][:2]) for i, r in enumerate(rewards)]
    assert output["advantages"].tolist() == pytest.approx(plain, abs=1e-5)
    assert (output["completion_mask"].sum(1) > 0).all() and "loss_scale" not in output


def test_difficulty_needs_the_accuracy_term(tiny_policy, tmp_path):
    def fluency(completions, **_):
        return [0.0] * len(completions)

    with pytest.raises(InputError, match=r"accuracy for signal\.difficulty=emit, found fluency"):
        trainer(tiny_policy, tmp_path, fluency, difficulty="emit")


def test_dropped_groups_are_masked_and_counted_out(tiny_policy, tmp_path):
    run = trainer(tiny_policy, tmp_path, Script([1, 0, 1, 1, 0, 0, 0, 1]), zero_variance="drop")
    output = sampled(run)
    assert (output["completion_mask"].sum(1) > 0).tolist() == [True] * 2 + [False] * 4 + [True] * 2
    assert output["num_items_in_batch"] == output["completion_mask"].sum()
    assert output["loss_scale"] == 2  # four groups, two kept
    metrics = {k: v for k, v in run._metrics["train"].items() if k.startswith("signal/")}
    assert metrics == {
        "signal/zero_variance": [0.5], "signal/replaced": [0.0], "signal/rounds": [0],
    }  # fmt: skip


LOSSES = [
    ("grpo", 0.1, True),
    ("grpo", 0.1, False),
    ("bnpo", 0.1, True),
    ("dr_grpo", 0.0, True),
    ("dapo", 0.1, True),
]


@pytest.mark.parametrize(("loss_type", "beta", "shared"), LOSSES)
def test_the_loss_is_that_of_the_kept_groups_alone(tiny_policy, tmp_path, loss_type, beta, shared):
    script = Script([1, 0, 1, 1, 0, 0, 0, 1])
    options = {"loss_type": loss_type, "beta": beta, "shared": shared}
    run = trainer(tiny_policy, tmp_path, script, zero_variance="drop", **options)
    run.current_gradient_accumulation_steps = 1
    output = sampled(run)
    if beta:  # a reference that differs, so that there is a divergence to average
        output["ref_per_token_logps"] = output["ref_per_token_logps"] - 0.3
    kept = take_rows([output], [(0, row) for row in (0, 1, 6, 7)], run._tokenizer.pad_token_id)
    kept["num_items_in_batch"] = output["num_items_in_batch"]
    kept.pop("loss_scale", None)
    with torch.enable_grad():
        dropped, alone = run._compute_loss(run.model, output), run._compute_loss(run.model, kept)
    assert dropped.item() == pytest.approx(alone.item(), rel=1e-4, abs=1e-6)
    dropped.backward()
    assert all(p.grad.isfinite().all() for p in run.model.parameters() if p.grad is not None)


def test_all_groups_flat_leave_the_weights_alone(tiny_policy, tmp_path):
    run = trainer(tiny_policy, tmp_path, Script([1.0]), zero_variance="drop")
    before = {k: v.clone() for k, v in run.model.named_parameters()}
    run.train()
    assert run.state.log_history[0]["loss"] == 0
    assert all(torch.equal(before[k], v) for k, v in run.model.named_parameters())


def test_resampled_groups_take_the_place_of_flat_ones(tiny_policy, tmp_path):
    """Flat: 1 and 2. The first round samples two questions, one of which varies; the second one."""
    script = Script([1, 0, 1, 1, 0, 0, 0, 1], [0.5, 0.5, 1, 0], [0, 3])
    run = trainer(tiny_policy, tmp_path, script, zero_variance="resample", max_rounds=5)
    others = [other_questions(run, 2, 0)[1], other_questions(run, 1, 1)[0]]
    output = sampled(run)
    assert script.asked == [8, 4, 2]
    high = advantage(1, [1, 0])
    expected = [high, -high, high, -high, -advantage(3, [3, 0]), advantage(3, [3, 0]), -high, high]
    assert output["advantages"].tolist() == pytest.approx(expected, abs=1e-4)
    assert (output["completion_mask"].sum(1) > 0).all()
    assert output["loss_scale"] == 1
    for group, question in ((1, others[0]), (2, others[1])):
        ids, images, _ = run._tokenize_prompts(
            [prepare(question) for _ in range(run.num_generations)]
        )
        for row, wanted in zip((2 * group, 2 * group + 1), ids, strict=True):
            mask = output["prompt_mask"][row].bool()
            assert output["prompt_ids"][row][mask].tolist() == wanted
            assert output["num_images"][row] == len(images[0])
    assert len(output["image_grid_thw"]) == sum(output["num_images"])
    assert len(output["pixel_values"]) == output["image_grid_thw"].prod(1).sum()
    width = output["prompt_ids"].size(1) + output["completion_ids"].size(1)
    assert output["mm_token_type_ids"].shape == (8, width)
    assert run._metrics["train"]["signal/rounds"] == [2]
    assert run._metrics["train"]["signal/replaced"] == [0.5]


def prepare(question):
    from trl.data_utils import prepare_multimodal_messages

    return prepare_multimodal_messages(question["prompt"], images=question["images"])


def test_rounds_are_bounded_and_what_stays_flat_is_dropped(tiny_policy, tmp_path):
    script = Script([1, 0, 1, 1, 0, 0, 0, 1], [0.5])
    run = trainer(tiny_policy, tmp_path, script, zero_variance="resample", max_rounds=3)
    output = sampled(run)
    assert script.asked == [8, 4, 4, 4]
    assert (output["completion_mask"].sum(1) > 0).tolist() == [True] * 2 + [False] * 4 + [True] * 2
    assert run._metrics["train"]["signal/zero_variance"] == [0.5]


def test_resampled_groups_are_weighted_by_their_own_difficulty(tiny_policy, tmp_path):
    script = Script([1, 0, 1, 1, 1, 0, 1, 0], [1, 0])
    run = trainer(tiny_policy, tmp_path, script, zero_variance="resample", difficulty="emit")
    high = 1.5 * advantage(1, [1, 0])
    assert sampled(run)["advantages"].tolist() == pytest.approx([high, -high] * 4, abs=1e-4)


def test_evaluation_is_left_alone(tiny_policy, tmp_path):
    script = Script([1.0])
    run = trainer(tiny_policy, tmp_path, script, zero_variance="resample", num_generations_eval=2)
    run.model.eval()
    output = run._generate_and_score_completions([run.train_dataset[0]] * 4)
    assert script.asked == [4] and "loss_scale" not in output


def test_other_questions_are_the_same_everywhere_and_differ_by_round(tiny_policy, tmp_path):
    run = trainer(tiny_policy, tmp_path, Script([1.0]))
    texts = [
        [str(q["prompt"]) + str([i.size for i in q["images"]]) for q in other_questions(run, 4, n)]
        for n in (0, 0, 1)
    ]
    assert texts[0] == texts[1] and texts[0] != texts[2]
    assert sorted(texts[0]) == sorted(texts[2])  # each of the four once
    assert len(other_questions(run, 9, 0)) == 9


@pytest.mark.parametrize("mode", ["drop", "resample"])
def test_shared_and_stock_prefixes_take_the_same_step(tiny_policy, tmp_path, mode):
    """With accumulation: the generation batch is cut into two micro-batches."""
    weights = []
    for shared in (False, True):
        script = Script([1, 0, 1, 1, 0, 0, 0, 1], [0, 1, 1, 1], [0, 2])
        run = trainer(
            tiny_policy, tmp_path, script, shared=shared, zero_variance=mode, difficulty="emit",
            per_device_train_batch_size=4, gradient_accumulation_steps=2, loss_type="dapo",
        )  # fmt: skip
        run.train()
        weights.append({k: v.detach().clone() for k, v in run.model.named_parameters()})
    stock, ours = weights
    assert max((stock[k] - ours[k]).abs().max().item() for k in stock) < 1e-4


def test_rows_are_taken_and_padded_anew():
    one = {
        "prompt_ids": torch.tensor([[9, 1], [2, 3]]),
        "prompt_mask": torch.tensor([[0, 1], [1, 1]]),
        "completion_ids": torch.tensor([[4], [5]]),
        "mm_token_type_ids": torch.tensor([[0, 1, 0], [1, 1, 0]]),
        "old_per_token_logps": torch.tensor([[-1.0], [-2.0]]),
        "advantages": torch.tensor([0.1, 0.2]),
        "num_items_in_batch": torch.tensor(2),
        "pixel_values": torch.arange(10.0).view(5, 2),
        "image_grid_thw": torch.tensor([[1, 1, 1], [1, 2, 2]]),
        "num_images": [1, 1],
        "ref_per_token_logps": None,
    }
    other = {
        **one,
        "prompt_ids": torch.tensor([[7, 7, 7]]),
        "prompt_mask": torch.tensor([[1, 1, 1]]),
        "completion_ids": torch.tensor([[8, 8]]),
        "mm_token_type_ids": torch.tensor([[1, 0, 1, 0, 0]]),
        "old_per_token_logps": torch.tensor([[-3.0, -4.0]]),
        "advantages": torch.tensor([0.9]),
        "pixel_values": torch.full((2, 2), 50.0),
        "image_grid_thw": torch.tensor([[1, 1, 1], [1, 1, 1]]),
        "num_images": [2],
    }
    taken = take_rows([one, other], [(1, 0), (0, 1)], pad_id=9)
    assert taken["prompt_ids"].tolist() == [[7, 7, 7], [9, 2, 3]]
    assert taken["prompt_mask"].tolist() == [[1, 1, 1], [0, 1, 1]]
    assert taken["completion_ids"].tolist() == [[8, 8], [5, 9]]
    assert taken["mm_token_type_ids"].tolist() == [[1, 0, 1, 0, 0], [0, 1, 1, 0, 0]]
    assert taken["old_per_token_logps"].tolist() == [[-3.0, -4.0], [-2.0, 0.0]]
    assert taken["advantages"].tolist() == pytest.approx([0.9, 0.2])
    assert taken["pixel_values"][:, 0].tolist() == [50, 50, 2, 4, 6, 8]
    assert taken["image_grid_thw"].tolist() == [[1, 1, 1], [1, 1, 1], [1, 2, 2]]
    assert taken["num_images"] == [2, 1] and taken["ref_per_token_logps"] is None
    with pytest.raises(NotImplementedError, match="spatial_shapes"):
        take_rows([{"spatial_shapes": torch.ones(1, 2)}], [(0, 0)], pad_id=0)


def test_the_section_is_checked():
    assert SignalConfig() == SignalConfig("keep", 2, "none")
    with pytest.raises(InputError, match="max_rounds"):
        SignalConfig(max_rounds=0)


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 4])
def test_two_processes(tiny_policy, tmp_path, size):
    """Groups within a process (2 of 4 rows) and across both (4 over 2 x 2 rows)."""
    done = completed(torchrun("tests/launched/two_processes.py", tiny_policy, tmp_path, size))
    assert done.stdout.count("as expected") == 2


@pytest.mark.parametrize("zero_variance", ["drop", "resample"])
@pytest.mark.parametrize(("loss_type", "passes"), [("bnpo", 2), ("bnpo", 1), ("dapo", 2)])
def test_a_mean_of_each_micro_batch_is_refused_beside_dropped_groups(
    tiny_policy, tmp_path, zero_variance, loss_type, passes
):
    options = {
        "zero_variance": zero_variance,
        "loss_type": loss_type,
        "gradient_accumulation_steps": passes,
        "per_device_train_batch_size": 8 // passes,
    }
    script = Script([1, 0, 1, 1, 0, 0, 0, 1])
    if loss_type == "bnpo" and passes > 1:
        with pytest.raises(InputError, match=r"2 micro-batches.*set grpo\.loss_type=dapo"):
            trainer(tiny_policy, tmp_path, script, **options)
    else:
        trainer(tiny_policy, tmp_path, script, **options)
