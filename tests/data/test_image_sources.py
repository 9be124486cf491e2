"""An image is the same whether its path, its bytes or what PIL opened is given."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from anomalyr1.data.image_sources import read_image, source_name
from anomalyr1.data.images import open_image
from anomalyr1.errors import InputError

PIXELS = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)


def saved(image: Image.Image, form: str, **options) -> bytes:
    content = io.BytesIO()
    image.save(content, form, **options)
    return content.getvalue()


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return saved(Image.fromarray(PIXELS), "JPEG", exif=exif)


def deep_colour() -> bytes:
    _, content = cv2.imencode(".png", PIXELS.astype(np.uint16) * 16)
    return content.tobytes()


def animated() -> bytes:
    frames = [Image.new("P", (30, 20), colour) for colour in (3, 7)]
    return saved(frames[0], "GIF", save_all=True, append_images=frames[1:])


FILES = {
    "plain.png": saved(Image.fromarray(PIXELS), "PNG"),
    "cmyk.jpg": saved(Image.fromarray(PIXELS).convert("CMYK"), "JPEG"),
    "grey16.png": saved(Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 16), "PNG"),
    "colour16.png": deep_colour(),
    "turned.jpg": turned(),
    "animated.gif": animated(),
    "palette.png": saved(Image.fromarray(PIXELS).convert("P"), "PNG"),
    "alpha.png": saved(Image.fromarray(PIXELS).convert("RGBA"), "PNG"),
    "wrong_suffix.png": saved(Image.fromarray(PIXELS), "JPEG"),
}


@pytest.mark.parametrize("name", FILES)
def test_path_and_bytes_are_one_image(name, tmp_path):
    path = tmp_path / name
    path.write_bytes(FILES[name])
    expected = open_image(path)
    for source in (path, str(path), FILES[name]):
        image = read_image(source)
        assert image.mode == "RGB" and image.tobytes() == expected.tobytes()
    if name != "colour16.png":  # PIL cuts its colours to 8 bits itself
        with Image.open(path) as opened:
            assert read_image(opened).tobytes() == expected.tobytes()
    assert expected.size == ((20, 30) if name == "turned.jpg" else (30, 20))


@pytest.mark.parametrize("shape", ["grey", "channel", "rgb", "rgba", "deep", "share"])
def test_arrays_are_read_by_their_shape_and_depth(shape):
    rgba = np.dstack([PIXELS, np.full(PIXELS.shape[:2], 9, np.uint8)])
    arrays = {
        "grey": PIXELS[..., 0],
        "channel": PIXELS[..., :1],
        "rgb": PIXELS[::-1][::-1],
        "rgba": rgba,
        "deep": PIXELS.astype(np.uint16) * 256,
        "share": PIXELS / 255,
    }
    image = np.asarray(read_image(arrays[shape]))
    grey = shape in ("grey", "channel")
    assert (image == (PIXELS[..., :1] if grey else PIXELS)).all() and image.shape == PIXELS.shape


BOMB = saved(Image.new("1", (30000, 30000)), "PNG")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (b"", "bytes given"),
        (FILES["plain.png"][:60], "bytes given"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "bytes given"),
        (BOMB, "decompression bomb"),
        ("nowhere.png", "no such file"),
        (np.zeros((4, 4, 2), np.uint8), r"shape \(4, 4, 2\)"),
        (np.zeros((0, 4), np.uint8), "shape"),
        (np.zeros((4, 4), bool), "bool of shape"),
        (np.full((4, 4), np.nan), "finite numbers"),
        (np.array(["a"]), "of numbers"),
    ],
)
def test_what_is_no_image_is_refused(source, said):
    with pytest.raises(InputError, match=said):
        read_image(source)


def test_only_files_have_names(tmp_path):
    path = tmp_path / "plain.png"
    path.write_bytes(FILES["plain.png"])
    with Image.open(path) as opened:
        assert source_name(opened) == source_name(path) == str(path)
    assert source_name(FILES["plain.png"]) is None is source_name(PIXELS)
