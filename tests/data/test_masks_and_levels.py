"""Mask files of every form, and images with more than eight bits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from anomalyr1.data.grey_levels import to_eight_bits
from anomalyr1.data.images import LEVELS, open_image, read_mask
from anomalyr1.data.mask_marks import looks_inverted
from anomalyr1.errors import InputError

MARKED = np.zeros((40, 60), bool)
MARKED[10:20, 15:35] = True


def rgba(ground, mark) -> Image.Image:
    pixels = np.empty((40, 60, 4), np.uint8)
    pixels[:] = ground
    pixels[MARKED] = mark
    return Image.fromarray(pixels)


def palette(colours, index=MARKED) -> Image.Image:
    image = Image.new("P", (60, 40))
    image.putdata(np.asarray(index).astype(np.uint8).ravel().tolist())
    image.putpalette([value for colour in colours for value in colour])
    return image


BLACK, WHITE, RED = (0, 0, 0), (255, 255, 255), (255, 0, 0)
FORMS = {
    "white on black": (Image.fromarray(MARKED), "png"),
    "label 1 of 255": (Image.fromarray(MARKED.astype(np.uint8)), "png"),
    "label 1 of 65535": (Image.fromarray(MARKED.astype(np.uint16)), "png"),
    "labels 300 and 1": (Image.fromarray(np.where(MARKED, 300, 0).astype(np.uint16)), "tif"),
    "float": (Image.fromarray(MARKED.astype(np.float32) / 3), "tif"),
    "red on black": (Image.fromarray(MARKED[..., None] * np.array(RED, np.uint8)), "png"),
    "red on transparent white": (rgba((255, 255, 255, 0), (255, 0, 0, 255)), "png"),
    "white on transparent black": (rgba((0, 0, 0, 0), (255, 255, 255, 255)), "png"),
    "half transparent": (rgba((255, 255, 255, 0), (255, 0, 0, 90)), "png"),
    "opaque": (rgba((0, 0, 0, 255), (255, 255, 255, 255)), "png"),
    "grey and alpha": (rgba((255, 255, 255, 0), (200, 200, 200, 255)).convert("LA"), "png"),
    "palette of black and red": (palette([BLACK, RED]), "png"),
    "palette with a white ground": (palette([WHITE, RED]), "png"),
    "palette bmp": (palette([BLACK, RED]), "bmp"),
    "jpeg": (Image.fromarray(MARKED.astype(np.uint8) * 255), "jpg"),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_marks_the_same_pixels(tmp_path, form):
    image, suffix = FORMS[form]
    image.save(tmp_path / f"m.{suffix}")
    found = read_mask(tmp_path / f"m.{suffix}")
    if suffix == "jpg":  # blurred at the edge
        inner = np.zeros_like(MARKED)
        inner[12:18, 17:33] = True
        assert found[inner].all() and abs(int(found.sum()) - 200) < 60
    else:
        assert np.array_equal(found, MARKED)


AMBIGUOUS = {
    "black on transparent": (rgba((0, 0, 0, 0), (0, 0, 0, 255)), "png", "either of which"),
    "a palette with a coloured 0 and a black 1": (palette([WHITE, BLACK]), "png", "index 0"),
    "label numbers in a jpeg": (Image.fromarray(MARKED.astype(np.uint8) * 90), "jpg", "lossy"),
    "all transparent": (rgba((0, 0, 0, 0), (255, 0, 0, 0)), "png", "transparent everywhere"),
}


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_what_reads_two_ways_is_refused(tmp_path, name):
    image, suffix, said = AMBIGUOUS[name]
    image.save(tmp_path / f"m.{suffix}", quality=95)
    with pytest.raises(InputError, match=rf"reads one way at .*m\.{suffix}.*{said}"):
        read_mask(tmp_path / f"m.{suffix}")


def test_not_a_number_is_no_mark(tmp_path):
    Image.fromarray(np.full((4, 4), np.nan, np.float32)).save(tmp_path / "m.tif")
    with pytest.raises(InputError, match="no numbers"):
        read_mask(tmp_path / "m.tif")


def test_an_empty_jpeg_mask_is_empty(tmp_path):
    noise = np.random.default_rng(0).integers(0, 6, (40, 60)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / "m.jpg", quality=60)
    assert not read_mask(tmp_path / "m.jpg").any()


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        (~MARKED, True),
        (MARKED, False),
        (np.ones((9, 9), bool), False),
        (np.zeros((9, 9), bool), False),
    ],
)
def test_inverted_masks_look_inverted(mask, expected):
    assert looks_inverted(mask) == expected


# value, type, expected level and rule: hand-computed
LEVEL_TABLE = [
    (4095, np.uint16, 255, "12 bits to 8"),
    (2048, np.uint16, 128, "12 bits to 8"),
    (1023, np.uint16, 255, "10 bits to 8"),
    (16383, np.uint16, 255, "14 bits to 8"),
    (65535, np.uint16, 255, "16 bits to 8"),
    (32768, np.uint16, 128, "16 bits to 8"),
    (4095, np.int32, 255, "12 bits to 8"),
    (200, np.uint16, 200, "values up to 255 as they are"),
    (1.0, np.float32, 255, "0 .. 1 to 0 .. 255"),
    (0.5, np.float32, 128, "0 .. 1 to 0 .. 255"),
    (200.0, np.float32, 200, "values up to 255 as they are"),
    (4000.0, np.float32, 250, "12 bits to 8"),
    (1e6, np.float32, 255, "least .. largest value to 0 .. 255"),
    (100_000, np.int32, 255, "least .. largest value to 0 .. 255"),
]


@pytest.mark.parametrize(("value", "kind", "level", "rule"), LEVEL_TABLE)
def test_grey_levels_keep_the_range_of_the_camera(tmp_path, value, kind, level, rule):
    pixels = np.zeros((8, 8), kind)
    pixels[2:5, 2:5] = value
    Image.fromarray(pixels).save(tmp_path / "a.tif")
    image = open_image(tmp_path / "a.tif")
    assert np.asarray(image).max() == level and image.info[LEVELS] == rule
    assert np.asarray(image).min() == 0 and image.mode == "RGB"


def test_negative_levels_are_stretched():
    levels, rule = to_eight_bits(np.array([[-1.0, 0.0, 1.0]]))
    assert levels.tolist() == [[0, 128, 255]] and rule.startswith("least")


def test_sixteen_bits_a_colour_are_not_cut(tmp_path):
    """Twelve bits in a 16-bit file: PIL keeps the upper eight, which are four of the twelve."""
    import cv2

    colour = np.zeros((8, 8, 3), np.uint16)
    colour[..., 0], colour[2:5, 2:5, 1] = 1000, 4095
    for name in ("a.png", "a.tif"):
        cv2.imwrite(str(tmp_path / name), colour[..., ::-1])  # OpenCV writes BGR
        image = open_image(tmp_path / name)
        assert image.info[LEVELS] == "12 bits to 8"
        assert np.asarray(image)[3, 3].tolist() == [62, 255, 0]


@given(arrays.arrays(np.uint16, (3, 4)))
def test_the_order_of_grey_levels_is_kept(pixels):
    levels, _ = to_eight_bits(pixels)
    flat = np.argsort(pixels.ravel(), kind="stable")
    assert (np.diff(levels.ravel()[flat].astype(int)) >= 0).all()
    assert levels.max() >= 64 or pixels.max() <= 255


@given(st.binary(max_size=400))
def test_any_bytes_are_an_image_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("any") / "a.png"
    for head in (b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"BM", b"II*\x00", b"RIFF"):
        path.write_bytes(head + content)
        for read in (open_image, read_mask):
            try:
                read(path)
            except InputError as error:
                assert "a.png" in str(error)
