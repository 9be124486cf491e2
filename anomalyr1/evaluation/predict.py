"""The policy answers a benchmark: predictions.jsonl, one line a question, resumed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from anomalyr1.config import Config, PolicyConfig
from anomalyr1.data.mmad import Benchmark
from anomalyr1.errors import InputError
from anomalyr1.evaluation.backends.choose import backend_identity, open_backend
from anomalyr1.evaluation.cells import CELLS, cells_of
from anomalyr1.evaluation.evaluation_settings import evaluation_card
from anomalyr1.evaluation.kept_settings import consistency_settings, keep_settings
from anomalyr1.evaluation.prediction_lines import prediction_to_row, resume_predictions
from anomalyr1.evaluation.processes import (
    gather,
    join_processes,
    own_file,
    own_share,
    parts_of,
)
from anomalyr1.evaluation.shard_folders import SHARD
from anomalyr1.evaluation.shards import Shard
from anomalyr1.exposure import refuse_seen, seen_images
from anomalyr1.policy.resizing import trained_pixels
from anomalyr1.policy.weights import weights_digest
from anomalyr1.provenance import write_provenance
from anomalyr1.refusals import asked_questions
from anomalyr1.rows import benchmark_record, build_rows, open_benchmark
from anomalyr1.run_folder import PREDICTIONS, PREDICTIONS_ORIGIN
from anomalyr1.run_readme import write_readme
from anomalyr1.schema import Sample
from anomalyr1.storage import append_jsonl, read_json, write_json
from anomalyr1.terminal import Bar, notes


def predict_benchmark(config: Config, console: Console | None = None) -> Path:
    """Ask every question of `eval.benchmark` and write `<run_dir>/predictions.jsonl`.

    A run that was cut off goes on where it stopped: whole lines are kept, a torn last line is asked
    again. Lines that came from another policy, prompt or benchmark are never mixed in. Where
    several processes were launched each answers a share; the file is whole for all at the end.

    Returns:
        The predictions file.

    Raises:
        InputError: the benchmark or the policy cannot be used, or the folder holds predictions
            that were made differently.
    """
    state = join_processes()
    console = console or notes(quiet=not state.is_main_process)
    run_dir = Path(config.run_dir)
    path = run_dir / PREDICTIONS
    benchmark, samples = open_benchmark(
        config.eval.benchmark,
        "eval.benchmark",
        config.prompt,
        root=config.eval.root,
        limit=config.eval.limit,
        by_strata=config.eval.stratified,
        shuffle=config.eval.shuffle_options,
        seed=config.seed,
    )
    if config.eval.shard is not None:
        # Of the images that are asked about, so that `gather` can put them in the order of a whole.
        asked = [sample for sample, _ in asked_questions(samples, config.eval.question_types)]
        samples = list(Shard.parse(config.eval.shard).share(asked))
    seen = seen_images(config.policy.path, benchmark)
    refuse_seen(
        config.policy.path,
        {image: match for image, match in seen.items() if image in {s.image for s in samples}},
        config.eval.allow_seen,
        "evaluate on a held-out split, or set eval.allow_seen=true to get seen and unseen columns",
    )
    identity = _identity(config, benchmark, samples)
    if state.is_main_process:
        _refuse_other_origin(run_dir, identity, config)
        gather(path, told=console.print)
    state.wait_for_everyone()
    _tell_of_other_sizes(config.policy, console)
    backend = open_backend(config, state.device, console)
    rows = build_rows(
        samples,
        config.prompt,
        backend.processor,
        backend.family,
        question_types=config.eval.question_types,
        blind=config.eval.blind,
    )
    done = {(row["image"], row["question_index"]) for row in resume_predictions(path)}
    own_rows = own_share([row for row in rows if (row.sample.image, row.index) not in done], state)
    if state.is_main_process:
        write_json(run_dir / PREDICTIONS_ORIGIN, identity)
        card = evaluation_card(config, backend, benchmark.sha256, rows)
        keep_settings(path, card, goes_on=bool(done))
        runs = write_provenance(run_dir, "eval", config, [benchmark_record(benchmark)])
        write_readme(run_dir, runs, config)
    state.wait_for_everyone()
    if done:
        console.print(f"{len(done)} of {len(rows)} questions were already answered")
    whose, before, share = "", len(done), len(rows)
    if state.num_processes > 1:
        whose, before, share = f" of the first of {state.num_processes} shares", 0, len(own_rows)
    started = time.monotonic()
    answered = 0
    with Bar("answering", share, before, console=console, plain=False) as bar:
        for predictions in backend.predictions(own_rows):
            append_jsonl(
                own_file(path, state),
                [prediction_to_row(replace(p, seen=p.image in seen)) for p in predictions],
            )
            last, answered = answered, answered + len(predictions)
            bar.to(before + answered)
            if answered == len(own_rows) or answered // 200 != last // 200:
                rate = answered / (time.monotonic() - started)
                console.print(
                    f"answered {before + answered}/{share} questions{whose}, {rate:.1f} a second"
                )
    state.wait_for_everyone()
    if state.is_main_process:
        gather(path, [(row.sample.image, row.index) for row in rows])
    state.wait_for_everyone()
    return path


def _tell_of_other_sizes(policy: PolicyConfig, console: Console) -> None:
    """Say where images are shown at another size than the policy was trained with."""
    trained, here = trained_pixels(Path(policy.path)), (policy.min_pixels, policy.max_pixels)
    if trained is not None and trained != here:
        console.print(
            f"images of {here[0]} to {here[1]} pixels, where the policy was trained with "
            f"{trained[0]} to {trained[1]} (policy.min_pixels, policy.max_pixels)"
        )


def _refuse_other_origin(run_dir: Path, identity: dict[str, Any], config: Config) -> None:
    """Predictions that the folder holds must be made from the same as those to come."""
    record = run_dir / PREDICTIONS_ORIGIN
    path = run_dir / PREDICTIONS
    if not path.exists() and not parts_of(path):
        return
    if config.resume == "never":
        raise InputError(
            f"expected no predictions in {run_dir} (resume: never), found some; "
            "choose another run_dir or set resume=auto"
        )
    before = read_json(record, "the origin of the predictions") if record.exists() else None
    if before != identity:
        changed = [key for key in identity if (before or {}).get(key) != identity[key]]
        raise InputError(
            f"expected the predictions in {run_dir} to come from the same {', '.join(changed)}, "
            "found others; choose another run_dir or delete its predictions.jsonl"
        )


def _identity(config: Config, benchmark: Benchmark, samples: Sequence[Sample]) -> dict[str, Any]:
    """What predictions depend on; of a part of a benchmark also what the whole has."""
    types = config.eval.question_types
    part: dict[str, Any] = {}
    if config.eval.limit is not None or config.eval.shard is not None:
        part[CELLS] = cells_of(asked_questions(benchmark.samples, types))
    if config.eval.shard is not None:
        shard = Shard.parse(config.eval.shard)
        asked = sum(len(questions) for _, questions in asked_questions(samples, types))
        part[SHARD] = {"number": shard.number, "of": shard.of, "questions": asked}
    policy = asdict(config.policy)
    temperature = config.eval.temperature
    asked_again = consistency_settings(asdict(config.eval.consistency))
    return {
        "benchmark": benchmark.sha256,
        "prompt": asdict(config.prompt),
        "policy": {key: policy[key] for key in ("path", "revision", "min_pixels", "max_pixels")},
        "weights": weights_digest(Path(config.policy.path)),
        "options": {
            "seed": None if config.eval.limit is None and not temperature else config.seed,
            "limit": config.eval.limit,
            "question_types": config.eval.question_types,
            "shuffle_options": config.eval.shuffle_options,
            "max_new_tokens": config.eval.max_new_tokens,
            # Named where it is on alone, so that folders from before it can be gone on with.
            **{name: True for name in ("likelihood", "blind") if getattr(config.eval, name)},
            **backend_identity(config.eval.backend),
            **({"stratified": True} if config.eval.limit and config.eval.stratified else {}),
            **({"temperature": temperature, "votes": config.eval.votes} if temperature else {}),
            **({"consistency": asked_again} if asked_again else {}),
        },
        **part,
    }
