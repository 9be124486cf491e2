"""README.md of a run folder: what is in it, and the commands that go on from there."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from anomalyr1 import run_folder
from anomalyr1.config import Config
from anomalyr1.schema import GROUNDING
from anomalyr1.storage import write_text

Command = tuple[str, Sequence[object]]  # what it is for, and its words after `anomalyr1`

_HOW = (
    "Commands that go on from here, to be given where the run was started. What was begun under "
    "a launcher goes on under the same."
)


def write_readme(run_dir: Path, runs: Sequence[Mapping[str, Any]], config: Config) -> None:
    """Write the README of a run folder, whole.

    Args:
        run_dir: the run folder.
        runs: of its provenance; the last one begins now.
        config: of the last one.
    """
    verbs = list(dict.fromkeys(str(run["verb"]) for run in runs))
    begun, contents = str(runs[0]["command"]), run_folder.contents(verbs)
    write_page(run_dir, begun, contents, _commands(run_dir, verbs, config))


def write_page(
    folder: Path, begun: str, contents: Mapping[str, str], commands: Iterable[Command]
) -> None:
    """Write a README.

    Args:
        folder: that it is about and stands in.
        begun: the command that the folder was begun with.
        contents: name of a file -> what it is.
        commands: that go on from there.
    """
    rows = [f"| `{name}` | {what} |" for name, what in contents.items()]
    block = [f"# {what}\n{shlex.join(['anomalyr1', *map(str, w)])}" for what, w in commands]
    top = [f"# {folder.name}", "", f"Begun with `{begun}`.", "", "| file | what it is |", "|-|-|"]
    text = "\n".join([*top, *rows, "", _HOW, "", "```text", *block, "```", ""])
    write_text(folder / run_folder.README, text)


def _commands(run_dir: Path, verbs: Sequence[str], config: Config) -> Iterator[Command]:
    now, first = verbs[-1], run_dir / run_folder.CONFIG
    for verb in verbs:
        file = run_dir / run_folder.config_of(verb, verbs[0])
        # What the file says of a start from nothing does not hold for going on.
        words = ["resume=auto"] if config.resume == "never" else []
        yield f"goes on where {verb} was stopped", [verb, file, *words]
    trained = [verb for verb in verbs if verb in ("train", "sft")]
    if trained and "eval" not in verbs:
        place = f"policy.path={run_dir / run_folder.POLICY}"
        asked = f"eval.benchmark={config.eval.benchmark or 'BENCH'}"
        yield "evaluates the policy on a benchmark", ["eval", first, place, asked]
    if trained and config.policy.lora is not None:
        yield "merges the adapter into its base", ["merge", run_dir, "--out", run_dir / "merged"]
    kept = run_dir / run_folder.completions_file(1)
    if kept.exists() or (now == "train" and config.keep_completions_every):
        replay = ["reward", "replay", kept, "--config", first]
        yield "shows what completions of the first step earned", replay
    if "eval" in verbs:
        yield "scores again", ["score", run_dir / run_folder.PREDICTIONS]
        yield "writes the page again", ["report", run_dir]
        if config.prompt.template == "inspect" or GROUNDING in (config.eval.question_types or ()):
            yield "draws the masks of the predicted boxes", ["mask", run_dir]
            out = ["--out", f"{run_dir}-boxes", "--format", "label-studio"]
            yield "hands the predicted boxes to annotators", ["data", "export", run_dir, *out]
