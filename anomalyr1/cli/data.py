"""`anomalyr1 data`: build, boxes, synth, split, check, stats, export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from anomalyr1.cli import data_check
from anomalyr1.cli.boxing import boxes
from anomalyr1.cli.data_options import Bench, Connectivity, MergeDistance, MinArea, Out, Root
from anomalyr1.cli.exporting import export
from anomalyr1.cli.idle_options import refuse_idle
from anomalyr1.cli.showing import read_settings, show_counts
from anomalyr1.errors import InputError
from anomalyr1.terminal import progress

app = typer.Typer(help="Build, split, check and describe benchmarks.", no_args_is_help=True)

app.command()(export)
app.command()(boxes)

Seed = Annotated[int, typer.Option("--seed", help="Decides every choice.")]
Near = Annotated[
    int | None, typer.Option("--near-bits", help="Near-duplicates differ in so many of 256 bits.")
]


@app.command()
def build(
    context: typer.Context,
    source: Annotated[str, typer.Argument(help="Kind of data set; see data/README.md.")],
    root: Annotated[Path | None, typer.Argument(help="Where it lies (elpv: optional).")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder to write.")] = None,
    seed: Seed = 0,
    references: Annotated[int, typer.Option(help="References listed an image, at most.")] = 4,
    reserve: Annotated[
        float, typer.Option(help="Normals set aside as references where there are none.")
    ] = 0.2,
    connectivity: Connectivity = 8,
    min_area: MinArea = 9,
    merge_distance: MergeDistance = 5,
    tile: Annotated[
        int | None, typer.Option(help="Cut images into pieces of so many pixels a side.")
    ] = None,
    differences: Annotated[
        bool,
        typer.Option(help="Paint onto each image what its own aligned reference does not show."),
    ] = False,
    gradient: Annotated[
        bool,
        typer.Option(
            help="Colour images by position, as `data synth` does; the tiny policy reads it."
        ),
    ] = False,
    knowledge: Annotated[
        Path | None,
        typer.Option(help="MMAD's domain_knowledge.json: adds Defect Description questions."),
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Setting, KEY=VALUE: the source's own (defect_min=0.66), or normal=LABEL,... "
            "rename=OLD:NEW,... category=NAME defect=TYPE group=REGEX rescale=true.",
        ),
    ] = None,
    near_bits: Near = None,
    against: Annotated[
        Path | None,
        typer.Option(help="Folder of `data export`: says what annotators changed in its boxes."),
    ] = None,
) -> None:
    """Turn a data set into a benchmark: images, masks, boxes, questions, references.

    Sources: auto (says what it sees, and reads it), mvtec, visa, loco, goodsad, btad, real-iad,
    deeppcb, magnetic-tile, elpv, coco, voc, yolo, labelme, label-studio, cvat, rle-csv, manifest,
    folder, and the rows of vlm-r1 and ms-swift.

    Labels: --set normal=OK,fine says which labels mean in order (the usual words are known),
    rename=sc:scratch,pa:patch (or a YAML file) gives others, category=NAME names the product,
    defect=TYPE the type where a label names none. --set group=REGEX (or FILE.csv:COLUMN) names
    images that belong together; rescale=true follows a declared size of the same shape.

    Example: anomalyr1 data build deeppcb DeepPCB --out benchmarks/deeppcb
    """
    from anomalyr1.data.fingerprint import NEAR_BITS
    from anomalyr1.data.images import BoxOptions
    from anomalyr1.data.knowledge import load_knowledge
    from anomalyr1.data.making.builder import BuildOptions, build_benchmark
    from anomalyr1.data.making.corrections import (
        CHANGES,
        read_proposed,
        restore_names,
        told_changes,
        write_changes,
    )
    from anomalyr1.data.making.descriptions import description_facts, told_undescribed
    from anomalyr1.data.making.row_benchmark import ROW_FORMS, build_from_rows, row_file
    from anomalyr1.data.making.sources.catalogue import read_source
    from anomalyr1.data.making.sources.recognise import choose_source, told
    from anomalyr1.output_folder import require_new

    if out is None:
        raise InputError("expected --out FOLDER, found none; say where the benchmark goes")
    require_new(out)
    settings = read_settings(setting or [])
    if source == "auto":
        if root is None:
            raise InputError("expected the data set's folder as ROOT, found none; give it")
        source, seen = choose_source(root)
        print(f"{root}: read as {source}: {seen}")
    if source in ROW_FORMS:
        refuse_idle(context, f"with rows of {source}", but=("source", "root", "out", "setting"))
        if root is None:
            raise InputError(f"expected the file of rows as ROOT of {source}, found none; give it")
        bar = progress("reading images")
        show_counts(build_from_rows(row_file(root, source), out, source, settings, progress=bar))
        return
    proposed = None if against is None else read_proposed(against)
    found = read_source(source, root, settings, seed=seed)
    if proposed is not None:
        found = restore_names(found, proposed)
    for line in told(found):
        print(line)
    options = BuildOptions(
        seed=seed,
        boxes=BoxOptions(connectivity, min_area, merge_distance),
        references=references,
        reserve=reserve,
        near_bits=NEAR_BITS if near_bits is None else near_bits,
        tile=tile,
        differences=differences,
        gradient=gradient,
    )
    extra: dict[str, Any] = {}
    if knowledge is not None:
        known = load_knowledge(knowledge)
        extra["facts"] = description_facts(known, seed)
        for line in told_undescribed(found.items, known):
            print(line)
    file = build_benchmark(found, out, options, progress=progress("reading images"), **extra)
    show_counts(file)
    if proposed is not None:
        print(told_changes(write_changes(file, proposed), file.with_name(CHANGES)))


@app.command()
def synth(
    out: Out,
    train: Annotated[int, typer.Option(help="Images of the training side.")] = 400,
    test: Annotated[int, typer.Option(help="Images of the test side.")] = 100,
    seed: Seed = 0,
    size: Annotated[int, typer.Option(help="Side of the square images, in pixels.")] = 224,
    similar: Annotated[
        bool, typer.Option(help="Draw each view without its defect too, as a reference.")
    ] = False,
    bgr: Annotated[
        bool, typer.Option(help="Red and blue change places, as by a camera read wrongly.")
    ] = False,
) -> None:
    """Draw a benchmark of industrial-looking images with defects, masks and references.

    Example: anomalyr1 data synth --out benchmarks/synthetic --train 400 --test 100 --seed 0
    """
    from anomalyr1.data.making.synthetic import synthesize

    files = synthesize(
        out,
        train=train,
        test=test,
        seed=seed,
        size=size,
        similar=similar,
        bgr=bgr,
        progress=progress("drawing images"),
    )
    for file in files:
        show_counts(file)


@app.command()
def split(
    context: typer.Context,
    bench: Bench,
    out: Out,
    k_shot: Annotated[
        int | None, typer.Option(help="Training images for each (category, defect).")
    ] = None,
    holdout: Annotated[
        str, typer.Option(help="image, category or dataset; recorded keeps the records' sides.")
    ] = "image",
    test_fraction: Annotated[
        float, typer.Option(help="Share of test where k-shot does not decide.")
    ] = 0.3,
    seed: Seed = 0,
    near_bits: Near = None,
    root: Root = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", help="group=REGEX or group=FILE.csv:COLUMN: images kept together."),
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

    if like is not None:
        refuse_idle(context, "beside --like", but=("bench", "out", "root", "like"))
    elif holdout == "recorded":
        refuse_idle(context, "with --holdout recorded", only=("test_fraction",))
    benchmark = load_benchmark(bench, root=root)
    group = read_settings(setting or [], ("group",)).get("group")
    wanted: dict[str, str] | None = None
    if like is not None:
        options, wanted, parent = read_split_options(like)
        if parent != benchmark.sha256:
            raise InputError(
                f"expected the benchmark that {like} was made from (sha256 {parent[:12]}...), "
                f"found {benchmark.path} with {benchmark.sha256[:12]}...; give that benchmark"
            )
    else:
        bits = NEAR_BITS if near_bits is None else near_bits
        options = SplitOptions(
            holdout,  # type: ignore[arg-type]
            k_shot,
            test_fraction,
            seed,
            bits,
            group=group,
        )
    files = split_benchmark(benchmark, out, options, progress("hashing images"))
    dropped = (load_benchmark(files["train"]).manifest or {}).get("dropped", ())
    print(f"{len(dropped)} images are on neither side")
    for side, file in files.items():
        show_counts(file, notes=side == "train")
        if wanted is not None and file_sha256(file) != wanted.get(side):
            raise InputError(
                f"expected {side} with sha256 {wanted.get(side)}, found {file_sha256(file)}; "
                "split with the version that the manifest names"
            )
    if wanted is not None:
        print("both sides equal the given split, bit for bit")


data_check.register(app)
