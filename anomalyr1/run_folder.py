"""The names of a run folder's files, each said once."""

from __future__ import annotations

from collections.abc import Sequence

README = "README.md"  # what is here, and how to go on

# Where a run comes from.
CONFIG = "config.yaml"
PROVENANCE = "provenance.json"

LOCK = "run.lock"  # while a run is at work

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
PREDICTIONS_SETTINGS = "predictions.settings.json"
MASKS = "masks"  # a file of lines a segmenter, and a folder of pictures under its name
MASK_PICTURES = "png"
MASK_SHEETS = "sheets"
MASK_SHARDS = "shards"
COCO_GOLD = "coco_gold.json"
COCO_RESULTS = "coco_results.json"
METRICS = "metrics.json"
REPORT = "report.html"

LEADERBOARD = "leaderboard.html"  # of many runs, beside none of them

# What an inspection of many files leaves.
INSPECTIONS = "inspections.jsonl"
INSPECTIONS_ORIGIN = "inspections.identity.json"
OVERLAYS = "overlays"

BEFORE = "before"  # a run of its own: the evaluation of the policy that the run started from

# What an ablation leaves: in the folder of each of its runs, and in its own.
RESULT = "result.json"
PROCESS = "process.json"  # while the run is at work
TABLE = "table.md"
TABLE_DATA = "table.csv"
TABLE_LATEX = "table.tex"
BARS = "bars.svg"
CURVES = "curves.svg"
SCALE = "scale.svg"


_ALWAYS = {
    PROVENANCE: "each command run here: seed, data, commit, versions",
    LOCK: "who is at work here; gone when nobody is",
}
_TRAINING = {
    f"{CHECKPOINTS}/": "where training goes on from when it was stopped",
    f"{POLICY}/": "the trained policy, its processor and the fingerprints of its images",
    HISTORY: "every logged figure, a line a step",
}
_LEFT = {
    "sft": _TRAINING,
    "train": {
        **_TRAINING,
        f"{COMPLETIONS}/": "sampled completions with their rewards, every so many steps",
        f"{HEARTBEAT}/": "what each process is doing, since when and on which rows",
        WARNINGS: "since when it does not learn, and why; not there where nothing was noticed",
    },
    "eval": {
        PREDICTIONS: "the policy's answers, a line a question",
        PREDICTIONS_ORIGIN: "what they were made with; others are not mixed in",
        PREDICTIONS_SETTINGS: "every setting that can change a number of them",
        f"{MASKS}/": "masks made of the boxes, a file a segmenter; pictures of `anomalyr1 mask`",
        METRICS: "scores with their intervals",
        REPORT: "all of it as one page",
    },
}


def config_of(verb: str, first_verb: str) -> str:
    """The config that a verb was run with; that of the first verb is the folder's own.

    >>> config_of("train", "train"), config_of("eval", "train")
    ('config.yaml', 'eval.yaml')
    """
    return CONFIG if verb == first_verb else f"{verb}.yaml"


def contents(verbs: Sequence[str]) -> dict[str, str]:
    """What verbs leave in a run folder: the name of each file or folder, and what it is.

    >>> list(contents(["eval"]))[:2]
    ['config.yaml', 'provenance.json']
    """
    configs = {config_of(verb, verbs[0]): f"all settings of `{verb}`" for verb in verbs}
    left = {name: meaning for verb in verbs for name, meaning in _LEFT.get(verb, {}).items()}
    return {**configs, **_ALWAYS, **left}


def contents_of_ablation() -> dict[str, str]:
    """The same for the folder of an ablation."""
    return {
        TABLE: "the results, to read",
        TABLE_DATA: "the results, for programs",
        TABLE_LATEX: "the results, for a paper",
        BARS: "differences to the baseline, with their intervals",
        CURVES: "what was logged over the steps, a line a variant",
        SCALE: "the figures over the one number that varies; not there where more does",
        LOCK: _ALWAYS[LOCK],
        "VARIANT-seedN-HASH/": f"a run folder a variant and seed; `{RESULT}` in it is what came of "
        f"it, `{log_of('train')}` and `{log_of('eval')}` are what its verbs printed, and while it "
        f"is at work there is `{PROCESS}`",
    }


def log_of(stage: str) -> str:
    """What a stage of an ablation's run printed.

    >>> log_of("train")
    'train.log'
    """
    return f"{stage}.log"


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


def masks_shard(segmenter: str, number: int, of: int) -> str:
    """The folder of one of several runs that share a segmenter's work, relative to the same.

    >>> masks_shard("box", 1, 4)
    'box/shards/1-of-4'
    """
    return f"{segmenter}/{MASK_SHARDS}/{number}-of-{of}"
