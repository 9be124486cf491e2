"""The policy answers a benchmark: predictions.jsonl, one line a question, resumed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.console import Console

from anomalyr1.config import Config
from anomalyr1.data.images import open_image
from anomalyr1.data.mmad import Benchmark
from anomalyr1.errors import InputError
from anomalyr1.evaluation.evaluation_settings import evaluation_card
from anomalyr1.evaluation.kept_settings import keep_settings
from anomalyr1.evaluation.prediction_lines import prediction_to_row, resume_predictions
from anomalyr1.evaluation.processes import (
    gather,
    join_processes,
    own_file,
    own_share,
    parts_of,
)
from anomalyr1.exposure import refuse_seen, seen_images
from anomalyr1.parsing.letter_likelihood import anomaly_probability
from anomalyr1.policy.generate import Completion, complete_asked
from anomalyr1.policy.likelihood import letter_likelihoods
from anomalyr1.policy.load import Policy, load_policy, share_prefixes
from anomalyr1.policy.prepared import prepare_conversations
from anomalyr1.policy.weights import weights_digest
from anomalyr1.provenance import write_provenance
from anomalyr1.rows import Row, benchmark_record, build_rows, open_benchmark
from anomalyr1.run_folder import PREDICTIONS, PREDICTIONS_ORIGIN
from anomalyr1.run_readme import write_readme
from anomalyr1.schema import WEIGHS, Prediction
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
        shuffle=config.eval.shuffle_options,
        seed=config.seed,
    )
    seen = seen_images(config.policy.path, benchmark)
    refuse_seen(
        config.policy.path,
        {image: match for image, match in seen.items() if image in {s.image for s in samples}},
        config.eval.allow_seen,
    )
    identity = _identity(config, benchmark)
    if state.is_main_process:
        _refuse_other_origin(run_dir, identity, config)
        gather(path)
    state.wait_for_everyone()
    policy = load_policy(config.policy)
    policy.model.to(state.device)
    obstacle = share_prefixes(policy.model) if config.policy.shared_prefix else None
    if obstacle:
        console.print(f"shared prefix: off, {obstacle}; every question computes its images")
    rows = build_rows(
        samples,
        config.prompt,
        policy.processor,
        policy.family,
        question_types=config.eval.question_types,
        blind=config.eval.blind,
    )
    done = {(row["image"], row["question_index"]) for row in resume_predictions(path)}
    own_rows = own_share([row for row in rows if (row.sample.image, row.index) not in done], state)
    if state.is_main_process:
        write_json(run_dir / PREDICTIONS_ORIGIN, identity)
        card = evaluation_card(config, policy, benchmark.sha256, rows)
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
        for batch in batches(own_rows, config.eval.batch_size):
            predictions = answer(policy, batch, config)
            append_jsonl(
                own_file(path, state),
                [prediction_to_row(replace(p, seen=p.image in seen)) for p in predictions],
            )
            answered += len(batch)
            bar.to(before + answered)
            if answered == len(own_rows) or answered // 200 != (answered - len(batch)) // 200:
                rate = answered / (time.monotonic() - started)
                console.print(
                    f"answered {before + answered}/{share} questions{whose}, {rate:.1f} a second"
                )
    state.wait_for_everyone()
    if state.is_main_process:
        gather(path, [(row.sample.image, row.index) for row in rows])
    state.wait_for_everyone()
    return path


def answer(policy: Policy, rows: Sequence[Row], config: Config) -> Iterator[Prediction]:
    """Greedy completions of some rows, with all that scoring needs to know of each.

    With `eval.likelihood` the letters are weighed as well, behind the same computation of what the
    prompts share.
    """
    asked = prepare_conversations(
        policy,
        [row.messages for row in rows],
        [[open_image(Path(name)) for name in row.images] for row in rows],
        share=config.policy.shared_prefix,
    )
    completions = complete_asked(asked, max_new_tokens=config.eval.max_new_tokens)
    predictions = [prediction_of(*pair) for pair in zip(rows, completions, strict=True)]
    if not config.eval.likelihood:
        yield from predictions
        return
    questions = [row.question for row in rows]
    reasoned = letter_likelihoods(asked, questions, completions)
    at_once = letter_likelihoods(asked, questions)
    for prediction, question, *found in zip(predictions, questions, reasoned, at_once, strict=True):
        logps = {w: one.logps for w, one in zip(WEIGHS, found, strict=True) if one is not None}
        yield replace(
            prediction,
            score=anomaly_probability(found[0], question),
            letter_logps=logps or None,
        )


def prediction_of(row: Row, completion: Completion) -> Prediction:
    """A completion with all that it brings along, its row's gold boxes in original-image pixels."""
    sample, question = row.sample, row.question
    return Prediction(
        image=sample.image,
        question_index=row.index,
        question_type=question.type,
        options=question.options,
        answer=question.answer,
        completion=completion.text,
        template=row.template,
        frame=None if row.frame is None else row.frame.model_size,
        size=row.size,
        gold_boxes=sample.gold_boxes(question),
        mask=sample.mask,
        normal=sample.is_normal,
        question=question.text,
        references=row.references,
        completion_ids=completion.ids,
    )


def batches(rows: Sequence[Row], size: int) -> Iterator[list[Row]]:
    """Rows in order, at most `size` at once; the questions of an image stay together if they can.

    Together they share the tokens of their image, which is most of their prompts.
    """
    batch: list[Row] = []
    for _, questions in groupby(rows, key=lambda row: row.sample.image):
        asked = list(questions)
        if batch and len(batch) + len(asked) > size:
            yield batch
            batch = []
        batch += asked
        while len(batch) > size:
            yield batch[:size]
            batch = batch[size:]
    if batch:
        yield batch


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


def _identity(config: Config, benchmark: Benchmark) -> dict[str, Any]:
    policy = asdict(config.policy)
    return {
        "benchmark": benchmark.sha256,
        "prompt": asdict(config.prompt),
        "policy": {key: policy[key] for key in ("path", "revision", "min_pixels", "max_pixels")},
        "weights": weights_digest(Path(config.policy.path)),
        "options": {
            "seed": config.seed if config.eval.limit is not None else None,
            "limit": config.eval.limit,
            "question_types": config.eval.question_types,
            "shuffle_options": config.eval.shuffle_options,
            "max_new_tokens": config.eval.max_new_tokens,
            # Named where it is on alone, so that folders from before it can be gone on with.
            **{name: True for name in ("likelihood", "blind") if getattr(config.eval, name)},
        },
    }
