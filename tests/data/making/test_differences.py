"""`data build --differences`: what an image's own template does not show is painted bright."""

from dataclasses import replace

import numpy as np
import pytest
from pictures import save

from anomalyr1.data.images import open_image
from anomalyr1.data.making.builder import BuildOptions, build_benchmark
from anomalyr1.data.making.differences import differing
from anomalyr1.data.making.sources.item import Item, Source
from anomalyr1.data.mmad import load_benchmark
from anomalyr1.errors import InputError
from anomalyr1.schema import Box

BLOCK = (slice(10, 16), slice(20, 30))
FAINT = (slice(30, 36), slice(20, 30))


def pair(folder, name, size=(40, 40)):
    """A board with a defect, a faint patch and an edge shifted by two pixels, and its template."""
    template = np.full((*size, 3), 52, np.uint8)
    template[:, :8] = 204
    board = template.copy()
    board[:, 6:8] = 52
    board[BLOCK] = (52, 255, 52)  # one channel tells
    board[FAINT] = 52 + 75  # 0.29 of the full scale
    save(folder / f"{name}_temp.png", template)
    save(folder / f"{name}_test.png", board)
    return Item(
        file=folder / f"{name}_test.png",
        dataset="Boards",
        category="pcb",
        folder="short",
        name=f"{name}.png",
        product="board",
        defects=("short",),
        boxes=(Box(20, 10, 30, 16),),
        references=(folder / f"{name}_temp.png",),
    )


def source(*items):
    return Source("boards", "none", "", "", items)


def test_only_what_differs_is_painted(tmp_path):
    board = pair(tmp_path, "a")
    with differing(source(board), True, tmp_path) as found:
        (item,) = found.items
        shown, template = (np.asarray(open_image(f)) for f in (item.file, *item.references))
        assert (item.name, item.boxes) == (board.name, board.boxes)
    dark, light, faint = (round(0.25 * 255 + 0.25 * grey) for grey in (52, 204, 127))
    wanted = np.full((40, 40, 3), dark)
    wanted[:, :8] = light
    assert np.array_equal(template, wanted)
    wanted[:, 6:8] = dark  # the edge as it is, unpainted
    wanted[FAINT] = faint
    wanted[BLOCK] = round(0.95 * 255)
    assert np.array_equal(shown, wanted)
    assert sorted(f.name for f in tmp_path.iterdir()) == ["a_temp.png", "a_test.png"]


def test_a_benchmark_is_built_of_the_painted_images(tmp_path):
    items = [pair(tmp_path / "pcb", name) for name in "ab"]
    options = BuildOptions(differences=True)
    bench = load_benchmark(build_benchmark(source(*items), tmp_path / "out", options))
    assert bench.manifest["options"]["differences"]
    for sample in bench.samples:
        pixels = np.asarray(open_image(sample.root / sample.image))
        assert (pixels[BLOCK] == 242).all() and (pixels[20:] < 242).all()


@pytest.mark.parametrize("spoil", ["alone", "size"])
def test_without_an_aligned_template_nothing_is_built(spoil, tmp_path):
    good, bad = pair(tmp_path, "a"), pair(tmp_path, "b")
    if spoil == "alone":
        bad = replace(bad, references=())
        wanted = "expected an aligned reference for each image, found 1 image without one"
    else:
        save(bad.references[0], np.zeros((40, 50, 3), np.uint8))
        wanted = "expected a template of its size, 40 x 40, found 50 x 40"
    with pytest.raises(InputError, match=wanted) as refused:
        build_benchmark(source(good, bad), tmp_path / "out", BuildOptions(differences=True))
    assert "b_test.png" in str(refused.value) and "leave out --differences" in str(refused.value)
    assert not (tmp_path / "out").exists()
