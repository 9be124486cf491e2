"""`grpo.push_to_hub=true` leaves a whole policy on the hub; the hub is one on this machine."""

from __future__ import annotations

from commands import run
from local_hub import local_hub
from safetensors.torch import load
from tiny_runs import grpo, write_config


def test_a_trained_policy_is_pushed_whole(tiny_policy, toy_benchmark, tmp_path):
    options = grpo(
        tiny_policy,
        toy_benchmark,
        tmp_path / "run",
        max_steps=2,
        push_to_hub=True,
        hub_model_id="somebody/inspector",
        hub_strategy="end",
        hub_private_repo=True,
    )
    path = write_config(tmp_path / "push.yaml", seed=0)
    with local_hub() as (hub, address):
        environment = {
            "HF_HUB_OFFLINE": None,
            "HF_ENDPOINT": address,
            "HF_TOKEN": "hf_of_nobody",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }
        run("train", path, *options, **environment)
    assert hub.private == {"somebody/inspector": True}
    pushed = hub.files["somebody/inspector"]
    policy = tmp_path / "run" / "policy"
    # All that `policy/` needs to be loaded, and nothing of the trainer's own state.
    needed = ("config.json", "model.safetensors", "tokenizer.json", "processor_config.json")
    for name in (*needed, "README.md"):
        assert name in pushed, (name, sorted(pushed))
    assert not [name for name in pushed if "checkpoint-" in name or "optimizer" in name]
    ours = load((policy / "model.safetensors").read_bytes())
    theirs = load(pushed["model.safetensors"])
    assert ours.keys() == theirs.keys()
    assert all((ours[name] == theirs[name]).all() for name in ours)
    assert b"2 steps" in pushed["README.md"]
