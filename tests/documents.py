"""The documents of the repository, taken apart: blocks, commands, names; and a check of commands.

A document's ```python and ```bash blocks are run in their order (tests/launched/document.py). A
block that opens with the comment `# NAME.py` (or .yaml) is a file of that name. A ```text block is
for what needs a GPU, weights or data that a test has not: its commands are only checked.
"""

from __future__ import annotations

import importlib
import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from commands import REPOSITORY

DOCUMENTS = [
    *(REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "data/README.md")),
    *sorted((REPOSITORY / "docs").glob("*.md")),
]
LANGUAGES = ("python", "bash", "yaml", "text", "json")
# Commands of other tools that a text block may hold, and that nothing here knows the options of.
FOREIGN = (
    *("cd", "git", "hf", "pip", "pre-commit", "pytest", "source", "transformers", "unzip", "vllm"),
)

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.S | re.M)
_FILE = re.compile(r"# ([\w./-]+\.(?:py|yaml))\b")
_PLACEHOLDER = re.compile(r"[A-Z][A-Z_]*|\.\.\.|path/to/.*")


@dataclass(frozen=True)
class Block:
    """A fenced block; `line` is that of its first line in the document."""

    language: str
    text: str
    line: int

    @property
    def file(self) -> str | None:
        """The name of the file that the block is, if it says so."""
        named = _FILE.match(self.text)
        return named[1] if named and self.language in ("python", "yaml") else None

    @property
    def commands(self) -> list[str]:
        """One string a command: comments gone, continued lines joined."""
        joined = re.sub(r"\\\n\s*", "", self.text)
        lines = (re.split(r"(?:^|\s\s)#", line)[0].strip() for line in joined.splitlines())
        return [line for line in lines if line]


def blocks(document: Path) -> list[Block]:
    """The fenced blocks of a document, in order."""
    text = document.read_text(encoding="utf-8")
    return [
        Block(found[1], found[2], text.count("\n", 0, found.start()) + 2)
        for found in _FENCE.finditer(text)
    ]


def inline(document: Path) -> list[str]:
    """What stands between single backticks, outside of blocks; a line break in it is a space."""
    text = _FENCE.sub("", document.read_text(encoding="utf-8"))
    return [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", text)]


def inline_commands(document: Path) -> Iterator[str]:
    """The commands among them."""
    starts = ("anomalyr1 ", "python scripts/", "accelerate launch ", "sbatch scripts/", "./scripts")
    yield from (code for code in inline(document) if code.startswith(starts))


def check(command: str) -> None:
    """Fail unless verb, options, config and overrides of a command exist; nothing is run."""
    words = shlex.split(command)
    if words[:3] == ["python", "-m", "anomalyr1"]:
        words = words[2:]
    if words[0] == "accelerate":
        from accelerate.commands.launch import launch_command_parser

        launch = launch_command_parser().parse_args(words[2:])
        if launch.config_file is not None:
            assert (REPOSITORY / launch.config_file).is_file(), launch.config_file
        assert launch.module and launch.training_script == "anomalyr1", command
        check_verb(launch.training_script_args)
    elif words[0] == "anomalyr1":
        check_verb(words[1:])
    elif words[0] == "python" and words[1].startswith("scripts/"):
        check_script(REPOSITORY / words[1], words[2:])
    elif words[0] in ("sbatch", "bash") or words[0].startswith("./"):
        script = REPOSITORY / (words[0] if words[0].startswith("./") else words[1])
        assert script.stat().st_mode & 0o111, script
    else:
        assert words[0] in FOREIGN, f"a command of nobody: {command}"


def check_verb(words: list[str]) -> None:
    """Parse the words after `anomalyr1` as its command line would, and load the config they name.

    Words in capitals stand for something of the reader's.
    """
    import typer

    from anomalyr1.cli import app

    command, names = typer.main.get_command(app), list(words)
    if set(names) <= {word for option in command.params for word in option.opts}:
        return
    while names and hasattr(command, "commands"):
        assert names[0] in command.commands, f"no such verb: anomalyr1 {' '.join(words)}"
        command = command.commands[names.pop(0)]
    if not names or names == ["--help"]:
        return  # the verb is spoken of, not called
    given = command.make_context(command.name, names).params
    config = given.get("config")
    if config is None or _PLACEHOLDER.fullmatch(str(config)):
        return
    check_config(command.name, Path(config), tuple(given.get("overrides") or ()))


def check_config(verb: str, path: Path, overrides: tuple[str, ...]) -> None:
    """Load a config of this repository with overrides, as the verb does."""
    from trl import GRPOConfig, SFTConfig

    from anomalyr1.ablation.grid import plan
    from anomalyr1.config import load_config
    from anomalyr1.training.arguments import trl_keys

    if verb == "ablate":
        plan(REPOSITORY / path, overrides)
        return
    keys = {"grpo": trl_keys(GRPOConfig), "sft": trl_keys(SFTConfig)}
    load_config(REPOSITORY / path, overrides, verbatim=keys)


def check_script(path: Path, words: list[str]) -> None:
    """Parse the options of a script in scripts/."""
    import typer

    assert path.is_file(), path
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    module = importlib.import_module(path.stem)
    app = typer.Typer()
    app.command()(module.main)
    typer.main.get_command(app).make_context(path.name, list(words))
