"""Ctrl-C and SIGTERM, with real signals to this process."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from anomalyr1 import stopping
from anomalyr1.stopping import Terminated, postponed, terminable, undisturbed


@pytest.fixture
def patient():
    """SIGTERM would end pytest itself, where no handler were set."""
    old = signal.signal(signal.SIGTERM, signal.default_int_handler)
    yield
    signal.signal(signal.SIGTERM, old)


def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


def test_sigterm_is_raised_like_ctrl_c(patient):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Terminated), terminable():
        send(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt) as caught, terminable():
        send(signal.SIGINT)
    assert not isinstance(caught.value, Terminated)
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize(
    ("number", "kind"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)]
)
def test_a_wish_waits_for_a_good_moment(patient, capfd, number, kind):
    with postponed("stopping soon") as wish:
        assert wish.stop is None
        send(number)
        assert type(wish.stop) is kind
    assert capfd.readouterr().err == "stopping soon\n"


def test_what_a_launcher_passes_on_is_the_same_wish(patient, capfd):
    with postponed("stopping soon") as wish:
        send(signal.SIGINT)  # by the terminal
        send(signal.SIGINT)  # by the launcher, which the terminal told as well
        send(signal.SIGTERM)
        assert type(wish.stop) is KeyboardInterrupt
    assert capfd.readouterr().err == "stopping soon\n"


def test_a_second_wish_ends_the_work_at_once(patient, monkeypatch):
    monkeypatch.setattr(stopping, "_ECHO", -1.0)  # as if a second had passed
    with pytest.raises(KeyboardInterrupt), postponed("stopping soon"):
        send(signal.SIGINT)
        send(signal.SIGINT)
    with pytest.raises(Terminated), postponed("stopping soon"):
        send(signal.SIGINT)
        send(signal.SIGTERM)


def test_a_signal_that_is_ignored_stays_so(patient):
    """As under nohup, or in the background of a script."""
    old = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with postponed("stopping soon") as wish:
            send(signal.SIGINT)
        assert wish.stop is None
    finally:
        signal.signal(signal.SIGINT, old)


def test_the_last_words_are_not_cut_off(patient):
    with undisturbed():
        send(signal.SIGINT)
        send(signal.SIGTERM)


def test_another_thread_leaves_the_signals_alone():
    done = []

    def work() -> None:
        with terminable(), postponed("stopping soon") as wish:
            done.append(wish.stop)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [None]


def test_only_the_first_process_of_a_launch_speaks(patient, monkeypatch, capfd):
    monkeypatch.setenv("RANK", "1")
    with postponed("stopping soon"):
        send(signal.SIGINT)
    assert capfd.readouterr().err == ""
