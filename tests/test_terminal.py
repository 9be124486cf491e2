"""How much is said, and in which form: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from anomalyr1.terminal import Bar, Loudness, notes, progress, results, speaking


def console(*, terminal: bool) -> tuple[Console, io.StringIO]:
    written = io.StringIO()
    return Console(file=written, force_terminal=terminal, width=100, highlight=False), written


@pytest.mark.parametrize(
    ("total", "done", "lines"),
    [
        (100, 0, [f"reading: {n}/100" for n in range(10, 101, 10)]),
        (51, 0, [f"reading: {n}/51" for n in (6, 12, 18, 24, 30, 36, 42, 48)]),  # steps of 5.1 up
        (100, 75, ["reading: 80/100", "reading: 90/100", "reading: 100/100"]),  # resumed
        (50, 0, []),  # not worth a line
        (None, 0, []),  # nobody knows how much there is
    ],
)
def test_elsewhere_than_on_a_terminal_a_line_every_tenth(total, done, lines):
    where, written = console(terminal=False)
    with Bar("reading", total, done, console=where) as bar:
        for number in range(done + 1, (total or 100) + 1):
            bar.to(number)
    assert written.getvalue().splitlines() == lines


def test_a_bar_on_a_terminal_is_gone_when_done_and_lines_stand_above_it():
    where, written = console(terminal=True)
    with Bar("training", 6, 2, console=where, plain=False) as bar:
        bar.to(3)
        where.print("step 3")
    shown = written.getvalue()
    assert "training" in shown and "3/6" in shown and re.search(r"step 3 *\n", shown)
    assert shown.endswith("\x1b[2K")  # the line of the bar is wiped out
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h") == 1  # and the cursor is back


def test_an_error_gives_the_cursor_back():
    where, written = console(terminal=True)
    with pytest.raises(ZeroDivisionError), speaking(Loudness.NORMAL):
        Bar("training", 6, console=where)
        raise ZeroDivisionError
    assert "\x1b[?25h" in written.getvalue()


def test_quiet_leaves_out_notes_and_progress_and_no_result(capsys):
    where, written = console(terminal=True)
    with speaking(Loudness.QUIET):
        with Bar("training", 100, console=where) as bar:
            bar.to(50)
        assert list(progress("reading")(range(100))) == list(range(100))
        notes().print("a note")
        results().print("a result")
    said = capsys.readouterr()
    assert (said.out, said.err, written.getvalue()) == ("a result\n", "", "")
    notes().print("a note [bold]of[/] /a/[path]")
    notes(quiet=True).print("of another process")
    assert capsys.readouterr().out == "a note [bold]of[/] /a/[path]\n"


def test_a_loop_that_is_left_early_takes_its_bar_along(monkeypatch):
    written = io.StringIO()
    monkeypatch.setattr("sys.stderr", written)
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes it for a terminal
    for number in progress("reading")(range(100)):
        if number == 3:
            break
    assert written.getvalue().count("\x1b[?25l") == written.getvalue().count("\x1b[?25h") == 1


def test_a_pipe_gets_a_width_of_its_own():
    assert results(123).width == 123
