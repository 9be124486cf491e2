"""SIGKILL at random moments of `eval --shard` and `gather`: the whole is that of one evaluation.

`pytest -m slow tests/reliability/test_shard_kills.py` kills them twenty times in all.
"""

from __future__ import annotations

import json

import pytest
from killing import Verb, forking, kill, lasting
from tiny_runs import write_config

KILLS = {"shard 1/3": 6, "shard 2/3": 6, "shard 3/3": 4, "gather": 4}
SEED = 23


@pytest.mark.slow
def test_killed_shards_and_gathering_lose_and_double_nothing(tmp_path, toy_benchmark, tiny_policy):
    config = write_config(
        tmp_path / "eval.yaml",
        policy={"path": tiny_policy, "max_pixels": 3136, "min_pixels": 3136},
        eval={"benchmark": toy_benchmark, "max_new_tokens": 6, "bootstrap": 20, "batch_size": 3},
        segmentation={"kind": "box"},
    )
    parts = [tmp_path / f"shard {number}/3".replace("/", "-of-") / "out" for number in (1, 2, 3)]
    verbs = {
        name: Verb(
            lambda given, out, name=name: [
                *("eval", config, f"run_dir={out}"),
                *("--shard", name.removeprefix("shard ")),
            ]
        )
        for name in KILLS
        if name != "gather"
    }
    shards = [part / f"shard-{number}-of-3" for number, part in enumerate(parts, 1)]
    verbs["gather"] = Verb(lambda given, out: ["gather", *shards, "--out", out])
    with forking(tmp_path, torch=True) as process:
        for number, (name, verb) in enumerate(verbs.items()):
            folder = tmp_path / name.replace("/", "-of-")
            found = kill(process, verb, folder, times=KILLS[name], seed=SEED + number)
            print(f"{name}: {found.seconds:.1f} s, {found.steps} steps, {found.killed} killed")
            assert found.faults == (), "\n".join(found.faults)
        whole, log = tmp_path / "whole", tmp_path / "whole.log"
        ended = process.run(["eval", config, f"run_dir={whole}"], whole, log)
        assert ended["status"] == 0, log.read_text()[-4000:]
        assert [*process.temporary.rglob("*")] == []
    ours = tmp_path / "gather" / "out"
    lines = [*map(json.loads, (ours / "predictions.jsonl").open())]
    assert lines == [*map(json.loads, (whole / "predictions.jsonl").open())]
    assert len({(line["image"], line["question_index"]) for line in lines}) == len(lines) == 24
    ours, whole = (
        lasting(json.loads((folder / "metrics.json").read_text())) for folder in (ours, whole)
    )
    assert ours["mmad"] == whole["mmad"] and ours["predictions"] == whole["predictions"]
