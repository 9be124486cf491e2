"""`anomalyr1 data`: build, synth, split, check, stats, export."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sized
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from anomalyr1.cli.exporting import export
from anomalyr1.errors import InputError

app = typer.Typer(help="Build, split, check and describe benchmarks.", no_args_is_help=True)

app.command()(export)

T = TypeVar("T")
Out = Annotated[Path, typer.Option("--out", help="Folder to write; empty or new.")]
Seed = Annotated[int, typer.Option("--seed", help="Decides every choice.")]
Bench = Annotated[Path, typer.Argument(help="Folder with mmad.json, or the file.", metavar="BENCH")]


@app.command()
def build(
    source: Annotated[str, typer.Argument(help="Kind of data set; see data/README.md.")],
    root: Annotated[Path | None, typer.Argument(help="Where it lies (elpv: optional).")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder to write.")] = None,
    seed: Seed = 0,
    references: Annotated[int, typer.Option(help="References listed an image, at most.")] = 4,
    reserve: Annotated[
        float, typer.Option(help="Normals set aside as references where there are none.")
    ] = 0.2,
    connectivity: Annotated[int, typer.Option(help="Of mask pixels: 4 or 8.")] = 8,
    min_area: Annotated[int, typer.Option(help="Smallest component of a mask, in pixels.")] = 9,
    merge_distance: Annotated[int, typer.Option(help="Join components so near, in pixels.")] = 5,
    knowledge: Annotated[
        Path | None,
        typer.Option(help="MMAD's domain_knowledge.json: adds Defect Description questions."),
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", help="Setting of the source, KEY=VALUE, e.g. defect_min=0.66."),
    ] = None,
) -> None:
    """Turn a data set into a benchmark: images, masks, boxes, questions, references.

    Sources: auto (says what it sees, and reads it), mvtec, visa, loco, goodsad, btad, real-iad,
    deeppcb, magnetic-tile, elpv, coco, voc, yolo, labelme, label-studio, cvat, rle-csv, manifest,
    folder, and the rows of vlm-r1 and ms-swift.

    Example: anomalyr1 data build deeppcb DeepPCB --out benchmarks/deeppcb
    """
    from anomalyr1.data.images import BoxOptions
    from anomalyr1.data.knowledge import load_knowledge
    from anomalyr1.data.making.builder import BuildOptions, build_benchmark
    from anomalyr1.data.making.descriptions import description_facts
    from anomalyr1.data.making.row_benchmark import ROW_FORMS, build_from_rows, row_file
    from anomalyr1.data.making.sources.catalogue import read_source
    from anomalyr1.data.making.sources.recognise import choose_source, told

    if out is None:
        raise InputError("expected --out FOLDER, found none; say where the benchmark goes")
    if source == "auto":
        if root is None:
            raise InputError("expected the data set's folder as ROOT, found none; give it")
        source, seen = choose_source(root)
        print(f"{root}: read as {source}: {seen}")
    if source in ROW_FORMS:
        if root is None:
            raise InputError(f"expected the file of rows as ROOT of {source}, found none; give it")
        file = row_file(root, source)
        settings = _settings(setting or [])
        _report(build_from_rows(file, out, source, settings, progress=_progress("reading images")))
        return
    found = read_source(source, root, _settings(setting or []), seed=seed)
    for line in told(found):
        print(line)
    options = BuildOptions(
        seed=seed,
        boxes=BoxOptions(connectivity, min_area, merge_distance),
        references=references,
        reserve=reserve,
    )
    extra: dict[str, Any] = {}
    if knowledge is not None:
        extra["facts"] = description_facts(load_knowledge(knowledge), seed)
    file = build_benchmark(found, out, options, progress=_progress("reading images"), **extra)
    _report(file)


@app.command()
def synth(
    out: Out,
    train: Annotated[int, typer.Option(help="Images of the training side.")] = 400,
    test: Annotated[int, typer.Option(help="Images of the test side.")] = 100,
    seed: Seed = 0,
    size: Annotated[int, typer.Option(help="Side of the square images, in pixels.")] = 224,
) -> None:
    """Draw a benchmark of industrial-looking images with defects, masks and references.

    Example: anomalyr1 data synth --out benchmarks/synthetic --train 400 --test 100 --seed 0
    """
    from anomalyr1.data.making.synthetic import synthesize

    files = synthesize(
        out, train=train, test=test, seed=seed, size=size, progress=_progress("drawing images")
    )
    for file in files:
        _report(file)


@app.command()
def split(
    bench: Bench,
    out: Out,
    k_shot: Annotated[
        int | None, typer.Option(help="Training images for each (category, defect).")
    ] = None,
    holdout: Annotated[str, typer.Option(help="image, category or dataset.")] = "image",
    test_fraction: Annotated[
        float, typer.Option(help="Share of test where k-shot does not decide.")
    ] = 0.3,
    seed: Seed = 0,
    near_bits: Annotated[
        int | None, typer.Option(help="Near-duplicates within so many of 256 bits stay together.")
    ] = None,
    like: Annotated[
        Path | None, typer.Option(help="manifest.json of a split to make again, and to compare.")
    ] = None,
) -> None:
    """Divide a benchmark into train and test that share no image and no reference.

    Example: anomalyr1 data split benchmarks/deeppcb --out benchmarks/deeppcb-1shot --k-shot 1
    """
    from anomalyr1.data.fingerprint import NEAR_BITS, file_sha256
    from anomalyr1.data.making.division import SplitOptions
    from anomalyr1.data.making.splits import read_split_options, split_benchmark
    from anomalyr1.data.mmad import load_benchmark

    benchmark = load_benchmark(bench)
    wanted: dict[str, str] | None = None
    if like is not None:
        options, wanted, parent = read_split_options(like)
        if parent != benchmark.sha256:
            raise InputError(
                f"expected the benchmark that {like} was made from (sha256 {parent[:12]}...), "
                f"found {benchmark.path} with {benchmark.sha256[:12]}..."
            )
    else:
        bits = NEAR_BITS if near_bits is None else near_bits
        options = SplitOptions(holdout, k_shot, test_fraction, seed, bits)  # type: ignore[arg-type]
    files = split_benchmark(benchmark, out, options, _progress("hashing images"))
    for side, file in files.items():
        _report(file)
        if wanted is not None and file_sha256(file) != wanted.get(side):
            raise InputError(
                f"expected {side} with sha256 {wanted.get(side)}, found {file_sha256(file)}; "
                "the split was made by another version"
            )
    if wanted is not None:
        print("both sides equal the given split, bit for bit")


@app.command()
def check(
    bench: Bench,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
    near_bits: Annotated[
        int | None, typer.Option(help="Report near-duplicates within so many of 256 bits.")
    ] = None,
) -> None:
    """Open every file of a benchmark and list all that is wrong; exit status 1 when something is.

    Example: anomalyr1 data check benchmarks/deeppcb
    """
    import json
    from dataclasses import asdict

    from anomalyr1.data.checking.check import check_benchmark
    from anomalyr1.data.fingerprint import NEAR_BITS

    bits = NEAR_BITS if near_bits is None else near_bits
    findings = check_benchmark(bench, near_bits=bits, progress=_progress("opening files"))
    errors = sum(finding.level == "error" for finding in findings)
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2, ensure_ascii=False))
    elif findings:
        _print_findings([(f.level, f.kind, f.image, f.message) for f in findings])
    if not as_json:
        print(f"{bench}: {errors} errors, {len(findings) - errors} warnings")
    if errors:
        raise typer.Exit(1)


@app.command()
def stats(
    bench: Bench,
    policy: Annotated[
        str | None, typer.Option(help="Policy whose processor counts prompt tokens.")
    ] = None,
    references: Annotated[int, typer.Option(help="Reference images in a prompt.")] = 1,
    max_prompt_tokens: Annotated[int, typer.Option(help="Budget of a prompt.")] = 4096,
    max_pixels: Annotated[int, typer.Option(help="Images are scaled down to this.")] = 480000,
    out: Annotated[Path | None, typer.Option(help="PNG to draw.")] = None,
) -> None:
    """Describe a benchmark: questions, letters, boxes and, with a policy, prompt lengths.

    Example: anomalyr1 data stats benchmarks/synthetic/train --policy data/tiny-policy
    """
    from anomalyr1.data.checking.stats import describe, draw, tables
    from anomalyr1.data.mmad import load_benchmark

    benchmark = load_benchmark(bench)
    tokens = None
    if policy is not None:
        tokens = _prompt_tokens(bench, policy, references, max_pixels)
    described = describe(benchmark, tokens, max_prompt_tokens)
    for title, columns, rows in tables(described):
        _print_table(title, columns, rows)
    if out is not None:
        draw(described, out)
        print(f"drawn: {out}")


def _settings(pairs: list[str]) -> dict[str, str]:
    values = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise InputError(f"expected --set KEY=VALUE, found {pair!r}")
        values[key] = value
    return values


def _report(file: Path) -> None:
    from anomalyr1.data.mmad import load_benchmark

    counts = (load_benchmark(file).manifest or {}).get("counts", {})
    names = ("images", "normal", "abnormal", "boxes", "questions", "references")
    print(f"{file}: " + ", ".join(f"{counts.get(name, 0)} {name}" for name in names))


def _progress(label: str) -> Callable[[Iterable[T]], Iterable[T]]:
    """A bar on a terminal; elsewhere a plain line every tenth of the work."""

    def wrap(items: Iterable[T]) -> Iterable[T]:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import track

            yield from track(items, description=label, console=Console(stderr=True))
        else:
            yield from _plain_progress(label, items)

    return wrap


def _plain_progress(label: str, items: Iterable[T]) -> Iterator[T]:
    total = len(items) if isinstance(items, Sized) else 0
    step = max(1, -(-total // 10))
    for number, item in enumerate(items, start=1):
        yield item
        if number % step == 0 and total > 50:
            print(f"{label}: {number}/{total}", file=sys.stderr, flush=True)


def _print_findings(rows: list[tuple[str, str, str, str]]) -> None:
    _print_table("findings", ("level", "kind", "image", "message"), rows)


def _print_table(title: str, columns: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(*columns, title=title, title_justify="left", box=box.SIMPLE)
    for row in rows:
        table.add_row(*(escape(str(cell)) for cell in row))
    Console(width=None if sys.stdout.isatty() else 200).print(table)


def _prompt_tokens(bench: Path, policy: str, references: int, max_pixels: int) -> dict[str, int]:
    from anomalyr1.config import PolicyConfig, PromptConfig
    from anomalyr1.policy.load import load_processor
    from anomalyr1.rows import build_rows, open_benchmark

    prompt = PromptConfig(references=references, max_prompt_tokens=sys.maxsize)
    _, samples = open_benchmark(str(bench), "BENCH", prompt)
    processor = load_processor(PolicyConfig(path=policy, max_pixels=max_pixels))
    return {row.sample_id: row.tokens for row in build_rows(samples, prompt, processor)}
