"""What every verb has: a panel in the help, --quiet and --verbose, completion, and hints."""

from __future__ import annotations

import os
import pty
import signal

import pytest
import typer
from commands import command, completed, run_here, torchrun

from anomalyr1 import cli
from anomalyr1.cli import data, panels

ROOT = typer.main.get_command(cli.app)


def verbs(group=ROOT, name=()) -> dict[str, object]:
    """Every verb by its name, those of groups as `data build`."""
    found = {}
    for word, below in group.commands.items():
        if hasattr(below, "commands"):
            found |= verbs(below, (*name, word))
        else:
            found[" ".join((*name, word))] = below
    return found


def test_the_help_groups_verbs_by_what_a_person_does():
    said = run_here("--help")
    titles = [line.split()[1:-1] for line in said.splitlines() if line.startswith("╭─")]
    shown = [" ".join(words).rstrip("─ ") for words in titles]
    used = [panel for panel in panels.PANELS if panel in shown]
    assert shown == ["Options", *used] and {panels.DATA, panels.TRAIN} < set(used)
    for word, below in ROOT.commands.items():
        assert below.rich_help_panel in panels.PANELS, f"{word} stands in no panel of panels.py"


@pytest.mark.parametrize("verb", verbs())
def test_every_verb_is_quiet_and_verbose_where_asked(verb):
    options = {word for option in verbs()[verb].params for word in option.opts}
    assert {"--quiet", "-q", "--verbose", "-v"} <= options
    said = " ".join(run_here(*verb.split(), "--help").split())
    assert f"Example: anomalyr1 {verb}" in said.replace("│ ", "")


def test_quiet_says_the_result_alone(tmp_path):
    drawn = ("data", "synth", "--train", 51, "--test", 1, "--size", 64, "--out")
    loud = run_here(*drawn, tmp_path / "loud")
    quiet = run_here(*drawn, tmp_path / "quiet", "--quiet")
    assert "drawing images: 6/52" in loud and "drawing images" not in quiet
    assert [line.rpartition("/mmad.json: ")[2] for line in quiet.splitlines()] == [
        line.rpartition("/mmad.json: ")[2] for line in loud.splitlines() if "mmad.json" in line
    ]


def test_verbose_shows_where_an_error_arises_and_the_seconds(tmp_path):
    said = run_here("data", "check", tmp_path / "none", "-v", status=2)
    assert "in read_bytes" in said and "seconds\nerror: expected a benchmark" in said
    assert run_here("data", "check", tmp_path / "none", status=2).startswith("error: ")


def test_quiet_and_verbose_at_once_are_refused(tmp_path):
    said = run_here("data", "check", tmp_path, "-q", "-v", status=2)
    assert said == "error: expected --quiet or --verbose, found both; leave one out\n"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["trian"], "'train'"),
        (["data", "chek"], "'check'"),
        (["reward", "reply"], "'replay'"),
        (["eval", "x.yaml", "--qiet"], "--quiet"),
        (["data", "build", "coco", "x", "--refrences", "1"], "--references"),
    ],
)
def test_an_unknown_verb_or_option_brings_the_nearest(typed, meant):
    said = run_here(*typed, status=2)
    assert meant in said and "Traceback" not in said


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_verbs_and_options(shell, monkeypatch):
    """As the script that `--install-completion` leaves asks for it."""

    def completions(typed: str) -> str:
        monkeypatch.setenv("COMP_WORDS", typed)
        monkeypatch.setenv("COMP_CWORD", str(typed.count(" ")))
        monkeypatch.setenv("_TYPER_COMPLETE_ARGS", typed)
        return run_here()

    assert "--install-completion" in run_here("--help")
    monkeypatch.setenv("_ANOMALYR1_COMPLETE", f"complete_{shell}")
    monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
    assert "train" in completions("anomalyr1 tr") and "data" not in completions("anomalyr1 tr")
    assert "--quiet" in completions("anomalyr1 train --q")


def test_no_colour_in_a_pipe_nor_where_it_is_unwanted():
    refused = ("data", "check", "x", "-q", "-v")
    for words in (["doctor", "--help"], refused):
        done = completed(command(*words), status=None, NO_COLOR=None)
        assert "\x1b" not in done.stdout + done.stderr
    shown = on_a_terminal(*refused)
    assert "\x1b[1;31m" in shown and "error:" in shown
    unwanted = on_a_terminal(*refused, NO_COLOR="1")
    assert "error:" in unwanted and "31m" not in unwanted


def on_a_terminal(*arguments: object, **environment: str) -> str:
    """What a command shows on a terminal of 80 columns."""
    process, terminal = pty.fork()
    if process == 0:
        variables = {**os.environ, "TERM": "xterm", "COLUMNS": "80", **environment}
        words = command(*arguments)
        os.execvpe(words[0], words, variables)
    shown = b""
    while True:
        try:
            part = os.read(terminal, 4096)
        except OSError:  # Linux's way to say that the other side is closed
            part = b""
        if not part:
            break
        shown += part
    os.waitpid(process, 0)
    os.close(terminal)
    return shown.decode()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("verb", ["build", "check"])
def test_data_verbs_leave_nothing_half_done(
    tmp_path, mvtec_benchmark, monkeypatch, verb, number, status
):
    """The signal comes while files are opened."""
    reached = []

    def interrupted(label):
        def wrap(items):
            for item in items:
                reached.append(item)
                if len(reached) == 3:
                    os.kill(os.getpid(), number)
                yield item

        return wrap

    home = data if verb == "build" else data.data_check
    monkeypatch.setattr(home, "progress", interrupted)
    source = mvtec_benchmark.parent / "source"
    words = {
        "build": ["mvtec", source, "--out", tmp_path / "out"],
        "check": [mvtec_benchmark],
    }[verb]
    said = run_here("data", verb, *words, status=status)
    assert said == f"stopped: nothing is half-written; start over with\nanomalyr1 data {verb} " + (
        " ".join(map(str, words)) + "\n"
    )
    assert not (tmp_path / "out").exists()


def test_the_first_process_of_a_launch_alone_says_what_is_wrong(tmp_path, monkeypatch):
    verb = ("-m", "anomalyr1", "score", tmp_path / "none.jsonl")
    said = completed(torchrun(*verb), status=None).stderr
    assert said.count("error: expected") == 1 and "exitcode  : 2" in said
    # Nobody ended it, so that the mistake was its own.
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr(cli, "_PATIENCE", 0.0)
    assert run_here(*verb[2:], status=2).startswith("error: expected")

    def ended(_: float) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(cli.time, "sleep", ended)
    assert run_here(*verb[2:], status=2) == ""
