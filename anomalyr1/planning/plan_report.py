"""A plan as tables for a terminal, and as one JSON object."""

from __future__ import annotations

import dataclasses
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from anomalyr1.planning.cards import CARDS, GIB, USABLE, fit
from anomalyr1.planning.memory import PARTS, PassPlan
from anomalyr1.planning.plan import VERB, Plan
from anomalyr1.planning.tokens import MEAN_COMPLETION

_STYLES = {"yes": "green", "tight": "yellow", "no": "red"}
_MIXED = {"no": "", "bf16": ", autocast to bfloat16", "fp16": ", autocast to float16"}


def print_plan(plan: Plan, console: Console) -> None:
    """Print the tables, the verdict last."""
    console.print(_heading(plan), highlight=False)
    console.print(_parameters(plan))
    console.print(_tokens(plan), highlight=False)
    console.print(_passes(plan))
    console.print(_phases(plan))
    console.print(_verdict(plan), highlight=False)
    if plan.advice.single:
        console.print(_advice(plan))
        for line in _together(plan):
            console.print(line, highlight=False)


def plan_record(plan: Plan) -> dict[str, Any]:
    """The plan as plain data; sizes in bytes."""
    found = plan.estimate
    return {
        "verb": VERB,
        "policy": plan.config.policy.path,
        "architecture": plan.architecture.source,
        "sharding": dataclasses.asdict(plan.sharding),
        "settings": dataclasses.asdict(plan.settings),
        "parameters": {part: dataclasses.asdict(c) for part, c in found.parameters.items()},
        "prompt": dataclasses.asdict(plan.prompt),
        "completion": {"longest": plan.settings.completion, "mean_guess": plan.mean_completion},
        "sharing": {
            "on": plan.shared,
            "chunk_completions": plan.chunk,
            "limit_ratio_longest": plan.ratio_longest,
            "limit_ratio_mean": plan.ratio_mean,
        },
        "passes": [_pass_record(form) for form in found.passes],
        "phases": found.phases,
        "dtype": found.dtype,
        "host_bytes": found.states.host,
        "peak": {"phase": found.peak_phase, "bytes": found.peak},
        "fits": {f"{card}": fit(found.peak, card, plan.settings) for card in CARDS},
        "advice": [dataclasses.asdict(saving) for saving in plan.advice.single],
        "advice_together": [dataclasses.asdict(step) for step in plan.advice.together],
    }


def gib(size: int) -> str:
    """Bytes as a number of GiB.

    >>> gib(25 * 2**30), gib(5 * 2**28), gib(2**20), gib(0)
    ('25.0', '1.25', '<0.01', '-')
    """
    if size == 0:
        return "-"
    number = size / GIB
    if number < 0.005:
        return "<0.01"
    return f"{number:.1f}" if number >= 10 else f"{number:.2f}"


def _heading(plan: Plan) -> Text:
    settings, sharding = plan.settings, plan.sharding
    device = "CPU process" if settings.cpu else "GPU"
    count = f"{sharding.processes} {device}{'s' if sharding.processes > 1 else ''}"
    if settings.cpu and sharding.processes > 1:
        count = f"{sharding.processes} CPU processes"
    cast = "" if sharding.splits_weights or sharding.deepspeed else _MIXED[settings.mixed]
    scheme = "" if sharding.kind == "single" else f", {sharding.kind}"
    passes = settings.rollout_rows // settings.rows
    splits = sharding.deepspeed or sharding.kind == "FSDP"
    wider = not splits and plan.estimate.dtype != "float32"
    learning = "; those that learn in float32" if wider else ""
    chunks = f", {plan.chunk} tokens of completions at once" if plan.chunk else ""
    return Text(
        f"anomalyr1 {VERB}, {plan.config.policy.path}: {plan.architecture.source}\n"
        f"{count}{scheme} ({sharding.source}), weights in {plan.estimate.dtype}{cast}{learning}\n"
        f"{settings.rows} completions a pass, {settings.generations} a prompt, "
        f"{settings.rollout_rows} a rollout ({passes} pass{'es' if passes > 1 else ''}), "
        f"prefixes {'shared' if plan.shared else 'not shared'}{chunks}"
    )


def _parameters(plan: Plan) -> Table:
    table = Table("part", title="Parameters", title_justify="left")
    for name in ("all", "trained", "frozen"):
        table.add_column(name, justify="right")
    total = trained = 0
    for part, count in plan.estimate.parameters.items():
        total, trained = total + count.total, trained + count.trained
        if part == "head" and not count.total:
            table.add_row("head", "tied to the embedding", "", "")
        elif count.total:
            table.add_row(part, *_millions(count.total, count.trained))
    table.add_section()
    table.add_row("sum", *_millions(total, trained))
    return table


def _millions(total: int, trained: int) -> list[str]:
    numbers = (total, trained, total - trained)
    return [f"{number / 1e6:,.1f} M" if number else "-" for number in numbers]


def _tokens(plan: Plan) -> Text:
    prompt, completion = plan.prompt, plan.settings.completion
    limit = plan.config.prompt.max_prompt_tokens
    over = f"{prompt.over} over prompt.max_prompt_tokens={limit}"
    if not prompt.rows:
        over = f"{'over' if prompt.over else 'within'} prompt.max_prompt_tokens={limit}"
    size, limit_of = plan.settings.generations, "G(P+C) / (P+GC)"
    by_image = ""
    if prompt.of_image:
        limit_of = "QG(P+C) / (I + Q(P-I+GC))"
        by_image = (
            f"Images once: {prompt.of_image} tokens I for {prompt.questions:.1f} questions Q\n"
        )
    return Text(
        f"Prompt: {prompt.source}.\n"
        f"  longest {prompt.longest}, mean {prompt.mean:.0f} tokens; {over}\n"
        f"Completion: at most {completion}; mean guessed as {plan.mean_completion:.0f} "
        f"({MEAN_COMPLETION:.0%} of that)\n"
        f"{by_image}Sharing saves at most {limit_of} = {plan.ratio_longest:.2f} x the tokens at "
        f"full length, {plan.ratio_mean:.2f} x at the means (G={size})"
    )


def _passes(plan: Plan) -> Table:
    title = "The pass with gradients at full length, GiB (> is this run)"
    table = Table("prefix", title=title, title_justify="left")
    for name in ("checkpointing", "tokens", "kept", "mask", "working", "peak"):
        table.add_column(name, justify="right")
    table.add_column("at")
    own = plan.estimate.passes[0]
    for form in sorted(plan.estimate.passes, key=lambda f: (not f.shared, not f.checkpointing)):
        worst, shape = form.worst, form.shape
        sizes = (worst.activations, worst.mask, worst.working + worst.gradients, worst.total)
        table.add_row(
            ("> " if form is own else "  ") + ("shared" if form.shared else "stock"),
            "yes" if form.checkpointing else "no",
            f"{shape.sequences} x {shape.length}",
            *(gib(size) for size in sizes),
            worst.where,
            style="bold" if form is own else None,
        )
    return table


def _phases(plan: Plan) -> Table:
    found = plan.estimate
    where = "process" if plan.settings.cpu else "GPU"
    table = Table("part", title=f"Memory of one {where}, GiB", title_justify="left")
    for phase in found.phases:
        table.add_column(phase, justify="right")
    for part in PARTS:
        sizes = [phase.get(part, 0) for phase in found.phases.values()]
        if any(sizes):
            table.add_row(part, *(gib(size) for size in sizes))
    table.add_section()
    sums = {name: sum(phase.values()) for name, phase in found.phases.items()}
    cells = [
        Text(gib(size), style="bold" if name == found.peak_phase else "")
        for name, size in sums.items()
    ]
    table.add_row("sum", *cells)
    return table


def _verdict(plan: Plan) -> Text:
    found, settings = plan.estimate, plan.settings
    text = Text(f"Peak: {gib(found.peak)} GiB in the {found.peak_phase}")
    if settings.cpu:
        return text.append(
            " of each process, beside Python and its libraries.\n"
            "Pages that are never written, such as most of the head's tile under a small "
            "vocabulary, take less."
        )
    text.append(". Fits ")
    for card in CARDS:
        answer = fit(found.peak, card, settings)
        text.append(f"{card} GB: ").append(answer, style=_STYLES[answer]).append(", ")
    text.append(f"where tight is more than {USABLE:.0%} of the card.")
    if found.states.host:
        text.append(f"\nOffloaded to the host's memory: {gib(found.states.host)} GiB a process.")
    if settings.vllm_share:
        text.append(f"\nvLLM beside it keeps {settings.vllm_share:.0%} of each card for itself.")
    return text


def _advice(plan: Plan) -> Table:
    table = Table(title="What would save memory, each alone, GiB", title_justify="left")
    table.add_column("change", width=50)
    for name in ("saves", "peak", "fits"):
        table.add_column(name, justify="right", no_wrap=True)
    for saving in plan.advice.single:
        cards = [card for card in CARDS if fit(saving.peak, card, plan.settings) == "yes"]
        fits = f"{cards[0]} GB" if cards else "none"
        table.add_row(saving.what, gib(saving.saved), gib(saving.peak), fits)
    return table


def _together(plan: Plan) -> list[Text]:
    """For each card that is too small, the first changes that together make the run fit."""
    lines = []
    for card in CARDS:
        if fit(plan.estimate.peak, card, plan.settings) == "yes":
            continue
        steps = plan.advice.together
        fitting = [i for i, s in enumerate(steps) if fit(s.peak, card, plan.settings) == "yes"]
        if fitting:
            used = steps[: fitting[0] + 1]
            changes = " and ".join(step.what for step in used)
            lines.append(Text(f"To fit {card} GB: {changes} ({gib(used[-1].peak)} GiB)"))
        else:
            lines.append(Text(f"To fit {card} GB: these changes are not enough"))
    return lines


def _pass_record(form: PassPlan) -> dict[str, Any]:
    return {
        "shared": form.shared,
        "checkpointing": form.checkpointing,
        "shape": dataclasses.asdict(form.shape),
        "worst": {**dataclasses.asdict(form.worst), "total": form.worst.total},
    }
