"""Run the blocks of a document in their order, in one process and in the working directory.

python tests/launched/document.py README.md

Blocks of Python share one namespace. `anomalyr1 ...` and `python scripts/...` run in this process
(as their entry points do), so that torch is imported once a document; launches run beside it.
"""

from __future__ import annotations

import os
import runpy
import shlex
import subprocess
import sys
import time
from pathlib import Path

from commands import accelerate
from documents import Block, blocks, check


def main(document: Path) -> None:
    """Run everything; the first failure ends it, with the line it stands in."""
    sys.path.insert(0, str(Path.cwd()))  # as `python -m` has it
    namespace: dict[str, object] = {"__name__": "__main__"}
    for block in blocks(document):
        started = time.monotonic()
        if block.file is not None:
            Path(block.file).parent.mkdir(parents=True, exist_ok=True)
            Path(block.file).write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            code = "\n" * (block.line - 1) + block.text  # tracebacks name lines of the document
            exec(compile(code, str(document), "exec"), namespace)
        elif block.language == "bash":
            run_commands(document, block)
        seconds = time.monotonic() - started
        print(f"{document.name}:{block.line} {block.language} {seconds:.1f} s", flush=True)


def run_commands(document: Path, block: Block) -> None:
    """The commands of a bash block; the shell scripts in it are run by tests of their own."""
    for command in block.commands:
        words, started = shlex.split(command), time.process_time()
        print(f"$ {command}", flush=True)
        if words[:3] == ["python", "-m", "anomalyr1"]:
            words = words[2:]
        if words[0] == "anomalyr1":
            run_here(words, command, document, block)
        elif words[0] == "python" and words[1].startswith("scripts/"):
            run_here(words[1:], command, document, block)
        elif words[0] == "accelerate":
            subprocess.run(accelerate(*words[2:]), check=True)
        else:
            check(command)
        print(f"{time.process_time() - started:.1f} s of CPU time", flush=True)


def run_here(words: list[str], command: str, document: Path, block: Block) -> None:
    """One command in this process, its own arguments and environment given back after it."""
    from anomalyr1.cli import main as verb

    arguments, environment, path = sys.argv, dict(os.environ), list(sys.path)
    sys.argv = words
    try:
        if words[0] == "anomalyr1":
            verb()
        else:
            sys.path.insert(0, str(Path(words[0]).parent))
            runpy.run_path(words[0], run_name="__main__")
    except SystemExit as end:
        if end.code:
            raise RuntimeError(
                f"{document}:{block.line} {command}: exit status {end.code}"
            ) from None
    finally:
        sys.argv, sys.path[:] = arguments, path
        os.environ.clear()
        os.environ.update(environment)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
