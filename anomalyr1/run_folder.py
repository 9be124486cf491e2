"""The names of a run folder's files, each said once."""

from __future__ import annotations

# Where a run comes from.
CONFIG = "config.yaml"
PROVENANCE = "provenance.json"

# What a training leaves.
CHECKPOINTS = "checkpoints"
POLICY = "policy"
HISTORY = "log_history.jsonl"
WARNINGS = "warnings.jsonl"  # where it began not to learn; a run that learns has none
COMPLETIONS = "completions"
HEARTBEAT = "heartbeat"
TRAINING_DATA = "training_data.json"  # beside the weights, wherever they are copied
THRESHOLD = "threshold.json"  # likewise

# What an evaluation leaves.
PREDICTIONS = "predictions.jsonl"
PREDICTIONS_ORIGIN = "predictions.identity.json"
MASKS = "masks"
METRICS = "metrics.json"
REPORT = "report.html"

# What an inspection of many files leaves.
INSPECTIONS = "inspections.jsonl"
INSPECTIONS_ORIGIN = "inspections.identity.json"
OVERLAYS = "overlays"

BEFORE = "before"  # a run of its own: the evaluation of the policy that the run started from


def config_of(verb: str, first_verb: str) -> str:
    """The config that a verb was run with; that of the first verb is the folder's own.

    >>> config_of("train", "train"), config_of("eval", "train")
    ('config.yaml', 'eval.yaml')
    """
    return CONFIG if verb == first_verb else f"{verb}.yaml"


def completions_file(step: int) -> str:
    """The completions kept at a step, relative to the run folder.

    >>> completions_file(10)
    'completions/step-00010.jsonl'
    """
    return f"{COMPLETIONS}/step-{step:05d}.jsonl"


def masks_file(segmenter: str) -> str:
    """The masks of a segmenter, relative to the folder of masks.

    >>> masks_file("box")
    'box.jsonl'
    """
    return f"{segmenter}.jsonl"
