import numpy as np
import pytest
from PIL import Image
from source_trees import mask, picture, save

from anomalyr1.data.images import (
    BoxOptions,
    boxes_from_mask,
    image_size,
    open_image,
    read_mask,
)
from anomalyr1.errors import InputError
from anomalyr1.schema import Box


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_exif_orientation(tmp_path, orientation, suffix):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{suffix}"
    Image.new("RGB", (40, 20)).save(path, exif=exif)
    expected = (20, 40) if orientation >= 5 else (40, 20)
    assert image_size(path) == expected == open_image(path).size


def test_sixteen_bit_grey_is_scaled(tmp_path):
    Image.fromarray(np.full((4, 4), 32768, np.uint16)).save(tmp_path / "a.png")
    assert np.asarray(open_image(tmp_path / "a.png")).max() == 128


@pytest.mark.parametrize("read", [open_image, image_size])
def test_broken_and_missing_images_are_named(tmp_path, read):
    with pytest.raises(InputError, match="no such file"):
        read(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"not an image")
    with pytest.raises(InputError, match=r"b\.png"):
        read(tmp_path / "b.png")


def test_a_cut_off_image(tmp_path):
    path = save(tmp_path / "a.jpg", picture(0, (200, 200)))
    path.write_bytes(path.read_bytes()[:1500])
    with pytest.raises(InputError, match="does not decode"):
        open_image(path)


def test_a_red_mask_counts(tmp_path):
    """DS-MVTec's masks are red on black."""
    pixels = np.zeros((10, 10, 3), np.uint8)
    pixels[2:4, 5:8, 0] = 1
    assert read_mask(save(tmp_path / "m.png", pixels)).sum() == 6


def test_a_directory_is_the_union(tmp_path):
    save(tmp_path / "m/000.png", mask((0, 0, 2, 2)))
    save(tmp_path / "m/001.png", mask((10, 10, 12, 12)))
    assert read_mask(tmp_path / "m").sum() == 8


def test_masks_of_different_sizes_in_a_directory(tmp_path):
    save(tmp_path / "m/000.png", mask(size=(4, 4)))
    save(tmp_path / "m/001.png", mask(size=(5, 4)))
    with pytest.raises(InputError, match="masks of one size"):
        read_mask(tmp_path / "m")


def test_png_is_tried(tmp_path):
    save(tmp_path / "m.png", mask((0, 0, 2, 2)))
    assert read_mask(tmp_path / "m.jpg").sum() == 4
    with pytest.raises(InputError, match="no such file"):
        read_mask(tmp_path / "other.jpg")


def test_nearest_resize(tmp_path):
    save(tmp_path / "m.png", mask((0, 0, 2, 4), size=(4, 4)))
    resized = read_mask(tmp_path / "m.png", (8, 4))
    assert resized.shape == (4, 8) and resized[:, :4].all() and not resized[:, 4:].any()


@pytest.mark.parametrize(
    ("marked", "options", "expected"),
    [
        ([], BoxOptions(), []),
        # x2 and y2 are exclusive
        ([(3, 2, 7, 5)], BoxOptions(), [(3, 2, 7, 5)]),
        # two parts 6 pixels apart stay two at a distance of 5
        (
            [(0, 0, 4, 4), (10, 0, 14, 4)],
            BoxOptions(merge_distance=5),
            [(0, 0, 4, 4), (10, 0, 14, 4)],
        ),
        ([(0, 0, 4, 4), (10, 0, 14, 4)], BoxOptions(merge_distance=6), [(0, 0, 14, 4)]),
        # a chain: each link is near the next one only
        (
            [(0, 0, 4, 4), (8, 0, 12, 4), (16, 0, 20, 4)],
            BoxOptions(merge_distance=4),
            [(0, 0, 20, 4)],
        ),
        # specks go, but never the last component
        ([(0, 0, 4, 4), (30, 30, 31, 31)], BoxOptions(min_area=9), [(0, 0, 4, 4)]),
        ([(30, 30, 31, 31)], BoxOptions(min_area=9), [(30, 30, 31, 31)]),
        # area is that of the merged component: two specks of 5 pixels make 10
        ([(0, 0, 5, 1), (7, 0, 12, 1)], BoxOptions(min_area=10), [(0, 0, 12, 1)]),
    ],
)
def test_boxes_from_mask(marked, options, expected):
    assert [box.xyxy for box in boxes_from_mask(mask(*marked) > 0, options)] == expected


def test_connectivity():
    diagonal = mask((0, 0, 4, 4), (4, 4, 8, 8)) > 0
    eight = BoxOptions(8, merge_distance=0)
    four = BoxOptions(4, merge_distance=0)
    assert boxes_from_mask(diagonal, eight) == (Box(0, 0, 8, 8),)
    # a distance of 0 joins boxes that touch in a corner, as these do
    assert len(boxes_from_mask(diagonal, four)) == 2


def test_labels_and_refused_options():
    assert boxes_from_mask(mask((0, 0, 4, 4)) > 0, label="dent")[0].label == "dent"
    with pytest.raises(InputError, match="connectivity 4 or 8"):
        BoxOptions(connectivity=6)
    with pytest.raises(InputError, match="min_area"):
        BoxOptions(min_area=0)
