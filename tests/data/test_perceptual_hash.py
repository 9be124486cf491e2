import io

import numpy as np
import pytest
from PIL import Image
from source_trees import picture, save

from anomalyr1.data.fingerprint import (
    NEAR_BITS,
    Fingerprint,
    fingerprint,
    fingerprint_of,
    near_pairs,
    nearest,
)
from anomalyr1.errors import InputError


def photo(seed: int) -> Image.Image:
    rng = np.random.default_rng(1000 + seed)
    fine = rng.normal(0, 8, (200, 240, 3))
    return Image.fromarray(np.clip(picture(seed, (240, 200)) + fine, 0, 255).astype(np.uint8))


def jpeg(image: Image.Image, quality: int = 70) -> Image.Image:
    data = io.BytesIO()
    image.save(data, "jpeg", quality=quality)
    return Image.open(data).convert("RGB")


CHANGES = {
    "re-encoded": lambda image: image,
    "half size": lambda image: image.resize((120, 100)),
    "2 % off the left": lambda image: image.crop((5, 0, 240, 200)),
    "2 % off the top": lambda image: image.crop((0, 4, 240, 200)),
    "2 % off the right and bottom": lambda image: image.crop((0, 0, 235, 196)),
    "1 % off all round": lambda image: image.crop((2, 2, 238, 198)),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("turned", [False, True])
def test_a_changed_copy_is_near(change, turned):
    for seed in range(6):
        first, second = photo(seed), jpeg(CHANGES[change](photo(seed)))
        pair = [fingerprint_of(first, "")], [fingerprint_of(second, "")]
        assert near_pairs(*(pair[::-1] if turned else pair)), f"{change}, picture {seed}"


def test_other_images_are_far():
    prints = [fingerprint_of(photo(seed), "") for seed in range(20)]
    assert [(a, b) for a, b, _ in near_pairs(prints, prints) if a != b] == []
    assert len(near_pairs(prints, prints, 0)) == 20  # each with itself


def test_nothing_against_nothing():
    assert near_pairs([], []) == [] and nearest(fingerprint_of(photo(0), ""), []) == []


def test_nearest_first():
    others = [fingerprint_of(photo(n), "") for n in (3, 4, 5)]
    assert nearest(fingerprint_of(jpeg(photo(4)), ""), others)[0] == 1


def test_json_round_trip(tmp_path):
    print_ = fingerprint(save(tmp_path / "a.png", picture(0)))
    assert Fingerprint.from_json(print_.as_json(), "a.png") == print_
    assert len(print_.sha256) == 64 and 0 < NEAR_BITS < 128


@pytest.mark.parametrize(
    "value",
    [None, {}, {"sha256": "0" * 64, "phash": "xyz"}, {"sha256": "0" * 64, "phash": "0" * 64}],
)
def test_a_broken_entry_is_refused(value):
    with pytest.raises(InputError, match="expected sha256"):
        Fingerprint.from_json(value, "a.png")
