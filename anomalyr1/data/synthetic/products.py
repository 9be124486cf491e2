"""Six products, drawn anew for every image: layout, tone and texture differ, the kind stays.

Every function takes a random generator and the canvas size in pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import cv2
import numpy as np

from anomalyr1.data.questions import Fact
from anomalyr1.data.synthetic.scene import (
    Alpha,
    Canvas,
    Color,
    Scene,
    bevel,
    blur,
    box,
    clouds,
    drop_shadow,
    ellipse,
    jitter,
    line,
    noise,
    over,
    plain,
    polygon,
    shade,
)

Generator = np.random.Generator
Place = tuple[float, float, float, float]  # x and y of the centre, half width, half height

FABRICS: Mapping[str, Color] = {
    "blue": (0.22, 0.33, 0.52),
    "beige": (0.70, 0.62, 0.48),
    "green": (0.33, 0.45, 0.30),
    "red": (0.55, 0.22, 0.24),
}
CAPS: Mapping[str, Color] = {
    "red": (0.78, 0.20, 0.18),
    "blue": (0.18, 0.36, 0.72),
    "green": (0.20, 0.56, 0.32),
    "orange": (0.90, 0.52, 0.15),
}
LOGOS: Mapping[str, Color] = {
    "red": (0.75, 0.16, 0.16),
    "blue": (0.12, 0.30, 0.62),
    "green": (0.12, 0.48, 0.26),
    "black": (0.12, 0.12, 0.13),
}


def brushed_metal(rng: Generator, n: int) -> Scene:
    """A brushed plate with a screw in each corner."""
    tone = rng.uniform(0.58, 0.70)
    image = plain(n, jitter(rng, (tone, tone, tone * 1.02), 0.015))
    streaks = 0.6 * noise(rng, n, (n, 3)) + 0.4 * noise(rng, n, (n // 3, 9))
    image = shade(image, 0.055 * streaks + 0.025 * noise(rng, n, (3, 2)))
    edge = 1 - box(n, 0.02 * n, 0.02 * n, 0.98 * n, 0.98 * n)
    image = shade(image, -0.35 * blur(edge, 0.006 * n))
    inset, radius = rng.uniform(0.13, 0.16) * n, rng.uniform(0.062, 0.07) * n
    corners = [(x, y) for y in (inset, n - inset) for x in (inset, n - inset)]
    heads = [ellipse(n, at, radius, radius) for at in corners]
    sinks, slots = np.zeros((n, n), np.float32), np.zeros((n, n), np.float32)
    for at in corners:
        ellipse(n, at, 0.62 * radius, 0.62 * radius, onto=sinks)
        turn = rng.uniform(0, np.pi)
        for angle in (turn, turn + np.pi / 2):
            dx, dy = 0.62 * radius * np.cos(angle), 0.62 * radius * np.sin(angle)
            line(n, [(at[0] - dx, at[1] - dy), (at[0] + dx, at[1] + dy)], 0.016 * n, slots)
    bare = over(image, (0.09, 0.09, 0.10), sinks)
    bare = shade(bare, 0.25 * bevel(-sinks, 0.01 * n))
    screws = np.asarray(np.max(heads, axis=0), np.float32)
    image = drop_shadow(bare, screws, 0.012 * n)
    image = over(image, jitter(rng, (0.52, 0.53, 0.55), 0.02), screws)
    image = shade(image, 0.35 * bevel(screws, 0.012 * n) * screws)
    image = over(image, (0.16, 0.16, 0.17), slots)
    details = Fact(
        "Object Structure",
        "What is in each corner of the plate?",
        "a screw position",
        ("a printed number", "a rubber foot", "a wire"),
    )
    return Scene(image, bare, _margin(n, 0.05), tuple(heads), (details,))


def woven_fabric(rng: Generator, n: int) -> Scene:
    """A plain weave of one colour."""
    name = str(rng.choice(list(FABRICS)))
    threads = int(rng.integers(24, 30))
    y, x = np.mgrid[0:n, 0:n].astype(np.float32) * threads / n
    x = x + 0.12 * noise(rng, n, 6)
    y = y + 0.12 * noise(rng, n, 6)
    warp = np.abs(np.sin(np.pi * x))
    weft = np.abs(np.sin(np.pi * y))
    warp_on_top = (np.floor(x) + np.floor(y)) % 2 == 0
    height = np.where(warp_on_top, warp * (0.55 + 0.45 * weft), weft * (0.55 + 0.45 * warp))
    tilt = np.where(warp_on_top, 0.05, -0.05)
    image = plain(n, jitter(rng, FABRICS[name], 0.02))
    image = shade(image, np.asarray(0.75 * height - 0.42 + tilt, dtype=np.float32))
    image = shade(image, 0.05 * noise(rng, n, (n // 2, 4)) + 0.03 * clouds(rng, n))
    color = Fact(
        "Object Details", "Which colour does the fabric have?", name, _others(FABRICS, name)
    )
    return Scene(image, image, _margin(n, 0.04), (), (color,))


def ceramic_tile(rng: Generator, n: int) -> Scene:
    """Four marbled tiles that meet in a cross of grout."""
    image = plain(n, jitter(rng, (0.80, 0.78, 0.73), 0.04))
    tiles = np.zeros((n, n), np.float32)
    cx, cy = rng.uniform(0.42, 0.58, 2) * n
    gap = 0.013 * n
    veins = np.zeros((n, n), np.float32)
    for x1, x2 in ((-n, cx - gap), (cx + gap, 2 * n)):
        for y1, y2 in ((-n, cy - gap), (cy + gap, 2 * n)):
            tile = box(n, x1, y1, x2, y2)
            tiles += tile
            soft = clouds(rng, n, 3, 3)
            veins += tile * (0.035 * soft + 0.03 * np.exp(-((soft / 0.12) ** 2)) * -1.6)
            veins += tile * rng.uniform(-0.025, 0.025)
    image = shade(image, veins)
    grout = shade(plain(n, jitter(rng, (0.50, 0.48, 0.45), 0.03)), 0.10 * noise(rng, n, n // 2))
    image = over(grout, image, tiles)
    image = shade(image, 0.16 * bevel(tiles, 0.008 * n))
    count = Fact(
        "Object Structure", "How many tiles meet in the image?", "four", ("two", "three", "six")
    )
    return Scene(image, image, _margin(n, 0.05), (), (count,))


def circuit_board(rng: Generator, n: int) -> Scene:
    """A green board with traces, pads, two chips and small components."""
    image = plain(n, jitter(rng, (0.09, 0.36, 0.20), 0.03))
    image = shade(image, 0.05 * noise(rng, n, n // 2))
    traces = np.zeros((n, n), np.float32)
    pads = []
    lanes = int(rng.integers(9, 12))
    for lane in range(lanes):
        at = (lane + 0.5) / lanes * n
        bend, step = rng.uniform(0.2, 0.8) * n, rng.choice([-1, 1]) * n / lanes
        slope = bend + abs(step)
        points = [(0.0, at), (bend, at), (slope, at + step), (float(n), at + step)]
        if lane % 2:
            points = [(y, x) for x, y in points]
        line(n, points, rng.uniform(0.008, 0.014) * n, traces)
        pads.append(points[1])
    image = over(image, jitter(rng, (0.20, 0.52, 0.30), 0.02), traces)
    image = shade(image, 0.12 * bevel(traces, 0.003 * n))
    rings, drills = np.zeros((n, n), np.float32), np.zeros((n, n), np.float32)
    for at in pads:
        ellipse(n, at, 0.018 * n, 0.018 * n, onto=rings)
        ellipse(n, at, 0.008 * n, 0.008 * n, onto=drills)
    image = over(image, (0.80, 0.68, 0.36), rings)
    image = over(image, (0.07, 0.08, 0.07), drills)
    slots = rng.permutation([(0.25, 0.27), (0.73, 0.25), (0.27, 0.74), (0.74, 0.72), (0.5, 0.5)])
    places = [
        ((u + rng.uniform(-0.03, 0.03)) * n, (v + rng.uniform(-0.03, 0.03)) * n, w * n, h * n)
        for (u, v), (w, h) in zip(slots, 2 * [(0.11, 0.075)] + 2 * [(0.08, 0.06)], strict=False)
    ]
    bare = _footprints(image, places)
    image = _components(rng, bare, places)
    parts = [box(n, x - w, y - h, x + w, y + h) for x, y, w, h in places]
    base = Fact(
        "Object Details",
        "Which colour does the board have between the traces?",
        "dark green",
        ("white", "blue", "yellow"),
    )
    return Scene(image, bare, _margin(n, 0.05), tuple(parts), (base,))


def _footprints(image: Canvas, places: list[Place]) -> Canvas:
    """Bare pads where the components are to sit, and the printed outline around each."""
    n = len(image)
    outlines, pads = np.zeros((n, n), np.float32), np.zeros((n, n), np.float32)
    for x, y, w, h in places:
        corners = [(x - w, y - h), (x + w, y - h), (x + w, y + h), (x - w, y + h), (x - w, y - h)]
        line(n, corners, 0.006 * n, outlines)
        for side in (-1, 1):
            for k in range(4):
                px, py = x + (k - 1.5) * w * 0.45, y + side * 0.55 * h
                box(n, px - 0.10 * w, py - 0.24 * h, px + 0.10 * w, py + 0.24 * h, pads)
    image = over(image, (0.78, 0.80, 0.76), 0.8 * outlines)
    return over(image, (0.82, 0.72, 0.42), pads)


def _components(rng: Generator, image: Canvas, places: list[Place]) -> Canvas:
    """Two chips with legs and a printed name, then ceramic capacitors between metal ends."""
    n = len(image)
    chips, caps, metal, dots = (np.zeros((n, n), np.float32) for _ in range(4))
    print_ = np.zeros((n, n), np.uint8)
    for index, (x, y, w, h) in enumerate(places):
        box(n, x - w, y - h, x + w, y + h, chips if index < 2 else caps)
        if index >= 2:
            box(n, x - w, y - h, x - 0.6 * w, y + h, metal)
            box(n, x + 0.6 * w, y - h, x + w, y + h, metal)
            continue
        for side in (-1, 1):
            for k in range(6):
                px = x + (k - 2.5) * w * 0.32
                box(n, px - 0.07 * w, y + side * h, px + 0.07 * w, y + side * 1.25 * h, metal)
        ellipse(n, (x - 0.8 * w, y - 0.65 * h), 0.05 * w, 0.05 * w, onto=dots)
        text = f"{rng.choice(list('ADKLMX'))}{rng.integers(100, 999)}"
        at = (round(x - 0.6 * w), round(y + 0.25 * h))
        cv2.putText(print_, text, at, cv2.FONT_HERSHEY_SIMPLEX, w / 62, 255, 1, cv2.LINE_AA)
    bodies = np.asarray(np.maximum(chips, caps), np.float32)
    image = drop_shadow(image, bodies, 0.014 * n)
    image = over(image, jitter(rng, (0.12, 0.12, 0.13), 0.02), chips)
    image = over(image, jitter(rng, (0.62, 0.50, 0.36), 0.04), caps)
    image = over(image, (0.75, 0.76, 0.77), metal)
    image = shade(image, 0.4 * bevel(bodies, 0.008 * n) * bodies)
    image = over(image, (0.4, 0.4, 0.4), dots)
    return over(image, (0.62, 0.62, 0.62), np.asarray(print_ / 320, np.float32))


def capsule(rng: Generator, n: int) -> Scene:
    """Three two-coloured capsules in the pockets of a ribbed belt."""
    name = str(rng.choice(list(CAPS)))
    x = np.arange(n, dtype=np.float32)
    waves = np.sin(x * 2 * np.pi * 22 / n + rng.uniform(0, 6))
    ribs = np.asarray(waves[None].repeat(n, 0), np.float32)
    image = shade(plain(n, jitter(rng, (0.27, 0.28, 0.30), 0.02)), 0.10 * ribs)
    image = shade(image, 0.05 * noise(rng, n, n // 2))
    cap = jitter(rng, CAPS[name], 0.03)
    pockets, color_half, seams = (np.zeros((n, n), np.float32) for _ in range(3))
    profile = np.zeros((n, n), np.float32)
    shapes = []
    flip = rng.random() < 0.5
    for v in (0.19, 0.5, 0.81):
        u, radius = 0.5 + rng.uniform(-0.02, 0.02), 0.103 * n
        _stadium(n, u * n, v * n, 0.37 * n, 0.125 * n, pockets)
        shapes.append(_stadium(n, u * n, v * n, 0.345 * n, radius))
        joint = (u + rng.uniform(-0.03, 0.03)) * n
        sides = (0, joint) if flip else (joint, n)
        box(n, sides[0], v * n - radius, sides[1], v * n + radius, color_half)
        line(n, [(joint, v * n - radius), (joint, v * n + radius)], 0.007 * n, seams)
        rows = slice(int(v * n - radius), int(v * n + radius) + 2)
        across = (np.arange(n, dtype=np.float32)[rows] - v * n) / radius
        profile[rows] = across[:, None]
    bare = over(image, (0.15, 0.155, 0.165), pockets)
    bare = shade(bare, 0.5 * bevel(-pockets, 0.012 * n))
    white = np.asarray(np.max(shapes, axis=0), np.float32)
    image = over(bare, jitter(rng, (0.86, 0.84, 0.78), 0.02), white)
    image = over(image, cap, white * color_half)
    rounding = np.clip(1 - profile**2, 0, 1) ** 0.5 - 0.75
    gloss = np.exp(-(((profile + 0.45) / 0.13) ** 2)) * blur(white, 0.02 * n) ** 3 * white
    image = shade(image, np.asarray(0.5 * rounding * white, np.float32))
    image = over(image, (1.0, 1.0, 1.0), np.asarray(0.55 * gloss, np.float32))
    image = shade(image, -0.3 * seams * white)
    surface = white
    color = Fact(
        "Object Details",
        "Besides white, which colour do the capsules have?",
        name,
        _others(CAPS, name),
    )
    return Scene(image, bare, surface, tuple(shapes), (color,))


def printed_label(rng: Generator, n: int) -> Scene:
    """A paper label with a logo, lines of text and a bar code on cardboard."""
    name = str(rng.choice(list(LOGOS)))
    image = shade(plain(n, jitter(rng, (0.62, 0.47, 0.32), 0.03)), 0.05 * noise(rng, n, (n, 12)))
    paper = box(n, 0.06 * n, 0.08 * n, 0.94 * n, 0.92 * n)
    image = drop_shadow(image, paper, 0.012 * n)
    image = over(image, jitter(rng, (0.90, 0.90, 0.87), 0.02), paper)
    bare = shade(image, 0.012 * noise(rng, n, n // 2))
    x, y, radius = 0.23 * n, 0.27 * n, rng.uniform(0.095, 0.11) * n
    logo = ellipse(n, (x, y), radius, radius)
    sides = [
        (x + 0.6 * radius * np.cos(a), y + 0.6 * radius * np.sin(a)) for a in (-1.57, 0.5, 2.6)
    ]
    ink = over(bare, LOGOS[name], logo)
    ink = over(ink, (0.93, 0.93, 0.90), polygon(n, sides))
    lines = np.zeros((n, n), np.float32)
    for row in range(4):
        left, top = 0.40 * n, (0.20 + 0.075 * row) * n
        while left < rng.uniform(0.78, 0.84) * n:
            right = min(left + rng.uniform(0.05, 0.14) * n, 0.88 * n)
            height = 0.034 if row == 0 else 0.018
            box(n, left, top, right, top + height * n, lines)
            left = right + 0.025 * n
    ink = over(ink, (0.16, 0.16, 0.18), lines)
    bars = np.zeros((n, n), np.float32)
    at = 0.14 * n
    while at < 0.84 * n:
        width = rng.choice([0.008, 0.014, 0.02]) * n
        box(n, at, 0.60 * n, min(at + width, 0.86 * n), 0.80 * n, bars)
        at += width + rng.choice([0.009, 0.014, 0.02]) * n
    ink = over(ink, (0.10, 0.10, 0.11), bars)
    parts = (logo, box(n, 0.13 * n, 0.59 * n, 0.87 * n, 0.81 * n))
    color = Fact(
        "Object Details", "Which colour is the logo printed in?", name, _others(LOGOS, name)
    )
    if rng.random() < 0.5:
        color = Fact(
            "Object Structure",
            "What is printed in the lower half of the label?",
            "a bar code",
            ("a photograph", "a table of numbers", "a warning triangle"),
        )
    return Scene(ink, bare, blur(paper, 1) * _margin(n, 0.12), parts, (color,))


PRODUCTS: Mapping[str, Callable[[Generator, int], Scene]] = {
    "brushed_metal": brushed_metal,
    "woven_fabric": woven_fabric,
    "ceramic_tile": ceramic_tile,
    "circuit_board": circuit_board,
    "capsule": capsule,
    "printed_label": printed_label,
}


def _stadium(
    n: int, x: float, y: float, half: float, radius: float, onto: Alpha | None = None
) -> Alpha:
    """A capsule shape that lies along x."""
    alpha = box(n, x - half + radius, y - radius, x + half - radius, y + radius, onto)
    for side in (-1, 1):
        ellipse(n, (x + side * (half - radius), y), radius, radius, onto=alpha)
    return alpha


def _margin(n: int, share: float) -> Alpha:
    return box(n, share * n, share * n, (1 - share) * n, (1 - share) * n)


def _others(colors: Mapping[str, Color], name: str) -> tuple[str, ...]:
    return tuple(other for other in colors if other != name)
