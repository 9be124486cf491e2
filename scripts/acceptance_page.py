"""The page of gpu_acceptance.py: what was seen, in tables."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def page(record: dict[str, Any]) -> str:
    """Markdown of a record."""
    machine = record["machine"]
    gpus = ", ".join(f"{gpu['name']} ({gpu['memory_mib']} MiB)" for gpu in machine["gpus"])
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    lines = [
        "# GPU acceptance",
        "",
        f"{record['started']}, commit {record['commit']}, {record['seconds']} s.",
        f"GPU: {gpus or machine.get('reason') or 'none'}. {versions}.",
        "",
        *table(
            ("part", "status", "seconds", "what", "reason"),
            (
                (p["name"], p["status"], p.get("seconds", ""), p["about"], p["reason"])
                for p in record["parts"]
            ),
        ),
    ]
    for part in record["parts"]:
        results = part.get("results", [])
        for kinds, draw in SECTIONS.items():
            chosen = [line for line in results if line["what"] in kinds]
            lines += draw(chosen) if chosen else []
        if part["status"] in ("failed", "stopped") or (part.get("said") and not results):
            lines += ["", f"## {part['name']}, the end of what it said", ""]
            lines += ["```text", *part["said"], "```"]
    return "\n".join(lines) + "\n"


def table(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> list[str]:
    """Rows of Markdown."""
    head = list(head)
    body = [head, ["-"] * len(head), *rows]
    return ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in body]


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    return "" if value is None else str(value).replace("|", "/").replace("\n", " ")


def _checks(lines: list[dict[str, Any]]) -> list[str]:
    """Equality of the sides."""
    rows = []
    for line in lines:
        verdict = _why(line) or ("yes" if line["agrees"] else "NO")
        logps, gradients = (_far(line.get(key)) for key in ("logps", "gradients"))
        rows.append((line["what"], line["side"], verdict, logps, gradients))
    title = "## Are the numbers those of stock?"
    note = (
        "exactness: two layers, float32, difference from stock. bfloat16: whole depth, distance "
        "from float32."
    )
    return ["", title, "", note, "", *table(("", "side", "agrees", "log-p", "gradients"), rows)]


def _far(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{side} {far:.2e}" for side, far in value.items())
    return "" if value is None else f"{value:.1e}"


def _passes(lines: list[dict[str, Any]]) -> list[str]:
    """Log-probability passes and updates."""
    return _sides("## Log-probabilities", lines, "forward_backward", ("forward",))


def _updates(lines: list[dict[str, Any]]) -> list[str]:
    return _sides("## Log-probabilities, backward and AdamW", lines, "update")


def _rollouts(lines: list[dict[str, Any]]) -> list[str]:
    return _sides("## Rollouts (greedy)", lines, "rollout")


def _steps(lines: list[dict[str, Any]]) -> list[str]:
    """Seconds of a step and its parts; peak memory of each phase, measured and planned."""
    times, memory = [], []
    stock = {line["learns"]: line for line in lines if line["variant"] == "stock"}
    for line in lines:
        case = (line["learns"], line["variant"])
        if "seconds" not in line:
            times.append((*case, _why(line), "", "", ""))
            continue
        seconds = line["seconds"]
        whole = stock.get(line["learns"], {}).get("seconds", {}).get("step")
        faster = whole / seconds["step"] if whole else None
        times.append(
            (*case, *(seconds[name] for name in ("step", "rollout", "forward_backward")), faster)
        )
        for phase, seen in line["peak_mib"].items():
            planned = line["planned_mib"][phase]
            memory.append((*case, phase, seen, planned, planned / seen if seen else None))
    head = ("learns", "side", "step", "rollout", "forward_backward", "times stock")
    title = f"## Whole steps of the trainer: {_load({'prompts': 1, **lines[0]})}"
    drawn = ["", title, "", "Seconds.", "", *table(head, times)]
    if not memory:
        return drawn
    columns = ("learns", "side", "phase", "measured MiB", "planned MiB", "planned / measured")
    note = "## Peak memory against `anomalyr1 plan` (weights and states included)"
    return [*drawn, "", note, "", *table(columns, memory)]


def _commands(lines: list[dict[str, Any]]) -> list[str]:
    """Commands of a user: whether each did what it has to, and how long it took."""
    rows = []
    for line in lines:
        verdict = _why(line) or ("yes" if line["agrees"] else "NO")
        apart = line.get("apart_by_step")
        rows.append(
            (line["what"], verdict, line.get("seconds"), None if apart is None else max(apart))
        )
    note = (
        "A killed training that goes on has to give the figures of an unbroken one to the last "
        "digit (`grpo.full_determinism`)."
    )
    columns = ("command", "as it should be", "seconds", "apart from the unbroken one")
    return ["", "## Commands", "", note, "", *table(columns, rows)]


def _sides(
    title: str, lines: list[dict[str, Any]], main: str, others: tuple[str, ...] = ()
) -> list[str]:
    """A row a side; how many times faster than stock, share of stock's memory."""
    rows = []
    for line in lines:
        sides = {k: v for k, v in line.get("sides", {"": line}).items() if isinstance(v, dict)}
        stock = sides.get("stock", {})
        for side, found in sides.items():
            case = (line.get("learns", ""), _load(line), side)
            if "seconds" not in found:
                rows.append((*case, _why(found)))
                continue
            seconds, peak = found["seconds"], found["peak_mib"]
            faster = stock["seconds"][main] / seconds[main] if "seconds" in stock else None
            share = peak / stock["peak_mib"] if stock.get("peak_mib") else None
            before = [seconds[name] for name in others]
            rows.append(
                (*case, *before, seconds[main], faster, peak, share, found.get("allocated_mib"))
            )
    names = [*others, main]
    head = ("learns", "load", "side", *names, "times stock", "peak MiB", "of stock's", "in all")
    full = [(*row, *[""] * (len(head) - len(row))) for row in rows]
    return ["", title, "", *table(head, full)]


def _load(line: dict[str, Any]) -> str:
    text = (
        f"{line['prompts']} prompt(s) of {line['images']} x {line['side']} px, "
        f"G {line['generations']}, C {line['completion']}"
    )
    return f"{text}, checkpointing" if line.get("checkpointing") else text


def _why(line: dict[str, Any]) -> str:
    return next((f"{key}: {line[key]}" for key in ("skipped", "failed") if key in line), "")


def _machine(lines: list[dict[str, Any]]) -> list[str]:
    flex = lines[0]["flex_attention"]
    policy = f"Policy {lines[0]['policy']}, {lines[0]['parameters']:,} parameters"
    return ["", f"{policy}; FlexAttention: {flex}."]


SECTIONS = {
    ("machine",): _machine,
    ("exactness", "bfloat16"): _checks,
    ("pass",): _passes,
    ("update",): _updates,
    ("rollout",): _rollouts,
    ("step",): _steps,
    ("random weights", "sft", "train", "train, killed and resumed", "eval"): _commands,
}
