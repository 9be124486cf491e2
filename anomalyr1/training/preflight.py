"""Before the first step: can the reward tell the starting policy's completions apart?"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from rich.console import Console
from transformers.integrations import is_deepspeed_zero3_enabled
from trl import GRPOConfig

from anomalyr1.config import Config
from anomalyr1.data.images import open_image
from anomalyr1.errors import InputError
from anomalyr1.policy.generate import generate
from anomalyr1.policy.load import Policy, load_policy
from anomalyr1.policy.vision import backbone_of
from anomalyr1.rewards.build import RewardTerm, build_rewards
from anomalyr1.rewards.format import format_score
from anomalyr1.rewards.reading import read_batch
from anomalyr1.rewards.roam import outcome_of
from anomalyr1.rows import Row
from anomalyr1.training.dataset import to_dataset
from anomalyr1.training.inputs import training_rows, trl_arguments
from anomalyr1.training.preflight_report import print_report

_EQUAL = 1e-9  # rewards closer than this do not tell two completions apart
_SKIP = "preflight.skip=true starts all the same"


@dataclass(frozen=True)
class TermTrial:
    """What one term made of the trial's completions.

    Attributes:
        name: of the term.
        mean: over the completions it applies to; None where it applies to none.
        sd: likewise.
        applies: share of the completions it applies to.
        groups: groups it applies to.
        flat: of these, the ones in which it gives every completion the same.
    """

    name: str
    mean: float | None
    sd: float | None
    applies: float
    groups: int
    flat: int

    @property
    def is_dead(self) -> bool:
        """True when the term tells no two completions of a question apart."""
        return self.flat == self.groups


@dataclass(frozen=True)
class Trial:
    """What the reward made of the starting policy's completions.

    Attributes:
        groups: questions asked.
        generations: completions of each.
        terms: each term, then the weighted total.
        format_rate: share of completions that can be read as asked.
        outcomes: outcome -> share of the completions whose row has gold.
        faults: fault -> share of all completions, the most frequent first.
        example: one completion, its question, and its rewards by term.
    """

    groups: int
    generations: int
    terms: tuple[TermTrial, ...]
    format_rate: float
    outcomes: Mapping[str, float]
    faults: Mapping[str, float]
    example: tuple[str, str, Mapping[str, float | None]]

    @property
    def total(self) -> TermTrial:
        """The weighted total."""
        return self.terms[-1]


def dry_run(config: Config, console: Console | None = None) -> Trial:
    """`anomalyr1 reward dry-run`: the pre-flight of a training config on its own.

    Raises:
        InputError: training could not start from here, or the config cannot be used.
    """
    rewards = build_rewards(config.reward)
    arguments = trl_arguments(GRPOConfig, "grpo", config.grpo, config)
    policy = load_policy(config.policy)
    _, rows = training_rows(config, policy.processor)
    return preflight(config, arguments, policy, rows, *rewards, console=console)


def preflight(
    config: Config,
    arguments: GRPOConfig,
    policy: Policy,
    rows: Sequence[Row],
    terms: Sequence[RewardTerm],
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
    asked = spread(rows, config.preflight.prompts, config.seed)
    groups = sample_groups(config, arguments, policy, asked)
    trial = judge(asked, groups, policy, terms, weights)
    state = PartialState()
    if state.is_main_process:
        print_report(trial, console or Console())
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
    turns = max(len(group) for group in by_type.values())
    in_turn = [
        group[i] for i in range(turns) for _, group in sorted(by_type.items()) if i < len(group)
    ]
    return in_turn[:count]


def sample_groups(
    config: Config, arguments: GRPOConfig, policy: Policy, rows: Sequence[Row]
) -> list[list[str]]:
    """Completions of each row from the policy as training would sample them."""
    size = config.preflight.generations or arguments.num_generations
    batch_size = config.preflight.batch_size
    wanted = [row for row in rows for _ in range(size)]
    completions: list[str] = []
    with _sampling(policy, config.seed):
        for start in range(0, len(wanted), batch_size):
            batch = wanted[start : start + batch_size]
            completions += generate(
                policy,
                [row.messages for row in batch],
                [[open_image(Path(name)) for name in row.images] for row in batch],
                max_new_tokens=arguments.max_completion_length,
                sample=True,
                temperature=arguments.temperature,
            )
    return [completions[i : i + size] for i in range(0, len(completions), size)]


def judge(
    rows: Sequence[Row],
    groups: Sequence[Sequence[str]],
    policy: Policy,
    terms: Sequence[RewardTerm],
    weights: Sequence[float],
) -> Trial:
    """Score the groups, one a row, and measure what each term contributes."""
    size = len(groups[0])
    texts = [text for group in groups for text in group]
    tokenizer: Any = policy.processor.tokenizer
    dataset = to_dataset(rows).remove_columns(["prompt", "images"]).to_list()
    repeated = [record for record in dataset for _ in range(size)]
    columns = {name: [record[name] for record in repeated] for name in dataset[0]}
    columns["completion_ids"] = tokenizer(texts, add_special_tokens=False)["input_ids"]
    rewards = {term.name: term(texts, **columns) for term in terms}
    totals = [
        math.fsum(w * v for w, v in zip(weights, values, strict=True) if v is not None)
        for values in zip(*rewards.values(), strict=True)
    ]
    readings = read_batch(texts, columns, terms[0].gate)
    outcomes = [found for reading in readings if (found := outcome_of(reading)) is not None]
    faults = Counter(fault for reading in readings for fault in reading.response.errors)
    best = max(range(len(texts)), key=totals.__getitem__)
    return Trial(
        groups=len(groups),
        generations=size,
        terms=(
            *(_trial(name, values, size) for name, values in rewards.items()),
            _trial("total", totals, size),
        ),
        format_rate=math.fsum(format_score(reading) for reading in readings) / len(readings),
        outcomes={name: n / len(outcomes) for name, n in Counter(outcomes).most_common()},
        faults={name: n / len(readings) for name, n in faults.most_common()},
        example=(
            rows[best // size].question.text,
            texts[best],
            {name: values[best] for name, values in rewards.items()},
        ),
    )


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


def _trial(name: str, values: Sequence[float | None], size: int) -> TermTrial:
    known = [value for value in values if value is not None]
    groups = [
        group
        for start in range(0, len(values), size)
        if (group := [v for v in values[start : start + size] if v is not None])
    ]
    mean = math.fsum(known) / len(known) if known else None
    return TermTrial(
        name=name,
        mean=mean,
        sd=None
        if mean is None
        else math.sqrt(math.fsum((v - mean) ** 2 for v in known) / len(known)),
        applies=len(known) / len(values),
        groups=len(groups),
        flat=sum(max(group) - min(group) <= _EQUAL for group in groups),
    )


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
            backbone_of(model).rope_deltas = None  # of the last batch


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
