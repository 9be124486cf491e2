"""`anomalyr1 reward`: take the reward apart."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from anomalyr1.cli.policy import ConfigPath, Overrides, quiet_libraries
from anomalyr1.errors import InputError
from anomalyr1.terminal import results, waiting

if TYPE_CHECKING:
    from anomalyr1.config.reward import RewardConfig
    from anomalyr1.rewards.replay import Change, Scored

app = typer.Typer(no_args_is_help=True)

_BLOCKS = " ▁▂▃▄▅▆▇█"
_BINS = 12
_SHOWN_CHANGES = 10


@app.callback()
def _group() -> None:
    """Take the reward apart."""


@app.command()
def replay(
    completions: Annotated[
        Path, typer.Argument(help="JSON lines: completion, options, answer, boxes.")
    ],
    preset: Annotated[
        str | None, typer.Option(help="The reward to score with; roam by default.")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="Score with the reward section of a config, a run's config.yaml say."),
    ] = None,
    against: Annotated[
        str | None, typer.Option(help="A second preset: show which completions change.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where to write the scored lines.")] = None,
) -> None:
    """Score recorded completions offline; no policy, image or GPU is needed.

    With `--config RUN/config.yaml` the completions that a run keeps earn what they earned there:
    its weights, table, gate and options.

    Example: anomalyr1 reward replay runs/tiny/predictions.jsonl --preset roam --against paper
    """
    from anomalyr1.config.reward import RewardConfig
    from anomalyr1.rewards.build import build_rewards
    from anomalyr1.rewards.completion_lines import read_completions
    from anomalyr1.rewards.replay import changes, score_completions, scored_row
    from anomalyr1.storage import write_jsonl

    rewards = [_chosen_reward(preset, config)]
    name = f"preset {rewards[0].preset}" if config is None else f"the reward of {config}"
    first = rewards[0].preset if config is None else "config"
    if against is not None:
        rewards.append(RewardConfig(preset=against))
    for reward in rewards:
        build_rewards(reward)  # a misspelt preset is refused before the file is read
    console = results()
    with waiting(f"scoring {completions}"):
        rows = read_completions(completions)
        scored, *other = [score_completions(rows, reward) for reward in rewards]
    console.print(f"{len(rows)} completions, {name}", highlight=False, soft_wrap=True)
    console.print(_outcome_table(scored))
    console.print(_term_table(scored))
    if other:
        changed = changes(scored, other[0])
        console.print(_change_table(changed, len(rows), first, str(against)))
        console.print(_moves_table(changed, first, str(against)))
    if out is not None:
        write_jsonl(out, (scored_row(row, one) for row, one in zip(rows, scored, strict=True)))
        print(f"wrote {out}")


@app.command(name="dry-run")
def dry_run(config: ConfigPath, overrides: Overrides = None) -> None:
    """Try the reward on completions of the starting policy, as `train` does before its first step.

    Exits with status 2 where training would refuse to start; the message names the dead terms.

    Example: anomalyr1 reward dry-run configs/grpo/tiny_cpu.yaml preflight.prompts=4
    """
    quiet_libraries()
    from trl import GRPOConfig

    from anomalyr1.config import load_config
    from anomalyr1.training.arguments import trl_keys
    from anomalyr1.training.preflight import dry_run as run

    run(load_config(config, overrides or (), {"grpo": trl_keys(GRPOConfig)}), results(100))


def _chosen_reward(preset: str | None, config: Path | None) -> RewardConfig:
    from anomalyr1.config import load_config
    from anomalyr1.config.reward import RewardConfig

    if config is None:
        return RewardConfig() if preset is None else RewardConfig(preset=preset)
    if preset is not None:
        raise InputError(
            f"expected one reward to score with, found --preset {preset} and --config {config}; "
            f"leave one out, or compare the two with --against {preset}"
        )
    return load_config(config).reward


def histogram(values: Sequence[float], low: float, high: float) -> str:
    """A line of blocks, one a bin from `low` to `high`; the fullest bin is a full block.

    >>> histogram([0, 0, 0, 1], 0, 1)
    '█          ▃'
    """
    counts = [0] * _BINS
    for value in values:
        share = (value - low) / (high - low) if high > low else 0.0
        counts[min(_BINS - 1, int(share * _BINS))] += 1
    fullest = max(counts)
    return "".join(_BLOCKS[math.ceil(8 * count / fullest)] if count else " " for count in counts)


def _outcome_table(scored: Sequence[Scored]) -> Table:
    from anomalyr1.schema import OUTCOMES

    table = Table("outcome", title="Outcomes")
    for name in ("completions", "share", "mean total"):
        table.add_column(name, justify="right")
    totals: dict[str | None, list[float]] = {}
    for one in scored:
        totals.setdefault(one.outcome, []).append(one.total)
    for outcome in (*OUTCOMES, None):
        group = totals.get(outcome, [])
        if group or outcome is not None:
            share = f"{100 * len(group) / len(scored):.1f} %"
            table.add_row(outcome or "(no gold)", str(len(group)), share, _mean(group))
    return table


def _term_table(scored: Sequence[Scored]) -> Table:
    table = Table("term", title="Terms")
    for name in ("applies to", "mean", "sd", "lowest"):
        table.add_column(name, justify="right")
    table.add_column("histogram", no_wrap=True)
    table.add_column("highest", justify="right")
    for name in scored[0].rewards:
        values = [v for one in scored if (v := one.rewards[name]) is not None]
        table.add_row(name, *_described(values))
    table.add_row("total", *_described([one.total for one in scored]), style="bold")
    return table


def _described(values: Sequence[float]) -> tuple[str, ...]:
    if not values:
        return ("0", "-", "-", "-", "", "-")
    low, high = min(values), max(values)
    mean = math.fsum(values) / len(values)
    sd = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values))
    drawn = f"[{histogram(values, low, high)}]"
    return (str(len(values)), f"{mean:.3f}", f"{sd:.3f}", f"{low:.2f}", rf"\{drawn}", f"{high:.2f}")


def _change_table(changed: Sequence[Change], count: int, first: str, second: str) -> Table:
    mean = _mean([change.difference for change in changed])
    table = Table(
        title=f"{len(changed)} of {count} change from {first} to {second}, by {mean} on average"
    )
    for name in ("row", first, second, "difference"):
        table.add_column(name, justify="right")
    table.add_column("outcome")
    for change in changed[:_SHOWN_CHANGES]:
        table.add_row(
            str(change.row),
            f"{change.first.total:.2f}",
            f"{change.second.total:.2f}",
            f"{change.difference:+.2f}",
            _move(change),
        )
    if len(changed) > _SHOWN_CHANGES:
        table.add_row("...", "", "", "", f"{len(changed) - _SHOWN_CHANGES} more")
    return table


def _moves_table(changed: Sequence[Change], first: str, second: str) -> Table:
    table = Table("outcome", title=f"What changes from {first} to {second}")
    for name in ("completions", "mean difference"):
        table.add_column(name, justify="right")
    table.add_column("terms that differ")
    groups: dict[str, list[Change]] = {}
    for change in changed:
        groups.setdefault(_move(change), []).append(change)
    for move, group in sorted(groups.items(), key=lambda item: -len(item[1])):
        terms = Counter(term for change in group for term in _differing(change))
        named = ", ".join(f"{term} ({count})" for term, count in terms.most_common())
        table.add_row(move, str(len(group)), _mean([c.difference for c in group], "+"), named)
    return table


def _move(change: Change) -> str:
    first, second = change.first.outcome, change.second.outcome
    return f"{first} -> {second}" if first != second else str(first)


def _differing(change: Change) -> list[str]:
    one: Mapping[str, Any] = change.first.rewards
    other: Mapping[str, Any] = change.second.rewards
    return [term for term in dict.fromkeys([*one, *other]) if one.get(term) != other.get(term)]


def _mean(values: Sequence[float], sign: str = "") -> str:
    return f"{math.fsum(values) / len(values):{sign}.3f}" if values else "-"
