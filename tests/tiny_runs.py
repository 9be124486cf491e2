"""Settings of runs that end in seconds on a CPU, and what such runs log."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from anomalyr1.config import Config, DataConfig, PolicyConfig, PreflightConfig, RewardConfig
from anomalyr1.config.reward import RepetitionOptions

# TRL's settings of every training of the tiny policy.
ON_CPU = {
    "gradient_checkpointing": False,
    "bf16": False,
    "use_cpu": True,
    "report_to": "none",
    "logging_steps": 1,
}

# Of vLLM: a GiB for its cache; what it looks up on the network is nobody's business here.
VLLM_ENVIRONMENT = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
}


def write_config(path: Path, **sections: object) -> Path:
    """A config of these sections."""
    plain = json.loads(json.dumps(sections, default=str))
    path.write_text(yaml.safe_dump(plain, sort_keys=False))
    return path


def typed(values: dict[str, object]) -> list[str]:
    """Overrides as a user types them."""
    return [
        f"{key}={str(value).lower() if isinstance(value, bool) else value}"
        for key, value in values.items()
    ]


def overrides(section: str, policy: Path, benchmark: Path, run_dir: Path, **more) -> list[str]:
    """A training by overrides alone.

    Args:
        section: of TRL's settings, grpo or sft.
        policy: to start from.
        benchmark: to train on.
        run_dir: of the run.
        more: settings of that section.
    """
    settings = {"per_device_train_batch_size": 8, "learning_rate": 0.001, "save_steps": 2}
    return typed(
        {
            "run_dir": run_dir,
            "policy.path": policy,
            "policy.max_pixels": 12544,
            "policy.freeze_vision": False,
            "data.benchmark": benchmark,
            "prompt.references": 1,
            **{f"{section}.{key}": value for key, value in {**ON_CPU, **settings, **more}.items()},
        }
    )


def grpo(policy: Path, benchmark: Path, run_dir: Path, **more) -> list[str]:
    """Six steps of GRPO by overrides alone."""
    settings = {"num_generations": 4, "max_completion_length": 48, "loss_type": "grpo", "beta": 0.0}
    options = overrides("grpo", policy, benchmark, run_dir, **{**settings, "max_steps": 6, **more})
    return [*options, "preflight.skip=true"]


def toy_run(run_dir: Path, policy: Path, benchmark: Path) -> Config:
    """Seven steps, of GRPO or SFT: three questions an epoch, one a step."""
    common = {**ON_CPU, "per_device_train_batch_size": 4, "learning_rate": 0.01, "save_steps": 1}
    grpo = {**common, "num_generations": 4, "max_completion_length": 12, "loss_type": "grpo"}
    return Config(
        run_dir=str(run_dir),
        data=DataConfig(benchmark=str(benchmark), limit=1),
        policy=PolicyConfig(path=str(policy), max_pixels=12544, freeze_vision=False),
        preflight=PreflightConfig(skip=True),
        # A policy that knows nothing earns no reward; among five tokens it repeats itself, and
        # some completions more than others, so that there is something to learn.
        reward=RewardConfig(weights={"repetition": 1.0}, repetition=RepetitionOptions(ngram=1)),
        grpo={**grpo, "max_steps": 7, "beta": 0.01, "top_k": 5},
        sft={**common, "max_steps": 7},
    )


def history(run_dir: Path, key: str = "loss") -> list[dict]:
    """The logged entries that have this key: by default those of training steps."""
    lines = (run_dir / "log_history.jsonl").read_text().splitlines()
    return [entry for entry in map(json.loads, lines) if key in entry]
