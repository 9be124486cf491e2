"""Weights, gradients, optimiser state and reference of one process, by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from commands import REPOSITORY

from anomalyr1.config import Config
from anomalyr1.errors import InputError
from anomalyr1.planning.settings import read_settings
from anomalyr1.planning.sharding import Sharding, read_sharding
from anomalyr1.planning.skeleton import Weight
from anomalyr1.planning.states import hold

LAUNCHES = REPOSITORY / "configs" / "accelerate"
# 100 frozen and 900 trained weights in 16 bits; a reference policy of the same 1000 weights.
SKELETON = SimpleNamespace(
    weights=(Weight(100, 2, False), Weight(900, 2, True)),
    largest_layer=50,
    outside_layers=200,
    layers=SimpleNamespace(text=SimpleNamespace(hidden_size=8)),
)
SETTINGS = read_settings(Config(), 1)
BUCKET = {"reduce_bucket": 10, "max_live": 300}

# kind -> weights, gathered, gathered while sampling, gradients, buckets, optimiser, reference, step
EXPECTED = {
    # one copy of everything; two moments in the dtype of the weight: 2 x 2 x 900
    "single": (2000, 0, 0, 1800, 0, 3600, 2000, 0),
    # the reducer's buckets are a second copy of the gradients
    "DDP": (2000, 0, 0, 1800, 1800, 3600, 2000, 0),
    # float32 master and moments, 12 bytes of each of 900 weights, over 4
    "ZeRO-1": (2000, 0, 0, 1800, 20, 2700, 2000, 900),
    # gradients over 4 as well
    "ZeRO-2": (2000, 0, 0, 450, 20, 2700, 2000, 900),
    # weights and reference over 4; 300 gathered at once, all 1000 to sample
    "ZeRO-3": (500, 600, 2000, 450, 20, 2700, 500, 900),
    # trained weights in float32: (100 x 2 + 900 x 4) / 4; two layers and the rest in 16 bits;
    # float32 gradients 900 x 4 / 4 and moments 900 x 8 / 4
    "FSDP": (950, 600, 600, 900, 100, 1800, 500, 0),
}


@pytest.mark.parametrize("kind", EXPECTED)
def test_bytes_of_a_process(kind):
    processes = 1 if kind == "single" else 4
    sharding = Sharding(kind, processes, "bf16", **BUCKET)
    found = hold(SKELETON, sharding, SETTINGS, reference=2000)
    assert (
        found.weights,
        found.gathered,
        found.gathered_rollout,
        found.gradients,
        found.buckets,
        found.optimizer,
        found.reference,
        found.step,
    ) == EXPECTED[kind]
    assert found.host == 0


def test_offloading_moves_bytes_to_the_host():
    sharding = Sharding("ZeRO-3", 4, "bf16", offload_optimizer=True, offload_weights=True, **BUCKET)
    found = hold(SKELETON, sharding, SETTINGS, reference=2000)
    assert (found.weights, found.gradients, found.optimizer, found.reference) == (0, 0, 0, 0)
    assert found.host == 500 + 450 + 2700 + 900 + 500
    assert found.gathered == 600  # what is computed with is on the GPU


def test_optimisers_and_buckets():
    def optimizer(name):
        settings = replace(SETTINGS, optimizer=name)
        return hold(SKELETON, Sharding(), settings, reference=0).optimizer

    assert optimizer("adamw_8bit") == 2 * 900
    assert optimizer("sgd") == 0
    assert optimizer("adamw_torch") == 3600
    with pytest.raises(InputError, match=r"grpo\.optim"):
        optimizer("galore_adamw")
    automatic = Sharding("ZeRO-2", 4, "bf16", reduce_bucket=None, double_bucket=True)
    assert hold(SKELETON, automatic, SETTINGS, reference=0).buckets == 2 * 8**2 * 2


def test_sampling_without_gathering():
    settings = replace(SETTINGS, gathers=False)
    found = hold(SKELETON, Sharding("ZeRO-3", 4, "bf16", **BUCKET), settings, reference=0)
    assert found.gathered_rollout == 600


def test_launch_files_of_the_project():
    found = {path.stem: read_sharding(path) for path in LAUNCHES.glob("*.yaml")}
    assert found["ddp"].kind == "DDP" and found["ddp"].processes == 4
    assert found["zero2"].kind == "ZeRO-2" and found["zero3"].kind == "ZeRO-3"
    assert found["zero3"].mixed == "bf16" and not found["zero3"].offload_optimizer
    assert found["zero3_offload"].offload_optimizer and found["zero3_offload"].offload_weights
    assert found["fsdp2"].kind == "FSDP" and found["fsdp2"].reshard
    assert found["one_gpu"].kind == "single"
    assert read_sharding(LAUNCHES / "zero3.yaml", 8).processes == 8
    assert read_sharding(None, 2).kind == "DDP"


def test_a_deepspeed_file_of_the_config_counts_beside_a_launch_for_ddp():
    zero2 = str(REPOSITORY / "configs/deepspeed/zero2.json")
    found = read_sharding(LAUNCHES / "ddp.yaml", None, zero2)
    assert found.kind == "ZeRO-2" and found.processes == 4


def test_a_deepspeed_file_named_by_the_config():
    file = LAUNCHES.parent / "deepspeed" / "zero2.json"
    found = read_sharding(None, 4, str(file))
    assert found.kind == "ZeRO-2" and found.reduce_bucket is None and found.double_bucket


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("distributed_type: TPU\n", "expected distributed_type"),
        ("distributed_type: DEEPSPEED\ndeepspeed_config: {zero_stage: 0}\n", "expected zero_stage"),
        ("- a\n", "expected the keys of a launch file"),
        ("a: [\n", "expected an accelerate file"),
    ],
)
def test_launch_files_that_cannot_be_used(text, message, tmp_path):
    path = tmp_path / "launch.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_sharding(path)


def test_mistaken_numbers():
    with pytest.raises(InputError, match="expected at least 1 GPU"):
        read_sharding(None, 0)
    with pytest.raises(InputError, match="expected an accelerate file"):
        read_sharding(Path("/nowhere.yaml"))
    with pytest.raises(InputError, match=r"multiple of grpo\.num_generations=8"):
        read_settings(Config(grpo={"per_device_train_batch_size": 3}), 1)
