"""Before the first step: can the reward tell the starting policy's completions apart?"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from rich.console import Console
from transformers import GenerationConfig
from transformers.integrations import is_deepspeed_zero3_enabled
from trl import GRPOConfig

from anomalyr1.config import Config
from anomalyr1.data.images import open_image
from anomalyr1.errors import InputError
from anomalyr1.policy.generate import Completion, complete
from anomalyr1.policy.load import Policy, load_policy
from anomalyr1.rewards.build import Term, build_rewards
from anomalyr1.rows import Row
from anomalyr1.shared_prefix.attention import prepare
from anomalyr1.terminal import is_quiet
from anomalyr1.training.arguments import trl_arguments
from anomalyr1.training.feed import training_rows
from anomalyr1.training.preflight_report import print_report
from anomalyr1.training.trial import TermTrial, Trial, judge

_SKIP = "set preflight.skip=true to start all the same"


def dry_run(config: Config, console: Console | None = None) -> Trial:
    """`anomalyr1 reward dry-run`: the pre-flight of a training config on its own.

    Raises:
        InputError: training could not start from here, or the config cannot be used.
    """
    rewards = build_rewards(config.reward)
    arguments = trl_arguments(GRPOConfig, "grpo", config.grpo, config)
    policy = load_policy(config.policy)
    _, rows = training_rows(config, policy.processor, policy.family)
    return preflight(config, arguments, policy, rows, *rewards, console=console)


def preflight(
    config: Config,
    arguments: GRPOConfig,
    policy: Policy,
    rows: Sequence[Row],
    terms: Sequence[Term],
    weights: Sequence[float],
    console: Console | None = None,
) -> Trial:
    """Sample, score, print a table, and refuse a start that could teach nothing.

    Every process draws the same completions from the same seed, so none waits for another; the
    first one prints, and its verdict holds for all. The state of the random generators is put
    back, so that a run is the same with and without.

    Raises:
        InputError: no completion can be read, or every group has zero reward variance. The
            message names the dead terms and what to do.
    """
    if config.policy.shared_prefix:
        prepare(policy.model)
    asked = spread(rows, config.preflight.prompts, config.seed)
    groups = sample_groups(config, arguments, policy, asked)
    trial = judge(asked, groups, terms, weights)
    state = PartialState()
    if state.is_main_process:
        console = console or Console(quiet=is_quiet())
        print_report(trial, console)
        if arguments.use_vllm and arguments.generation_kwargs:
            console.print("sampled without grpo.generation_kwargs, which are vLLM's")
    verdict = [refusal(trial, config, arguments)]
    if state.num_processes > 1:
        broadcast_object_list(verdict, from_process=0)
    if verdict[0] is not None:
        raise InputError(verdict[0])
    return trial


def spread(rows: Sequence[Row], count: int, seed: int) -> list[Row]:
    """`count` rows drawn with a seed, taken from the question types in turn."""
    shuffled = random.Random(seed).sample(rows, len(rows))
    by_type: dict[str, list[Row]] = {}
    for row in shuffled:
        by_type.setdefault(row.question.type, []).append(row)
    turns = zip_longest(*(group for _, group in sorted(by_type.items())))
    return [row for turn in turns for row in turn if row is not None][:count]


def sample_groups(
    config: Config, arguments: GRPOConfig, policy: Policy, rows: Sequence[Row]
) -> list[list[Completion]]:
    """Completions of each row from the policy as training would sample them.

    Where vLLM samples in training, transformers does here, without `grpo.generation_kwargs`.
    """
    size = config.preflight.generations or arguments.num_generations
    batch_size = config.preflight.batch_size
    settings = sampling(arguments, policy.model)
    wanted = [row for row in rows for _ in range(size)]
    completions: list[Completion] = []
    with _sampling(policy, config.seed):
        for start in range(0, len(wanted), batch_size):
            batch = wanted[start : start + batch_size]
            completions += complete(
                policy,
                [row.messages for row in batch],
                [[open_image(Path(name)) for name in row.images] for row in batch],
                max_new_tokens=arguments.max_completion_length,
                sample=True,
                share=config.policy.shared_prefix,
                settings=settings,
            )
    return [completions[i : i + size] for i in range(0, len(completions), size)]


def sampling(arguments: GRPOConfig, model: Any) -> dict[str, Any]:
    """Options of transformers' `generate` with which TRL samples (`GRPOTrainer.__init__`).

    Args:
        arguments: TRL's. What they say to vLLM alone is left out.
        model: whose image token is never sampled.
    """
    told = {} if arguments.use_vllm else arguments.generation_kwargs or {}
    known = GenerationConfig().to_dict()  # what else TRL is told has no effect there
    return {
        "temperature": arguments.temperature,
        "top_p": arguments.top_p,
        "top_k": arguments.top_k,
        "min_p": arguments.min_p,
        "repetition_penalty": arguments.repetition_penalty,
        "cache_implementation": arguments.cache_implementation,
        "suppress_tokens": [model.config.image_token_id],
        **{key: value for key, value in told.items() if key in known},
    }


def refusal(trial: Trial, config: Config, arguments: GRPOConfig) -> str | None:
    """Why training should not start, in one line that says what to do; None when it may."""
    count = f"{trial.groups} groups of {trial.generations} completions"
    if trial.format_rate == 0:
        fault = next(iter(trial.faults), None)
        seen = f" (most often: {fault}, {trial.faults[fault]:.0%})" if fault else ""
        return (
            f"expected a policy whose completions can be read, found a format rate of 0 in {count}"
            f"{seen}; run `anomalyr1 sft` first, or raise grpo.max_completion_length (now "
            f"{arguments.max_completion_length}) if completions are cut off; {_SKIP}"
        )
    if trial.total.is_dead:
        dead = ", ".join(f"{term.name} ({_why(term)})" for term in trial.terms[:-1] if term.is_dead)
        return (
            f"expected groups in which the reward differs, found zero reward variance in all of "
            f"{count}; dead terms: {dead or 'none, they cancel out'}; raise grpo.temperature (now "
            f"{arguments.temperature}) or grpo.num_generations, run `anomalyr1 sft` first where "
            f"rewards are low, take harder questions where they are high; {_SKIP}"
        )
    return None


def _why(term: TermTrial) -> str:
    if term.groups == 0:
        return "applies to no question"
    if term.sd == 0:
        return f"always {term.mean:.2f}"
    return "the same within every group"


@contextmanager
def _sampling(policy: Policy, seed: int) -> Iterator[None]:
    """The model whole, on its device and in evaluation mode; seeded, and put back afterwards."""
    model: Any = policy.model
    training = model.training
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices), _whole(model):
        torch.manual_seed(seed)
        model.eval()
        try:
            yield
        finally:
            model.train(training)
            for module in model.modules():
                if hasattr(module, "rope_deltas"):
                    module.rope_deltas = None  # of the last batch


@contextmanager
def _whole(model: Any) -> Iterator[None]:
    """Weights that ZeRO-3 has spread over the processes are gathered; others go to the device."""
    if is_deepspeed_zero3_enabled():
        import deepspeed

        with deepspeed.zero.GatheredParameters(list(model.parameters())):
            yield
    else:
        model.to(PartialState().device)
        yield
