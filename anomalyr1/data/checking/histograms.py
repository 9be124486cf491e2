"""Horizontal bar charts drawn with Pillow."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

WIDTH = 900
_LABEL, _ROW, _HEAD, _PAD = 260, 22, 40, 16
_INK, _BAR, _PAPER, _LINE = (32, 36, 42), (66, 112, 168), (255, 255, 255), (214, 218, 224)


def bar_chart(title: str, bars: Sequence[tuple[str, int]]) -> Image.Image:
    """One bar a (name, number), on a scale from 0 to the largest."""
    image = Image.new("RGB", (WIDTH, _HEAD + _ROW * max(1, len(bars)) + _PAD), _PAPER)
    draw = ImageDraw.Draw(image)
    bold, small = ImageFont.load_default(16), ImageFont.load_default(13)
    draw.text((_PAD, 10), title, _INK, bold)
    largest = max((number for _, number in bars), default=0) or 1
    room = WIDTH - _LABEL - 90
    for index, (name, number) in enumerate(bars):
        top = _HEAD + index * _ROW
        draw.text((_LABEL - 10, top + 3), _fitted(draw, name, small), _INK, small, anchor="ra")
        draw.line([(_LABEL, top), (_LABEL, top + _ROW)], _LINE)
        end = _LABEL + max(1 if number else 0, round(room * number / largest))
        draw.rectangle([_LABEL, top + 3, end, top + _ROW - 5], _BAR if number else _PAPER)
        draw.text((end + 8, top + 3), f"{number:,}", _INK, small)
    return image


def stack(charts: Sequence[Image.Image]) -> Image.Image:
    """Charts one below the other."""
    page = Image.new("RGB", (WIDTH, sum(chart.height for chart in charts)), _PAPER)
    top = 0
    for chart in charts:
        page.paste(chart, (0, top))
        top += chart.height
    return page


def _fitted(
    draw: ImageDraw.ImageDraw, name: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont
) -> str:
    if draw.textlength(name, font) <= _LABEL - 2 * _PAD:
        return name
    while name and draw.textlength(name + "...", font) > _LABEL - 2 * _PAD:
        name = name[:-1]
    return name + "..."
