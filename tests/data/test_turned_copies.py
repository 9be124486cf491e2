"""Mirrored, turned and brightened copies are found; other images are not."""

import io

import numpy as np
import pytest
from PIL import Image
from source_trees import picture

from anomalyr1.data.fingerprint import fingerprint_of
from anomalyr1.data.turned_copies import TURNS, copies, turned_pairs

WAYS = {
    "mirrored": lambda a: a[:, ::-1],
    "mirrored upside down": lambda a: a[::-1],
    "turned by 180 degrees": lambda a: a[::-1, ::-1],
    "turned by 90 degrees": lambda a: np.rot90(a),
    "turned by 270 degrees": lambda a: np.rot90(a, 3),
    "mirrored and turned by 90 degrees": lambda a: a.swapaxes(0, 1),
    "mirrored and turned by 270 degrees": lambda a: np.rot90(a, 2).swapaxes(0, 1),
}


def photo(seed: int) -> np.ndarray:
    noise = np.random.default_rng(1000 + seed).normal(0, 8, (200, 240, 3))
    return np.clip(picture(seed, (240, 200)) + noise, 0, 255).astype(np.uint8)


def seen(pixels: np.ndarray, quality: int | None = 80):
    image = Image.fromarray(np.ascontiguousarray(pixels))
    if quality is not None:
        data = io.BytesIO()
        image.save(data, "jpeg", quality=quality)
        image = Image.open(data).convert("RGB")
    return fingerprint_of(image, "")


def test_the_ways_are_all_there_are():
    assert set(WAYS) == set(TURNS)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("swapped", [False, True])
def test_a_turned_copy_is_found_with_its_way(way, swapped):
    for seed in range(5):
        pair = [seen(photo(seed), None)], [seen(WAYS[way](photo(seed)))]
        ((_, _, bits, found),) = copies(*(pair[::-1] if swapped else pair))
        assert found and bits <= 15
        quarter = "90" in way or "270" in way
        if not (quarter and swapped and "mirrored" not in way):  # turned back is the other turn
            assert found == way


@pytest.mark.parametrize("factor", [0.75, 0.85, 1.15])
def test_a_brighter_or_darker_copy_is_found(factor):
    for seed in range(5):
        pixels = np.clip(photo(seed) * factor, 0, 255).astype(np.uint8)
        assert copies([seen(photo(seed))], [seen(pixels)])


def test_other_images_are_far():
    prints = [seen(photo(seed)) for seed in range(30)]
    assert [pair for pair in copies(prints, prints) if pair[0] != pair[1]] == []


def test_each_pair_once_and_nothing_against_nothing():
    even = np.full((64, 64, 3), 7, np.uint8)
    even[16:48, 16:48] = 200  # equal to all of its turned copies
    prints = [seen(photo(1)), seen(even)]
    pairs = copies(prints, prints)
    assert len({pair[:2] for pair in pairs}) == len(pairs)
    assert all(turn == "" for a, b, _, turn in pairs if a == b)
    assert copies([], prints) == [] == turned_pairs(prints, [])
