"""`anomalyr1 eval`: predictions -> masks -> metrics -> report, a file after every arrow."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from anomalyr1 import run_folder
from anomalyr1.config import Config, refuse_without_effect
from anomalyr1.data.mmad import load_benchmark
from anomalyr1.evaluation.box_jitter import Jitter
from anomalyr1.evaluation.cells import told_empty
from anomalyr1.evaluation.masks import make_masks
from anomalyr1.evaluation.predict import predict_benchmark
from anomalyr1.evaluation.processes import join_processes
from anomalyr1.evaluation.report.page import write_report
from anomalyr1.evaluation.score import score
from anomalyr1.evaluation.shard_folders import in_own_folder
from anomalyr1.evaluation.shards import Shard
from anomalyr1.metrics.bootstrap import RESAMPLES
from anomalyr1.run_lock import alone_in_its_folder
from anomalyr1.schema import GROUNDING
from anomalyr1.segmentation.segmenter import Segmenter, load_segmenter
from anomalyr1.terminal import notes, progress


def evaluate(config: Config, console: Console | None = None) -> Path:
    """Answer a benchmark, make masks, score, and write the report into the run folder.

    A shard (`eval.shard`) works in a folder of its own below it. Several processes answer together;
    the first does the rest.

    Returns:
        `<run_dir>/report.html`.

    Raises:
        InputError: anything in the config, the data or the checkpoints that cannot be used; the
            segmenter is tried before the first question is asked.
    """
    refuse_without_effect(config, "eval")
    return _evaluate(in_own_folder(config), console)


@alone_in_its_folder
def _evaluate(config: Config, console: Console | None) -> Path:
    state = join_processes()
    console = console or notes(quiet=not state.is_main_process)
    run_dir = Path(config.run_dir)
    page = run_dir / run_folder.REPORT
    segmenters = _segmenters(config) if state.is_main_process else []
    predictions = predict_benchmark(config, console)
    if state.num_processes > 1:
        state.destroy_process_group()  # nobody waits for the masks
    if not state.is_main_process:
        return page
    benchmark = load_benchmark(
        Path(config.eval.benchmark or ""),
        root=None if config.eval.root is None else Path(config.eval.root),
    )
    located = config.prompt.template == "inspect" or any(
        question.type == GROUNDING for sample in benchmark.samples for question in sample.questions
    )
    for segmenter in segmenters if located else ():
        bar = progress(f"masks: {segmenter.name}")
        masks = make_masks(
            predictions, benchmark.root, segmenter, jitter=_jitter(config), progress=bar
        )
        console.print(f"masks: {masks}")
    metrics = score(predictions, resamples=config.eval.bootstrap or RESAMPLES)
    if metrics.get("empty_cells"):
        console.print(told_empty(metrics["empty_cells"]))
    console.print(f"metrics: {run_dir / run_folder.METRICS}")
    if config.eval.shard is not None:
        count, whole = Shard.parse(config.eval.shard).of, run_dir.parent
        console.print(
            f"these are the scores of a part; when all {count} are done: "
            f"anomalyr1 gather {whole}/shard-*-of-{count} --out {whole}"
        )
    return write_report([run_dir], page, gallery=config.eval.gallery)


def _jitter(config: Config) -> Jitter | None:
    shares = config.segmentation.jitter
    return Jitter(tuple(shares), config.segmentation.jitter_draws) if shares else None


def _segmenters(config: Config) -> list[Segmenter]:
    """The filled box, always, as what the configured segmenter has to beat."""
    chosen = config.segmentation
    if chosen.kind == "none":
        return []
    segmenters = [load_segmenter("box")]
    if chosen.kind != "box":
        segmenters.append(load_segmenter(chosen.kind, chosen.checkpoint, chosen.model_config))
    return segmenters
