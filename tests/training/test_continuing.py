"""A run goes on with the settings it was begun with; what may change, and what may not."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from trl import GRPOConfig, SFTConfig

from anomalyr1.config import Config, DataConfig, LoraSection, PolicyConfig
from anomalyr1.errors import InputError
from anomalyr1.provenance import write_provenance
from anomalyr1.training.arguments import trl_arguments
from anomalyr1.training.continuing import feeding, refuse_changed, refuse_other_data
from anomalyr1.training.rates import split_groups

BEGUN = Config(
    policy=PolicyConfig(path="start"),
    data=DataConfig(benchmark="bench"),
    grpo={"max_steps": 10, "learning_rate": 1e-4},
)


@pytest.fixture
def run_dir(tmp_path):
    write_provenance(tmp_path, "train", BEGUN)
    write_provenance(tmp_path, "eval", Config())  # of the policy trained there
    return tmp_path


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"run_dir": "elsewhere", "keep_completions_every": 1, "early_stop_patience": 2},
        {"grpo": {"max_steps": 20, "learning_rate": 1e-4, "save_steps": 5, "logging_steps": 2}},
        {"policy": PolicyConfig(path="start", shared_prefix=False)},
    ],
)
def test_what_may_change(run_dir, changes):
    refuse_changed(run_dir, "train", replace(BEGUN, **changes))


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"seed": 3}, "seed (was 0, is 3)"),
        ({"grpo": {"max_steps": 10}}, "grpo.learning_rate (was 0.0001, is None)"),
        ({"policy": PolicyConfig(path="other")}, "policy.path (was 'start', is 'other')"),
        ({"policy": PolicyConfig(path="start", lora=LoraSection(r=4))}, "policy.lora.r (was None"),
        ({"data": DataConfig(benchmark="test")}, "data.benchmark (was 'bench', is 'test')"),
    ],
)
def test_what_may_not(run_dir, changes, found):
    config = replace(BEGUN, **changes)
    with pytest.raises(InputError) as error:
        refuse_changed(run_dir, "train", config)
    assert found in str(error.value) and "\n" not in str(error.value)
    forced = replace(config, resume="force")
    if "data" in changes:  # the record of what was trained on is of one config
        with pytest.raises(InputError, match=r"data\.benchmark"):
            refuse_changed(run_dir, "train", forced)
    else:
        refuse_changed(run_dir, "train", forced)


def test_a_path_may_be_written_otherwise(run_dir, monkeypatch):
    (run_dir / "start").mkdir()
    monkeypatch.chdir(run_dir)
    refuse_changed(
        run_dir, "train", replace(BEGUN, policy=PolicyConfig(path=str(run_dir / "start")))
    )


def test_another_verb_is_refused(run_dir):
    with pytest.raises(InputError, match=r"expected a run of SFT .* found one of GRPO"):
        refuse_changed(run_dir, "sft", BEGUN)


def test_a_folder_without_a_record_is_left_alone(tmp_path):
    refuse_changed(tmp_path, "train", BEGUN)


FED = {
    "processes": 2,
    "per_device_train_batch_size": 4,
    "gradient_accumulation_steps": 2,
    "generation_batch_size": 16,
    "num_generations": 4,
}


@pytest.mark.parametrize(
    ("now", "found"),
    [
        ({"processes": 4}, ["processes (was 2, is 4)"]),
        # TRL's default was another when the run was begun, so that the config tells nothing.
        ({"num_generations": 8}, ["grpo.num_generations (was 4, is 8)"]),
        (
            {"gradient_accumulation_steps": 1, "generation_batch_size": 8},
            [
                "grpo.gradient_accumulation_steps (was 2, is 1)",
                "grpo.generation_batch_size (was 16, is 8)",
            ],
        ),
    ],
)
def test_what_feeds_the_processes_may_not_change(tmp_path, now, found):
    write_provenance(tmp_path, "train", BEGUN, feeding=FED)
    write_provenance(tmp_path, "eval", Config())
    refuse_changed(tmp_path, "train", BEGUN, FED)
    refuse_changed(tmp_path, "train", replace(BEGUN, resume="force"), FED | now)
    with pytest.raises(InputError) as error:
        refuse_changed(tmp_path, "train", BEGUN, FED | now)
    message = str(error.value)
    assert all(each in message for each in found) and "\n" not in message
    assert message.count(" (was ") == len(found)
    # After a forced start the record is of that one.
    write_provenance(tmp_path, "train", BEGUN, feeding=FED | now)
    refuse_changed(tmp_path, "train", BEGUN, FED | now)


def test_a_change_of_the_config_is_named_once(tmp_path):
    grpo = {**BEGUN.grpo, "num_generations": 4}
    write_provenance(tmp_path, "train", replace(BEGUN, grpo=grpo), feeding=FED)
    config = replace(BEGUN, grpo={**grpo, "num_generations": 8})
    with pytest.raises(InputError) as error:
        refuse_changed(tmp_path, "train", config, FED | {"num_generations": 8})
    assert str(error.value).count("num_generations") == 1


def test_an_older_record_tells_nothing_of_the_processes(run_dir):
    refuse_changed(run_dir, "train", BEGUN, FED)


@pytest.mark.parametrize("kind", [GRPOConfig, SFTConfig])
def test_what_is_kept_of_the_feeding(kind, tmp_path):
    batches = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2}
    given = {**batches, "use_cpu": True, "bf16": False}
    found = feeding(kind(output_dir=str(tmp_path), **given))
    assert json.loads(json.dumps(found)) == found
    assert found.items() >= {"processes": 1, **batches, "dataloader_drop_last": False}.items()
    if kind is GRPOConfig:
        assert found["generation_batch_size"] == 8 and found["steps_per_generation"] == 2


@pytest.mark.parametrize(
    "key", ["dataloader_drop_last", "dataloader_in_order", "use_vllm", "vllm_mode"]
)
def test_what_changes_the_rows_or_how_they_are_sampled_is_not_free(run_dir, key):
    config = replace(BEGUN, grpo={**BEGUN.grpo, key: True})
    with pytest.raises(InputError, match=rf"grpo\.{key} \(was None, is True\)"):
        refuse_changed(run_dir, "train", config)
    workers = {**BEGUN.grpo, "dataloader_num_workers": 2, "dataloader_pin_memory": False}
    refuse_changed(run_dir, "train", replace(BEGUN, grpo=workers))


RECORD = {"benchmark": "bench/mmad.json", "sha256": "aaa", "images": 8}


@pytest.mark.parametrize(
    ("before", "now", "same"),
    [
        ([RECORD], [RECORD], True),
        ([RECORD], [{**RECORD, "sha256": "bbb"}], False),
        ([RECORD], [{**RECORD, "benchmark": "moved/mmad.json"}], True),
        ([RECORD, RECORD], [RECORD, {**RECORD, "images": 4}], False),
        ([RECORD], [RECORD, RECORD], False),  # a part was added to a mixture
        ([], [RECORD], True),  # an older record
        ([{"benchmark": "bench/mmad.json"}], [RECORD], True),
    ],
)
def test_the_data_at_the_same_path_are_the_same(tmp_path, before, now, same):
    write_provenance(tmp_path, "train", BEGUN, before)
    if same:
        refuse_other_data(tmp_path, "train", now)
    else:
        with pytest.raises(InputError, match="put the benchmark back") as error:
            refuse_other_data(tmp_path, "train", now)
        assert "\n" not in str(error.value)


WRONG = {
    "max_steps": "abc",
    "learning_rate": -1,
    "num_iterations": 2.5,
    "temperature": 0,
    "top_p": 1.5,
    "gradient_accumulation_steps": 0,
    "mask_truncated_completions": "yes",
}


def test_values_that_no_training_can_use_are_all_named(tmp_path):
    config = Config(run_dir=str(tmp_path))
    with pytest.raises(InputError) as error:
        trl_arguments(GRPOConfig, "grpo", WRONG, config)
    for key, value in WRONG.items():
        assert f"grpo.{key}={value!r} (expected " in str(error.value)
    for section, kind in (("grpo", GRPOConfig), ("sft", SFTConfig)):
        with pytest.raises(InputError, match="expected steps, or -1"):
            trl_arguments(kind, section, {"max_steps": 0}, config)
        fine = {
            "max_steps": 3,
            "learning_rate": 1,
            "save_steps": 0.5,
            "use_cpu": True,
            "bf16": False,
        }
        assert trl_arguments(kind, section, fine, config).max_steps == 3


def test_the_rate_that_is_logged_is_that_of_most_weights():
    weights = [torch.nn.Parameter(torch.zeros(1)) for _ in range(3)]
    optimizer = torch.optim.SGD(weights, lr=0.1)
    parts = dict(zip(map(id, weights), ("vision", "language", "projector"), strict=True))
    split_groups(optimizer, parts, {"vision": 1e-3, "projector": 1e-2})
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 1e-3, 1e-2]
    assert optimizer.param_groups[0]["params"][0] is weights[1]
