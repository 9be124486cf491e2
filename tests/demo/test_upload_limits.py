"""What the page takes, and how it refuses the rest."""

import struct
import zlib

import pytest
from pictures import noise

from anomalyr1.demo.upload_limits import Limits, check_texts, open_upload, shown_name
from anomalyr1.errors import InputError

LIMITS = Limits(megabytes=1, pixels=20_000)


def bomb() -> bytes:
    """A PNG of some bytes that says it is 100,000 pixels square."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")
    )


def test_an_image_within_the_limits_is_opened(tmp_path):
    noise(1, 200, 100).save(tmp_path / "part.png")
    assert open_upload(tmp_path / "part.png", LIMITS).size == (200, 100)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "does not decode"),
        (b"GIF89a", "does not decode"),
        (b"<svg onload=alert(1)>", "does not decode"),
        (b"\0" * 1_200_000, "at most 1 MB, found <b>a b.png of 1.2 MB"),
        (bomb(), "<b>a b.png"),
    ],
)
def test_others_are_refused_by_their_name_alone(tmp_path, content, said):
    file = tmp_path / "<b>a\nb.png"
    file.write_bytes(content)
    with pytest.raises(InputError) as refused:
        open_upload(file, LIMITS)
    message = str(refused.value)
    assert said in message and message.isprintable() and str(tmp_path) not in message


def test_pixels_are_counted_before_they_are_decoded(tmp_path):
    noise(1, 201, 100).save(tmp_path / "part.png")
    with pytest.raises(InputError, match=r"at most 20,000 pixels, found part\.png of 201 x"):
        open_upload(tmp_path / "part.png", LIMITS)
    with pytest.raises(InputError, match="found it gone"):
        open_upload(tmp_path / "gone.png", LIMITS)


def test_a_file_that_is_cut_off_is_refused(tmp_path):
    noise(1).save(tmp_path / "whole.png")
    (tmp_path / "part.png").write_bytes((tmp_path / "whole.png").read_bytes()[:5000])
    with pytest.raises(InputError, match=r"part\.png, .*does not decode") as refused:
        open_upload(tmp_path / "part.png", LIMITS)
    assert str(tmp_path) not in str(refused.value)


def test_a_name_is_one_line_of_a_bounded_length(tmp_path):
    assert shown_name(tmp_path / ("a\x1b[2J" + "b" * 150)) == "a [2J" + "b" * 95
    assert shown_name(tmp_path / "\x07") == "image"


def test_a_text_that_is_too_long_is_refused():
    check_texts(["a" * 2000, ""], Limits())
    with pytest.raises(InputError, match="at most 2,000 letters, found 2,001"):
        check_texts(["", "a" * 2001], Limits())
