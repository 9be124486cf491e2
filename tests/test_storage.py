import json

import pytest

from anomalyr1.errors import InputError
from anomalyr1.storage import (
    append_jsonl,
    read_json,
    read_jsonl,
    read_text,
    resume_jsonl,
    write_json,
)


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


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_names_the_encoding(tmp_path, encoding):
    path = tmp_path / "a.json"
    path.write_bytes('{"Größe": "裂纹"}'.encode(encoding))
    assert read_json(path) == {"Größe": "裂纹"}
    assert read_json(path, encoding="cp1252" if encoding != "utf-8" else None) == {"Größe": "裂纹"}


def test_other_encodings_are_read_when_named_and_never_guessed(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes('"裂纹"'.encode("gbk"))
    with pytest.raises(
        InputError, match=r"utf-8 at .*a\.json, found other bytes at 1 \(c1d1cec6\)"
    ):
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
