"""Where a number comes from: command, config, versions, seed, data hash and commit."""

from __future__ import annotations

import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

from anomalyr1 import run_folder
from anomalyr1.config import Config, dump_config
from anomalyr1.errors import InputError
from anomalyr1.storage import read_json, write_json, write_text

PACKAGES = (
    "anomalyr1",
    "torch",
    "torchvision",
    "transformers",
    "trl",
    "peft",
    "accelerate",
    "deepspeed",
    "datasets",
    "qwen-vl-utils",
    "sam2",
    "pycocotools",
    "numpy",
    "scipy",
    "opencv-python-headless",
)


def write_provenance(
    run_dir: Path,
    verb: str,
    config: Config,
    data: Sequence[Mapping[str, Any]] = (),
    trained: bool | None = None,
    **more: Any,
) -> list[dict[str, Any]]:
    """Write the config and `provenance.json` into the run folder.

    `config.yaml` is the config the folder was begun with; a later verb on the same folder (an
    evaluation of the policy trained there) writes `<verb>.yaml` beside it. Every call is added to
    the list of commands; nothing that was recorded before is lost.

    Args:
        run_dir: the run folder.
        verb: what is being run: train, sft, eval.
        config: the resolved config.
        data: benchmark path, root, sha256 and manifest; a list where several are mixed.
        trained: of a verb that trains, whether this start has anything to train. Where it has not,
            the config on record stays: it is the one that the policy came of.
        more: what else this verb keeps of a run.

    Returns:
        All runs that the folder remembers, this one at the end.
    """
    path = run_dir / run_folder.PROVENANCE
    record = read_provenance(path) if path.exists() else {"runs": []}
    record["runs"].append(
        {
            "verb": verb,
            "command": command_line(),
            "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "seed": config.seed,
            "data": dict(data[0]) if len(data) == 1 else [dict(entry) for entry in data],
            "commit": commit(),
            "python": platform.python_version(),
            "platform": platform.platform(),
            "versions": versions(),
            **({} if trained is None else {"trained": trained}),
            **more,
        }
    )
    kept = run_dir / run_folder.config_of(verb, record["runs"][0]["verb"])
    if trained is not False or not kept.exists():
        write_text(kept, dump_config(config))
    write_json(path, record)
    return list(record["runs"])


def command_line(*more: str) -> str:
    """The command that was typed, and more words behind it."""
    return command_of([*sys.argv[1:], *more])


def command_of(words: Sequence[object]) -> str:
    """The words after `anomalyr1` as they are typed into a shell.

    >>> command_of(["score", "runs/a b/predictions.jsonl"])
    "anomalyr1 score 'runs/a b/predictions.jsonl'"
    """
    return shlex.join(["anomalyr1", *map(str, words)])


def read_provenance(path: Path) -> dict[str, Any]:
    """A run folder's record: `runs`, a list of what was run, each with its `verb`.

    Raises:
        InputError: the file is missing or is no such record.
    """
    record = read_json(path, "a provenance record")
    runs = record.get("runs") if isinstance(record, dict) else None
    if not isinstance(runs, list) or not all(
        isinstance(run, dict) and isinstance(run.get("verb"), str) for run in runs
    ):
        raise InputError(
            f"expected `runs`, each with its `verb`, in {path}, found another form; "
            "put the file back as it was written, or take it away"
        )
    return dict(record)


def versions() -> dict[str, str]:
    """Installed versions of the packages a result depends on."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def commit() -> str | None:
    """The commit of this code with `+changes` where the tree differs; None outside a checkout.

    Installed into an environment inside of somebody's repository, it is outside of its own.
    """
    here, name = Path(__file__).resolve().parent, Path(__file__).name

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(here), *arguments], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", name)  # fails where the repository does not have it
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return None
