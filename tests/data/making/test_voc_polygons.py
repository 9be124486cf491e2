"""Polygons in VOC's XML, as annotation tools write them."""

import annotated_trees as trees
import pytest

from anomalyr1.data.making.sources.catalogue import read_source
from anomalyr1.errors import InputError

RING = [(4, 6), (20, 6), (20, 12), (4, 12)]
BOX = "<bndbox><xmin>4</xmin><ymin>6</ymin><xmax>20</xmax><ymax>12</ymax></bndbox>"
NUMBERED = "".join(f"<x{n}>{x}</x{n}><y{n}>{y}</y{n}>" for n, (x, y) in enumerate(RING, start=1))
POINTS = "".join(f"<pt><x>{x}</x><y>{y}</y></pt>" for x, y in RING)
LABELME = f"<username>anonymous</username>{POINTS}"  # of LabelMe's web tool


def read(folder, polygon, more=""):
    """The only image of a tree, whose object has this polygon."""
    trees.pictures(folder, trees.DRAWN[:1])
    trees.write(
        folder / "a.xml",
        f"<annotation><filename>\na.png\n</filename><object><name>dent</name>{more}"
        f"<polygon>{polygon}</polygon></object></annotation>",
    )
    (item,) = read_source("voc", folder).items
    return item


@pytest.mark.parametrize("polygon", [NUMBERED, LABELME, POINTS])
def test_the_corners_of_a_polygon(tmp_path, polygon):
    item = read(tmp_path, polygon)
    assert item.shapes[0].rings == (tuple(v for point in RING for v in point),)
    assert item.boxes[0].xyxy == (4, 6, 20, 12) and item.defects == ("dent",)


def test_more_than_nine_corners_stay_in_their_order(tmp_path):
    ring = [(n, n * n / 4) for n in range(12)]
    texts = [f"<x{n}>{x}</x{n}><y{n}>{y}</y{n}>" for n, (x, y) in enumerate(ring, start=1)]
    item = read(tmp_path, "".join(sorted(texts)))  # as text x10 comes before x2
    assert item.shapes[0].rings == (tuple(v for point in ring for v in point),)


def test_what_was_deleted_in_the_web_tool_is_no_defect(tmp_path):
    assert read(tmp_path, LABELME, "<deleted>0</deleted>").defects == ("dent",)
    item = read(tmp_path, LABELME, "<deleted>1</deleted>")
    assert item.normal and not item.boxes


def test_a_box_stands_for_an_empty_polygon(tmp_path):
    assert read(tmp_path, "", BOX).boxes[0].xyxy == (4, 6, 20, 12)


@pytest.mark.parametrize(
    ("polygon", "said"),
    [
        (LABELME.replace("<x>4</x>", "<x>left</x>"), "a number for x at object 1 of .*a.xml"),
        (LABELME.replace("<x>4</x>", ""), "a number for x at object 1 of .*a.xml"),
        ("<username>anonymous</username><pt><x>1</x><y>2</y></pt>", "three corners or more at obj"),
        (f"<username>a</username>{NUMBERED}", "object 1 of .*a.xml, found <username>; mend"),
        (NUMBERED.replace("x1>", "xa>"), "object 1 of .*a.xml, found <xa>; mend"),
        (NUMBERED.replace("x1>", "x-1>"), "object 1 of .*a.xml, found <x-1>; mend"),
        ("<username>anonymous</username>", "expected <bndbox> in object 1"),
    ],
)
def test_a_polygon_that_cannot_be_read_is_refused_by_name(tmp_path, polygon, said):
    with pytest.raises(InputError, match=said):
        read(tmp_path, polygon)
