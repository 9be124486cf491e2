"""The picture and the table of docs/method.md, "When the reward does not move".

python scripts/learning_failures.py --plot docs/learning_failures.png

A run that learns, the quickstart's from its cold start (which ./scripts/quickstart.sh makes), and
five beside it with one thing wrong each: same policy, data, seed and steps.
Started again, it goes on where it stopped; other weights have other runs. The table comes last.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from anomalyr1.allocator import keep_freed_memory
from anomalyr1.config import load_config
from anomalyr1.data.fingerprint import file_sha256
from anomalyr1.data.making.synthetic import synthesize
from anomalyr1.errors import InputError
from anomalyr1.evaluation.report.charts import smooth
from anomalyr1.run_folder import HISTORY, WARNINGS
from anomalyr1.storage import read_jsonl
from anomalyr1.training.grpo import train

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Cause:
    """One thing wrong: the keys that differ, and the figure that tells."""

    name: str
    title: str
    settings: Callable[[Mapping[str, Any]], Mapping[str, Any]]
    key: str = "kl"
    figure: str = "KL"


HEALTHY = "healthy"
CAUSES = (
    Cause("rate", "rate too high", lambda grpo: {"learning_rate": 100 * grpo["learning_rate"]}),
    Cause(
        "alike",
        "completions all alike",
        lambda grpo: {"top_k": 1},
        "zero_variance",
        "flat groups",
    ),
    Cause(
        "cut",
        "completions cut off",
        lambda grpo: {"max_completion_length": grpo["max_completion_length"] // 4},
        "completions/clipped_ratio",
        "share cut off",
    ),
    Cause(
        "few",
        "one pair a step",
        lambda grpo: {"num_generations": 2, "per_device_train_batch_size": 2},
        "zero_variance",
        "flat groups",
    ),
    Cause("held", "beta too high", lambda grpo: {"beta": 10.0}),
)


def rows_of(folder: Path) -> tuple[Rows, Rows]:
    """What a run logged of its steps, and what the guard said."""
    logged = [row for row in read_jsonl(folder / HISTORY) if row.get("reward") is not None]
    warnings = folder / WARNINGS
    return logged, read_jsonl(warnings) if warnings.exists() else []


def curve(rows: Rows, key: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values, shape (rows that have the figure,)."""
    known = [(row["step"], row[key]) for row in rows if row.get(key) is not None]
    return np.array([step for step, _ in known]), np.array([value for _, value in known])


def ends(rows: Rows, key: str) -> str:
    """The mean over the first ten steps and over the last ten (fewer where there are few)."""
    values = curve(rows, key)[1]
    count = min(10, max(1, len(values) // 2))
    return f"{values[:count].mean():.3g}, {values[-count:].mean():.3g}" if len(values) else "none"


def table(runs: Mapping[str, tuple[Rows, Rows]], grpo: Mapping[str, Any]) -> str:
    """Markdown: a row a run, its figures over the first and the last ten steps."""
    lines = [
        "| | set to | reward | what tells | here | in the healthy run | what the guard said |",
        "|-|-|-|-|-|-|-|",
        f"| {HEALTHY} | | {ends(runs[HEALTHY][0], 'reward')} | | | | {said(runs[HEALTHY][1])} |",
    ]
    for cause in CAUSES:
        rows, warnings = runs[cause.name]
        changed = ", ".join(f"`{k}` {v:g}" for k, v in cause.settings(grpo).items())
        healthy = ends(runs[HEALTHY][0], cause.key)
        lines.append(
            f"| {cause.title} | {changed} | {ends(rows, 'reward')} | {cause.figure} | "
            f"{ends(rows, cause.key)} | {healthy} | {said(warnings)} |"
        )
    return "\n".join(lines)


def said(warnings: Rows) -> str:
    """The faults that were printed."""
    faults = [line for line in warnings if line["follows"] is None]
    named = [f"`{line['kind']}` since {line['since']}, at {line['step']}" for line in faults]
    return "; ".join(named) or "silent"


def draw(runs: Mapping[str, tuple[Rows, Rows]], path: Path) -> None:
    """A column a cause: the reward above, the figure that tells below, the healthy run in grey."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, len(CAUSES), figsize=(2.6 * len(CAUSES), 4.6), sharex=True)
    for column, cause in zip(axes.T, CAUSES, strict=True):
        for axis, key, name in zip(
            column, ("reward", cause.key), ("reward", cause.figure), strict=True
        ):
            for run, colour in ((HEALTHY, "0.6"), (cause.name, "tab:red")):
                steps, values = curve(runs[run][0], key)
                if len(steps):
                    axis.plot(steps, values, color=colour, alpha=0.25, linewidth=0.8)
                    axis.plot(steps, smooth(values), color=colour, linewidth=1.8, label=run)
            axis.set_title(name, fontsize=8, loc="left", pad=3)
            axis.tick_params(labelsize=7)
            axis.spines[["top", "right"]].set_visible(False)
        for line in runs[cause.name][1]:
            if line["follows"] is None:
                for axis in column:
                    axis.axvline(line["step"], color="black", linestyle="--", linewidth=0.9)
        column[0].annotate(
            cause.title, (0.5, 1.2), xycoords="axes fraction", ha="center", fontweight="bold"
        )
        column[1].set_xlabel("step", fontsize=8)
        column[1].xaxis.get_major_locator().set_params(integer=True)
        low, high = column[1].get_ylim()
        column[1].set_ylim(min(0.0, low), high)
    top = max(axis.get_ylim()[1] for axis in axes[0])
    for axis in axes[0]:
        axis.set_ylim(0, top)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def run_all(
    policy: Path, config: Path, steps: int, out: Path, overrides: Sequence[str]
) -> tuple[dict[str, tuple[Rows, Rows]], Mapping[str, Any]]:
    """Train all of them, each to its end; what each logged, and the settings of the healthy one."""
    bench = out / "benchmark"
    if not bench.exists():
        synthesize(bench, train=300, test=10, seed=0)
    folder = out / file_sha256(policy / "model.safetensors")[:8]
    given = [
        f"policy.path={policy}",
        f"data.benchmark={bench / 'train'}",
        "preflight.skip=true",  # it would refuse some of them
        f"grpo.max_steps={steps}",
        f"grpo.save_steps={max(10, steps // 2)}",
        *overrides,
    ]
    grpo = load_config(config, given).grpo
    runs = {}
    for name, changed in [(HEALTHY, {}), *((c.name, c.settings(grpo)) for c in CAUSES)]:
        print(f"== {name}", flush=True)
        wrong = [f"grpo.{key}={value}" for key, value in changed.items()]
        run_dir = folder / name
        train(load_config(config, [*given, *wrong, f"run_dir={run_dir}"]))
        runs[name] = rows_of(run_dir)
    return runs, grpo


def main(
    overrides: Annotated[list[str] | None, typer.Argument(help="section.key=value")] = None,
    policy: Annotated[Path, typer.Option(help="Where all start.")] = Path(
        "runs/quickstart/synthetic/sft/policy"
    ),
    config: Annotated[Path, typer.Option(help="The healthy run.")] = Path(
        "configs/grpo/synthetic_cpu.yaml"
    ),
    steps: Annotated[int, typer.Option(help="Of each run.")] = 50,
    out: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("runs/learning_failures"),
    plot: Annotated[Path | None, typer.Option(help="PNG of the curves.")] = None,
) -> None:
    """Run the six, draw their curves and print the table."""
    keep_freed_memory()
    try:
        runs, grpo = run_all(policy, config, steps, out, overrides or ())
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    if plot is not None:
        draw(runs, plot)
    seconds = sum(row["step_time"] for rows, _ in runs.values() for row in rows)
    print(f"{seconds / 60:.1f} minutes of steps")
    print(table(runs, grpo))


if __name__ == "__main__":
    typer.run(main)
