"""A text comes as it is written; who leaves stops the work."""

import threading

import pytest

from anomalyr1.demo.streamed import streamed
from anomalyr1.errors import InputError


def drained(coming):
    texts = []
    while True:
        try:
            texts.append(next(coming))
        except StopIteration as ended:
            return texts, ended.value


def test_the_text_grows_and_the_result_comes_last():
    def work(tell):
        for piece in ("so ", "", "it ", "is"):
            tell(piece)
        return 7

    texts, result = drained(streamed(work))
    assert texts == ["so ", "so ", "so it ", "so it is"] and result == 7
    assert drained(streamed(lambda tell: None)) == ([], None)


def test_a_piece_is_seen_before_the_next_is_written():
    seen = threading.Event()

    def work(tell):
        tell("a")
        assert seen.wait(10)
        tell("b")

    coming = streamed(work)
    assert next(coming) == "a"
    seen.set()
    assert drained(coming)[0] == ["ab"]


def test_a_fault_comes_through():
    def work(tell):
        tell("a")
        raise InputError("expected, found")

    with pytest.raises(InputError, match="expected, found"):
        drained(streamed(work))


def test_the_work_ends_at_its_next_piece_when_nobody_reads():
    told = []

    def work(tell):
        for number in range(1_000_000):
            tell(".")
            told.append(number)

    coming = streamed(work)
    next(coming)
    coming.close()
    assert len(told) < 1_000_000
