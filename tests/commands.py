"""Commands as the tests run them: in this process, in another, or in several at once."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path

import psutil
import pytest
from typer import Typer
from typer.testing import CliRunner, Result

from anomalyr1.cli import main

REPOSITORY = Path(__file__).resolve().parent.parent


def invoke(app: Typer, *arguments: object) -> Result:
    """A verb in this process; whatever it raises but its exit status is raised here."""
    return CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False)


def command(*arguments: object) -> list[str]:
    """The command line of a user."""
    return [sys.executable, "-m", "anomalyr1", *map(str, arguments)]


def accelerate(*arguments: object) -> list[str]:
    """`accelerate launch` with its own options, then a module or script with its."""
    return [str(Path(sys.executable).with_name("accelerate")), "launch", *map(str, arguments)]


def torchrun(*arguments: object, processes: int = 2) -> list[str]:
    """A module or script in several gloo processes."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    return [*launch, f"--nproc_per_node={processes}", *map(str, arguments)]


def completed(
    command: list[str], *, status: int | None = 0, timeout: int = 300, **environment: str | None
) -> subprocess.CompletedProcess[str]:
    """A command run to its end in the repository, with its output as text.

    Args:
        command: program and arguments.
        status: that it must end with; None for any.
        timeout: seconds.
        environment: variables that differ from those of this process; None takes one out.
    """
    variables = {**os.environ, **environment}
    done = subprocess.run(
        command,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=timeout,
        env={name: value for name, value in variables.items() if value is not None},
    )
    assert status in (None, done.returncode), done.stdout[-4000:] + done.stderr[-4000:]
    return done


def run(*arguments: object, status: int = 0, **environment: str | None) -> str:
    """All that the command line of a user prints; a mistake of theirs is no traceback."""
    done = completed(command(*arguments), status=status, timeout=600, **environment)
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def run_here(*arguments: object, status: int = 0) -> str:
    """What `run` says, in this process, which has the libraries already."""
    said = io.StringIO()
    given = [str(argument) for argument in ("anomalyr1", *arguments)]
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(said), redirect_stderr(said):
        patch.setattr(sys, "argv", given)
        patch.chdir(REPOSITORY)
        with pytest.raises(SystemExit) as ended:
            main()
    assert (ended.value.code or 0) == status, said.getvalue()
    return said.getvalue()


def fresh(code: str, *arguments: object) -> str:
    """What code prints in an interpreter that has imported nothing yet."""
    return completed([sys.executable, "-c", code, *map(str, arguments)]).stdout


def assert_torch_free(code: str) -> None:
    """Code that imports none of the libraries that take seconds."""
    heavy = "import sys; assert not {'torch', 'transformers', 'trl'} & set(sys.modules)"
    fresh(f"{code}\n{heavy}")


def kill_when(command: list[str], ready: Callable[[], bool]) -> None:
    """Start a command and SIGKILL it, and all that it started, as soon as `ready()`."""
    process = psutil.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 300
    while not ready():
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    killed: list[psutil.Process] = [process]
    with suppress(psutil.NoSuchProcess):  # it may have ended by itself meanwhile
        killed += process.children(recursive=True)
    for one in killed:
        with suppress(psutil.NoSuchProcess):
            one.kill()
    psutil.wait_procs(killed, timeout=60)
