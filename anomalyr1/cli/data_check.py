"""`anomalyr1 data check` and `data stats`: what is wrong with a benchmark, and what is in it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from anomalyr1.cli.data_options import Bench, Root
from anomalyr1.cli.idle_options import refuse_idle
from anomalyr1.cli.showing import print_table, read_settings
from anomalyr1.terminal import progress


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    app.command()(check)
    app.command()(stats)


def check(
    bench: Bench,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
    near_bits: Annotated[
        int | None, typer.Option(help="Report near-duplicates within so many of 256 bits.")
    ] = None,
    root: Root = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", help="group=REGEX or group=FILE.csv:COLUMN: images of one group."),
    ] = None,
) -> None:
    """Open every file of a benchmark and list all that is wrong; exit status 1 when something is.

    A folder of benchmarks, like that of `data split`, has its sides checked against each other.

    Example: anomalyr1 data check benchmarks/deeppcb
    """
    import json
    from dataclasses import asdict

    from anomalyr1.data.checking.check import check_benchmark
    from anomalyr1.data.fingerprint import NEAR_BITS

    bits = NEAR_BITS if near_bits is None else near_bits
    group = read_settings(setting or [], ("group",)).get("group")
    findings = check_benchmark(
        bench, root=root, near_bits=bits, group=group, progress=progress("opening files")
    )
    errors = sum(finding.level == "error" for finding in findings)
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2, ensure_ascii=False))
    elif findings:
        rows = [(f.level, f.kind, f.image, f.message) for f in findings]
        print_table("findings", ("level", "kind", "image", "message"), rows)
    if not as_json:
        print(f"{bench}: {errors} errors, {len(findings) - errors} warnings")
    if errors:
        raise typer.Exit(1)


def stats(
    context: typer.Context,
    bench: Bench,
    policy: Annotated[
        str | None, typer.Option(help="Policy whose processor counts prompt tokens.")
    ] = None,
    references: Annotated[int, typer.Option(help="Reference images in a prompt.")] = 1,
    max_prompt_tokens: Annotated[int, typer.Option(help="Budget of a prompt.")] = 4096,
    max_pixels: Annotated[int, typer.Option(help="Images are scaled down to this.")] = 480000,
    out: Annotated[Path | None, typer.Option(help="PNG to draw.")] = None,
    root: Root = None,
) -> None:
    """Describe a benchmark: questions, letters, boxes and, with a policy, prompt lengths.

    Example: anomalyr1 data stats benchmarks/synthetic/train --policy data/tiny-policy
    """
    from anomalyr1.data.checking.stats import describe, draw, tables
    from anomalyr1.data.mmad import load_benchmark

    if policy is None:
        refuse_idle(
            context, "without --policy", only=("references", "max_prompt_tokens", "max_pixels")
        )
    benchmark = load_benchmark(bench, root=root)
    tokens = None
    if policy is not None:
        tokens = _prompt_tokens(bench, root, policy, references, max_pixels)
    described = describe(benchmark, tokens, max_prompt_tokens)
    for title, columns, rows in tables(described):
        print_table(title, columns, rows)
    if out is not None:
        draw(described, out)
        print(f"drawn: {out}")


def _prompt_tokens(
    bench: Path, root: Path | None, policy: str, references: int, max_pixels: int
) -> dict[str, int]:
    from anomalyr1.config import PolicyConfig, PromptConfig
    from anomalyr1.policy.load import load_processor, read_family
    from anomalyr1.rows import build_rows, open_benchmark

    prompt = PromptConfig(references=references, max_prompt_tokens=sys.maxsize)
    _, samples = open_benchmark(
        str(bench), "BENCH", prompt, root=None if root is None else str(root)
    )
    section = PolicyConfig(path=policy, max_pixels=max_pixels)
    processor, family = load_processor(section), read_family(section)
    return {row.sample_id: row.tokens for row in build_rows(samples, prompt, processor, family)}
