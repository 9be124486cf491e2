import errno
import json
import os
import threading
from pathlib import Path

import pytest

from anomalyr1.errors import InputError
from anomalyr1.storage import (
    append_jsonl,
    read_json,
    read_jsonl,
    read_jsonl_as,
    read_yaml,
    resume_jsonl,
    write_json,
    write_jsonl,
    write_text,
)
from anomalyr1.text_files import read_text


def test_write_is_whole_or_absent(tmp_path):
    path = tmp_path / "deep" / "a.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text()) == {"a": 1}
    assert [p.name for p in path.parent.iterdir()] == ["a.json"]


def test_resume_cuts_a_torn_last_line(tmp_path):
    path = tmp_path / "a.jsonl"
    append_jsonl(path, [{"n": 1}, {"n": 2}])
    with path.open("a") as file:
        file.write('{"n": 3, "te')
    assert [row["n"] for row in resume_jsonl(path)] == [1, 2]
    append_jsonl(path, [{"n": 3}])
    assert [row["n"] for row in read_jsonl(path)] == [1, 2, 3]


def test_resume_refuses_a_broken_line_in_the_middle(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"n": 1}\n{"n"\n{"n": 3}\n')
    with pytest.raises(InputError, match=r"a\.jsonl:2"):
        resume_jsonl(path)


@pytest.mark.parametrize("content", [None, "{", b"\xff\xfe"])
def test_unreadable_json_names_the_file(tmp_path, content):
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=r"a\.json"):
        read_json(path)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("é\n".encode("cp1252"), "byte 0xe9 in line 1"),
        (b"a\nb\xff\n", "byte 0xff in line 2"),
        ("a".encode("utf-16")[:-1], "UTF-16 that is cut off or damaged"),
    ],
)
def test_another_encoding_is_named(tmp_path, content, found):
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"in UTF-8 at .*{found}; save the file as UTF-8"):
        read_text(path, "a text")


def test_a_byte_order_mark_is_passed_over(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"\xef\xbb\xbf" + b'{"a": 1}\n{"a": 2}\n')
    assert [row["a"] for row in read_jsonl(path)] == [1, 2]
    path.write_bytes(b"\xef\xbb\xbf" + b'{"a": 1}')
    assert read_json(path) == read_yaml(path, "a readable config") == {"a": 1}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_names_the_encoding(tmp_path, encoding):
    path = tmp_path / "a.json"
    path.write_bytes('{"Größe": "裂纹"}'.encode(encoding))
    assert read_json(path) == {"Größe": "裂纹"}
    assert read_json(path, encoding="cp1252" if encoding != "utf-8" else None) == {"Größe": "裂纹"}


def test_other_encodings_are_read_when_named_and_never_guessed(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes('"裂纹"'.encode("gbk"))
    with pytest.raises(InputError, match=r"UTF-8 at .*a\.json, found byte 0xc1 in line 1"):
        read_json(path)
    assert read_json(path, encoding="gbk") == "裂纹"
    with pytest.raises(InputError, match="found 'latin-x'"):
        read_json(path, encoding="latin-x")
    path.write_bytes('"a"'.encode("utf-16-le"))  # without a mark
    with pytest.raises(InputError, match="found zero bytes"):
        read_text(path)


@pytest.mark.parametrize("content", ["[" * 100_000, "1" * 5_000])
def test_json_that_python_cannot_hold_is_refused(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_text(content)
    with pytest.raises(InputError, match=r"a\.json, found broken JSON"):
        read_json(path)
    with pytest.raises(InputError, match=r"broken JSON at .*a\.json:1"):
        read_jsonl(path)


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999", "9" * 5000])
def test_numbers_that_json_does_not_have_are_refused(tmp_path, number):
    path = tmp_path / "a.json"
    path.write_text(f'{{"a": {number}}}')
    with pytest.raises(InputError, match="found broken JSON"):
        read_json(path)
    with pytest.raises(InputError, match=r"found broken JSON at .*a\.json:1"):
        read_jsonl(path)


def test_half_a_character_is_written_as_the_escape_of_json(tmp_path):
    rows = [{"\ud800": "a\udfffb", "whole": "\U0001f600 é"}]
    path = tmp_path / "a.jsonl"
    write_jsonl(path, rows)
    assert path.read_text(encoding="utf-8") == (
        '{"\\ud800": "a\\udfffb", "whole": "\U0001f600 é"}\n'
    )
    append_jsonl(path, rows)
    assert read_jsonl(path) == [*rows, *rows]
    write_json(path, rows[0])
    assert read_json(path) == rows[0]


def test_all_lines_at_fault_are_told_at_once(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("[]\n" + '{"n": 1}\n{"n"\n' * 12)
    with pytest.raises(InputError) as caught:
        read_jsonl(path)
    message = str(caught.value)
    assert message.startswith(f"{path} has 13 lines that cannot be used: expected a JSON object a")
    assert "a.jsonl:1;" in message and "a.jsonl:19 (" in message  # the first and the tenth
    assert message.endswith("; and 3 more") and "a.jsonl:21" not in message
    assert "\n" not in message


def test_records_are_made_line_by_line(tmp_path):
    def even(row: dict[str, int], number: int) -> int:
        if row["n"] % 2:
            raise InputError(f"line {number}: expected an even number, found {row['n']}")
        return row["n"]

    path = tmp_path / "a.jsonl"
    path.write_text('{"n": 2}\n\n{"n": 4}\n')
    assert read_jsonl_as(even, path, "even numbers") == [2, 4]
    path.write_text('{"n": 2}\n\n{"n": 3}\n{"n": 5}\n')
    with pytest.raises(InputError, match=r"2 lines .*: line 3: .* found 3; line 4: .* found 5$"):
        read_jsonl_as(even, path, "even numbers")


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("x")
    path = tmp_path / "file" / "a.json"
    for write in (write_text, write_json, append_jsonl):
        with pytest.raises(InputError, match=r"expected to write .*found that it cannot be"):
            write(path, "a")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a: 1\na: 2\n", "duplicate key a"),
        ("a: !!python/name:os.system\n", "could not determine a constructor"),
        ("a: &x [*x]\n", "nested too deeply, or inside themselves"),
        ("a: ${b}\n", "'b' not found"),
        ("3\n", "Invalid loaded object type"),
    ],
)
def test_yaml_that_is_refused(tmp_path, text, found):
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=f"expected a readable mixture in .*{found}") as caught:
        read_yaml(path, "a readable mixture")
    assert "\n" not in str(caught.value)


def test_yaml_with_anchors_and_references(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("a: &x {b: 1}\nc: *x\nd: {<<: *x, e: '${a.b}'}\n")
    assert read_yaml(path, "a readable config")["d"] == {"b": 1, "e": 1}
    assert read_yaml(path, "a readable config", resolve=False)["d"]["e"] == "${a.b}"


def test_what_a_killed_process_left_is_gone_with_the_next_writing(tmp_path):
    child = os.fork()
    if child == 0:
        os.replace = Path.replace = lambda *_: os._exit(9)
        write_text(tmp_path / "a.json", "half")
    os.waitpid(child, 0)
    assert [entry.name for entry in tmp_path.iterdir()] == [".a.json.tmp"]
    write_text(tmp_path / "a.json", "1")
    assert {entry.name: entry.read_text() for entry in tmp_path.iterdir()} == {"a.json": "1"}


def test_threads_that_write_one_file_leave_one_of_their_texts(tmp_path):
    path, texts = tmp_path / "a", [letter * 300_000 for letter in "abcdef"]
    threads = [threading.Thread(target=write_text, args=(path, text)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_text() in texts
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


def test_lines_that_find_no_room_are_not_begun(tmp_path, monkeypatch):
    path = tmp_path / "a.jsonl"
    append_jsonl(path, [{"n": 1}])
    write = os.write

    def full(handle: int, content: memoryview) -> int:
        if len(content) < 10:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(handle, content[: len(content) // 2])

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(InputError, match="No space left on device"):
        append_jsonl(path, [{"n": 2}, {"n": 3}])
    assert path.read_text() == '{"n": 1}\n'
