"""The part every training verb shares: record where it comes from, train, leave a policy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from accelerate import PartialState
from transformers import TrainingArguments

from anomalyr1.config import Config
from anomalyr1.data.mmad import Benchmark
from anomalyr1.data.shots import short_of
from anomalyr1.errors import InputError, listed
from anomalyr1.exposure import write_exposure
from anomalyr1.policy.weights import weights_digest
from anomalyr1.provenance import write_provenance
from anomalyr1.rewards.build import Term
from anomalyr1.rewards.own import hashes_of_own
from anomalyr1.rows import benchmark_record
from anomalyr1.run_folder import POLICY
from anomalyr1.run_readme import write_readme
from anomalyr1.schema import Sample
from anomalyr1.stopping import postponed
from anomalyr1.terminal import notes
from anomalyr1.training.augmented_rows import AugmentedRows
from anomalyr1.training.callbacks import quiet
from anomalyr1.training.checkpoint_files import RecordFiles
from anomalyr1.training.checkpoints import (
    copy_policy,
    ends_with,
    evaluations_in_vain,
    is_finished,
    published,
    stopped_early,
)
from anomalyr1.training.continuing import (
    feeding,
    refuse_lost_reference,
    refuse_other_data,
    refuse_other_rewards,
    refuse_other_start,
)
from anomalyr1.training.run_trainer import RunTrainer
from anomalyr1.training.stop_at_checkpoint import StopAtCheckpoint


def train_policy(
    trainer: RunTrainer,
    verb: str,
    config: Config,
    used: Sequence[tuple[Benchmark, Sequence[Sample]]],
    checkpoint: Path | None,
    augmented: AugmentedRows | None = None,
    terms: Sequence[Term] = (),
) -> Path:
    """Train to the end and save the policy with the record of what it has seen.

    Args:
        trainer: ready to train.
        verb: train or sft, for the provenance.
        config: the resolved config.
        used: what is trained on, as `training_rows` gave it.
        checkpoint: where to go on from; None for a start from step 0.
        augmented: the rows as they are shown; None shows them as they are.
        terms: of the reward.

    Returns:
        `<run_dir>/policy`.

    Raises:
        InputError: the benchmark, the policy to start from or a reward of the user's own has
            changed since the run was begun, its reference policy is lost, or the launch file and
            the config disagree.
    """
    run_dir = Path(config.run_dir)
    quiet(trainer)
    arguments = trainer.args
    data = [benchmark_record(benchmark, samples) for benchmark, samples in used]
    digest = weights_digest(Path(config.policy.path))
    own = hashes_of_own(terms)
    end = None if checkpoint is None else _end(checkpoint, config, arguments)
    if checkpoint:
        refuse_other_data(run_dir, verb, data)
        if end is None:
            refuse_other_start(run_dir, verb, config, digest)
            refuse_other_rewards(run_dir, verb, config, own)
            refuse_lost_reference(run_dir, verb, config)
    if PartialState().is_main_process:
        more: dict[str, Any] = {"feeding": feeding(arguments), "start": digest}
        if augmented is not None:
            more["augmented"] = augmented.counts()
        if own:
            more["own_rewards"] = own
        runs = write_provenance(run_dir, verb, config, data, trained=end is None, **more)
        write_readme(run_dir, runs, config)
        for line in () if augmented is None else augmented.told():
            print(line)
        _tell_few_shots(config, used)
    policy = run_dir / POLICY
    if checkpoint and PartialState().is_main_process:
        notes().print(f"{checkpoint}: {end or 'going on from it'}")
    with postponed("stopping once a checkpoint is written; again: at once") as wish:
        if end is None:
            start = None if checkpoint is None else str(checkpoint)
            trainer.add_callback(RecordFiles())
            trainer.add_callback(StopAtCheckpoint(wish))  # which may leave behind a checkpoint
            try:
                trainer.train(resume_from_checkpoint=start)
            except ValueError as error:
                raise _launch_mismatch(error, verb) or error from None
        with published(policy) as folder:
            if end is None:
                trainer.save_policy(str(folder))
            elif checkpoint:
                # Only the last lines of an earlier start are left to do.
                last = ends_with(checkpoint, best=arguments.load_best_model_at_end)
                if trainer.learns_wider:
                    trainer.save_policy(str(folder), str(last))
                elif PartialState().is_main_process:
                    copy_policy(last, folder)
            if PartialState().is_main_process:
                write_exposure(folder, config.policy.path, used, config.prompt)
    return policy


def _end(checkpoint: Path, config: Config, arguments: TrainingArguments) -> str | None:
    """Why a run does not go on from its last checkpoint; None where it does."""
    if is_finished(checkpoint, arguments.max_steps, arguments.num_train_epochs):
        return "nothing is left to train"
    patience, in_vain = config.early_stop_patience, evaluations_in_vain(checkpoint)
    return stopped_early(in_vain) if patience and in_vain >= patience else None


def _tell_few_shots(config: Config, used: Sequence[tuple[Benchmark, Sequence[Sample]]]) -> None:
    """Say so where a defect has fewer images than `data.shots` asks for."""
    shots = config.data.shots
    once = {sample.path: sample for _, samples in used for sample in samples}
    few = short_of(once.values(), shots) if shots else []
    if few:
        print(f"data.shots={shots}: {len(few)} defect(s) have fewer images: {listed(few)}")


def _launch_mismatch(error: ValueError, verb: str) -> InputError | None:
    """What transformers raises where DeepSpeed is told one thing and the trainer another."""
    lines = str(error).strip().splitlines()
    found = [line.removeprefix("- ds ") for line in lines if line.startswith("- ds ")]
    if not found:
        return None
    section = {"train": "grpo"}.get(verb, verb)
    return InputError(
        f"expected the launch file and the section {section} to agree, found {', '.join(found)} "
        f"(DeepSpeed's key, then that of {section}); take the key out of the launch file or set "
        "it to auto"
    )
