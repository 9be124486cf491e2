"""Image files that nobody sane sends: of every kind, and damaged at random by a seed."""

from __future__ import annotations

import io
import os
import random
import struct
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, PngImagePlugin

SIZE = (61, 43)  # no multiple of anything, and no square
_RNG = np.random.default_rng(7)
RGB = Image.fromarray(_RNG.integers(0, 255, (SIZE[1], SIZE[0], 3), dtype=np.uint8))
_DEEP = _RNG.integers(0, 65535, (SIZE[1], SIZE[0]), dtype=np.uint16)
_XMP = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
_PNG_END = 12  # bytes of the chunk IEND


def saved(image: Image.Image, form: str = "PNG", **options) -> bytes:
    """The bytes of a file."""
    content = io.BytesIO()
    image.save(content, form, **options)
    return content.getvalue()


def exif(turn: object) -> Image.Exif:
    """An EXIF block with an orientation, which may be none."""
    block = Image.Exif()
    block[0x0112] = turn
    return block


def chunk(kind: bytes, data: bytes) -> bytes:
    """One of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(width: int, height: int, pixels: bytes = b"\0") -> bytes:
    """A PNG that says it is of that size, whatever it holds."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(pixels)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@cache
def kinds() -> dict[str, bytes]:
    """File name -> content: every kind of image, sound or not."""
    png, jpeg = saved(RGB), saved(RGB, "JPEG", quality=95)
    cmyk, grey = RGB.convert("CMYK"), RGB.convert("L")
    frames = [Image.new("P", SIZE, colour) for colour in (3, 7, 11)]
    coloured = [Image.new("RGB", SIZE, colour) for colour in ("red", "blue")]
    several = {"save_all": True, "append_images": frames[1:]}
    xmp = PngImagePlugin.PngInfo()
    xmp.add_itxt("XML:com.adobe.xmp", _XMP.decode())
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "a" * 2_000_000, zip=True)
    body, end = png[:-_PNG_END], png[-_PNG_END:]
    block = exif(6).tobytes().removeprefix(b"Exif\0\0")
    _, deep_colour = cv2.imencode(".png", np.dstack([_DEEP] * 3))
    floats = _DEEP.astype(np.float32)
    broken = floats.copy()
    broken[3, 3] = np.nan
    found = {
        "plain.png": png,
        "plain.jpg": jpeg,
        "plain.bmp": saved(RGB, "BMP"),
        "plain.tif": saved(RGB, "TIFF"),
        "plain.webp": saved(RGB, "WEBP", lossless=True),
        "plain.ppm.png": saved(RGB, "PPM"),
        "jpeg2000.jpg": saved(RGB, "JPEG2000"),
        "avif.png": saved(RGB, "AVIF"),
        "icon.png": saved(RGB, "ICO", sizes=[SIZE]),
        "targa.png": saved(RGB, "TGA"),
        "jpeg.png": jpeg,
        "png.jpg": png,
        "gif.png": saved(frames[0], "GIF"),
        "cmyk.jpg": saved(cmyk, "JPEG"),
        "cmyk.tif": saved(cmyk, "TIFF"),
        "lab.tif": saved(RGB.convert("LAB"), "TIFF"),
        "ycc.tif": saved(RGB.convert("YCbCr"), "TIFF"),
        "grey.png": saved(grey),
        "grey_alpha.png": saved(RGB.convert("LA")),
        "alpha.png": saved(RGB.convert("RGBA")),
        "palette.png": saved(RGB.convert("P")),
        "palette_clear.png": saved(RGB.convert("P"), transparency=3),
        "bits.png": saved(RGB.convert("1")),
        "group4.tif": saved(RGB.convert("1"), "TIFF", compression="group4"),
        "interlaced.jpg": saved(RGB, "JPEG", progressive=True),
        "deep_grey.png": saved(Image.fromarray(_DEEP)),
        "deep_grey.tif": saved(Image.fromarray(_DEEP), "TIFF"),
        "deep_colour.png": deep_colour.tobytes(),
        "floats.tif": saved(Image.fromarray(floats), "TIFF"),
        "not_a_number.tif": saved(Image.fromarray(broken), "TIFF"),
        "whole_numbers.tif": saved(Image.fromarray(_DEEP.astype(np.int32) - 9), "TIFF"),
        "animated.gif.png": saved(frames[0], "GIF", **several, duration=10),
        "animated.png": saved(coloured[0], save_all=True, append_images=coloured[1:]),
        "animated_cover.png": saved(
            RGB, save_all=True, append_images=coloured, default_image=True
        ),
        "animated.webp": saved(coloured[0], "WEBP", save_all=True, append_images=coloured[1:]),
        "pages.tif": saved(frames[0], "TIFF", **several),
        "stereo.jpg": saved(coloured[0], "MPO", save_all=True, append_images=coloured[1:]),
        "turned_late.png": body + chunk(b"eXIf", block) + end,
        "turned_xmp.png": saved(RGB, pnginfo=xmp),
        "turned_xmp_late.png": body
        + chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + _XMP)
        + end,
        "turned_xmp.jpg": saved(RGB, "JPEG", xmp=_XMP),
        "turned_by_a_text.jpg": jpeg[:2]
        + b"\xff\xe1\x00\x22Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x02\0\0\x006\0\0\0\0\0\0\0"
        + jpeg[2:],
        "turned_nine.jpg": saved(RGB, "JPEG", exif=exif(9)),
        "turned_zero.png": saved(RGB, exif=exif(0)),
        "exif_of_noise.jpg": saved(RGB, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12"),
        "exif_in_a_ring.jpg": saved(RGB, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0\x08\0\0\0"),
        "pixel.png": saved(RGB.crop((0, 0, 1, 1))),
        "row.png": saved(RGB.resize((20_000, 1))),
        "column.png": saved(RGB.resize((1, 20_000))),
        "thin.png": saved(RGB.resize((200, 1))),
        "nothing.png": b"",
        "zeros.png": bytes(5_000),
        "noise.jpg": _RNG.bytes(3_000),
        "signature.png": b"\x89PNG\r\n\x1a\n",
        "start.jpg": b"\xff\xd8\xff",
        "no_width.png": png_of(0, 10),
        "bomb.png": png_of(100_000, 100_000),
        "bomb_in_sight.png": png_of(13_000, 13_000),  # within Pillow's limit, a lie
        "bomb.gif.png": b"GIF89a\xff\xff\xff\xff\xf0\0\0"
        + bytes(6)
        + b",\0\0\0\0\xff\xff\xff\xff\0\x02\0;",
        "bomb.bmp": saved(RGB, "BMP")[:18] + struct.pack("<ii", 2**31 - 1, 2**31 - 1) + bytes(100),
        "text_bomb.png": saved(RGB, pnginfo=text),
        "vector.svg.png": b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>',
        "vector.png": b'<?xml version="1.0"?><!DOCTYPE s [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
        b"<svg>&a;</svg>",
        "page.html.png": b"<html><script>alert(1)</script></html>",
        "document.png": b"%PDF-1.7\n1 0 obj<<>>endobj\n%%EOF",
        "archive.png": b"PK\x03\x04" + bytes(100),
        "program.png": b"#!/bin/sh\ntouch hacked\n",
        "postscript.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 61 43\n%%EndComments\n"
        b"(hacked) (w) file closefile showpage\n%%EOF\n",
        "metafile.png": b"\xd7\xcd\xc6\x9a" + bytes(40),
        "weather.png": b"GRIB" + bytes(3) + b"\x01" + bytes(60),
        "pickle.png": b"\x80\x04\x95\x1a" + bytes(7) + b"\x8c\x05posix\x94\x8c\x06system\x94",
        "pointer.jpg": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        "polyglot_page.png": png + b"<script>alert(1)</script>",
        "polyglot_archive.jpg": jpeg + b"PK\x03\x04" + bytes(30),
        "polyglot_both.png": png + jpeg,
        "polyglot_gif.js.png": saved(frames[0], "GIF") + b"=1;alert(1)//",
        "wrong_sum.png": png[:40] + bytes([png[40] ^ 1]) + png[41:],
        "without_end.png": body,
        "two_headers.png": png[:33] + png[8:],
    }  # fmt: skip
    for turn in range(1, 9):
        found[f"turned_{turn}.jpg"] = saved(RGB, "JPEG", quality=95, exif=exif(turn))
        found[f"turned_{turn}.png"] = saved(RGB, exif=exif(turn))
        found[f"turned_{turn}.webp"] = saved(RGB, "WEBP", lossless=True, exif=exif(turn))
        found[f"turned_{turn}.tif"] = saved(RGB, "TIFF", exif=exif(turn))
    return found


def damaged(seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """File names and contents: sound ones cut, zeroed, written over or under a wrong name."""
    rng = random.Random(seed)
    # Of a damaged fax, libtiff gives what stood in memory: never the same twice.
    sound = {
        name: content
        for name, content in kinds().items()
        if 100 < len(content) < 30_000 and name != "group4.tif"
    }
    for number in range(count):
        name = rng.choice(sorted(sound))
        content = bytearray(sound[name])
        place = rng.randrange(len(content))
        how = rng.choice(["cut", "byte", "bytes", "zeros", "doubled", "suffix"])
        if how == "cut":
            del content[place:]
        elif how == "byte":
            content[place] ^= 1 << rng.randrange(8)
        elif how == "bytes":
            content[place : place + 8] = rng.randbytes(8)
        elif how == "zeros":
            content[place : place + 200] = bytes(200)
        elif how == "doubled":
            content[place:place] = content[place // 2 : place]
        suffix = rng.choice([".png", ".jpg", ".webp", ".tif", ".bmp"])
        stem, _, own = name.partition(".")
        yield f"{number:03d}_{how}_{stem}{suffix if how == 'suffix' else '.' + own}", bytes(content)


def special_files(folder: Path) -> list[Path]:
    """What has an image's name and is no file: a folder, pipes, devices, links that lead away."""
    outside = folder.parent / "outside.png"
    outside.write_bytes(saved(RGB.resize((50, 40))))
    (folder / "folder.png").mkdir()
    os.mkfifo(folder / "pipe.png")
    links = {
        "device.png": "/dev/zero", "random.jpg": "/dev/urandom", "terminal.png": "/dev/tty",
        "dangling.png": "gone.png", "ring.png": "ring.png", "link_to_pipe.png": "pipe.png",
        "out.png": "../outside.png", "system.png": "/etc/passwd", "to_folder.png": "folder.png",
    }  # fmt: skip
    for name, target in links.items():
        (folder / name).symlink_to(target)
    return [folder / name for name in ("folder.png", "pipe.png", *links)]
