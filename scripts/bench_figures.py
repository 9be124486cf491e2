"""The table and the plot of bench_grpo.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


def draw(results: list[dict[str, Any]], path: Path) -> None:
    """Ratios against the limit that the token count sets."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 5))
    limits = [result["token_limit"] for result in results]
    top = max(limits) * 1.1
    axes.plot([1, top], [1, top], color="0.7", linestyle="--", label="token-count limit")
    for name, marker in (("backward", "o"), ("rollout", "s"), ("step", "^")):
        ratios = [result[f"{name}_ratio"] for result in results]
        axes.scatter(limits, ratios, marker=marker, label=name)
    axes.set_xlabel("tokens of stock / tokens of shared prefix, G(P+C)/(P+GC)")
    axes.set_ylabel("seconds of stock / seconds of shared prefix")
    axes.set_ylim(0)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=150)


def show(results: list[dict[str, Any]], console: Console) -> None:
    """One row a case."""
    table = Table(title="stock TRL / shared prefix")
    for name in ("images", "P", "C", "G", "rollout", "backward", "step", "peak memory", "limit"):
        table.add_column(name, justify="right")
    for r in results:
        memory = "{shared}/{stock} MiB".format(**r["backward_peak_mib"])
        table.add_row(
            f"{r['images']} x {r['side']}",
            *(str(r[key]) for key in ("prompt_tokens", "completion", "generations")),
            *(f"{r[f'{name}_ratio']:.1f}x" for name in ("rollout", "backward", "step")),
            f"{r['backward_peak_ratio']:.2f} ({memory})",
            f"{r['token_limit']:.1f}x",
        )
    console.print(table)
