"""`data build auto`: every form is seen as itself and built, several and none are told."""

import annotated_trees
import pytest
import source_trees
from typer.testing import CliRunner

from anomalyr1.cli.data import app
from anomalyr1.data.making.row_benchmark import ROW_FORMS
from anomalyr1.data.making.sources.catalogue import SOURCES
from anomalyr1.data.making.sources.recognise import FORMS, choose_source, recognise
from anomalyr1.errors import InputError

TREES = {
    "mvtec": source_trees.mvtec,
    "loco": source_trees.loco,
    "goodsad": source_trees.goodsad,
    "visa": source_trees.visa_raw,
    "btad": annotated_trees.btad,
    "real-iad": source_trees.real_iad,
    "deeppcb": source_trees.deeppcb,
    "magnetic-tile": source_trees.magnetic_tile,
    "elpv": source_trees.elpv,
    "coco": source_trees.coco,
    "folder": source_trees.own_folder,
    **annotated_trees.FORMS,
}
MORE = {
    "mvtec": source_trees.mvtec_ad2,
    "visa": source_trees.visa_1cls,
    "real-iad": annotated_trees.real_iad_variety,
}


def test_every_source_has_a_form_and_a_tree():
    assert {*SOURCES, *ROW_FORMS} == set(FORMS)
    assert set(SOURCES) == set(TREES)


@pytest.mark.parametrize(("name", "make"), [*TREES.items(), *MORE.items()])
def test_every_form_is_seen_as_itself_alone(tmp_path, name, make):
    assert list(recognise(make(tmp_path / "tree"))) == [name]


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("yolo", "data.yaml"),
        ("label-studio", "export.json"),
        ("cvat", "annotations.xml"),
        ("rle-csv", "train.csv"),
        ("manifest", "train.manifest"),
        ("coco", "annotations.json"),
    ],
)
def test_a_file_is_seen_too(tmp_path, name, file):
    assert choose_source(TREES[name](tmp_path / "tree") / file)[0] == name


def run(*arguments):
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if isinstance(result.exception, InputError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_auto_says_what_it_sees_and_builds_it(tmp_path):
    root = annotated_trees.yolo(tmp_path / "tree")
    (root / "valid/labels/n1.txt").unlink()
    said = run("build", "auto", root, "--out", tmp_path / "out")
    assert "read as yolo: 5 images, 4 YOLO label files, 1 images without one, sides train" in said
    assert "sides: 3 train, 1 valid" in said
    assert "left out: 1 images without an annotation" in said
    assert (tmp_path / "out/mmad.json").is_file()


def test_two_readings_are_told_and_nothing_is_built(tmp_path):
    root = annotated_trees.yolo(tmp_path / "tree")
    source_trees.coco(root)
    with pytest.raises(InputError, match=r"found 2: `data build coco` .*; `data build yolo` "):
        run("build", "auto", root, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_unknown_form_says_what_was_looked_for(tmp_path):
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/notes.txt").write_text("hello")
    with pytest.raises(InputError) as caught:
        choose_source(tmp_path / "tree")
    assert all(f"{name}: " in str(caught.value) for name in FORMS)
    with pytest.raises(InputError, match="no such folder"):
        choose_source(tmp_path / "nowhere")


@pytest.mark.parametrize("name", FORMS)
def test_looking_at_a_strangers_tree_never_fails(tmp_path, name):
    """Empty files, folders called like files, binary content, broken text."""
    for file in ("a.json", "a.xml", "a.csv", "a.manifest", "labels.csv", "data.yaml", "a.jsonl"):
        (tmp_path / file).write_bytes(b"")
    (tmp_path / "b.json").mkdir()
    (tmp_path / "images").mkdir()
    (tmp_path / "images/x.png").write_bytes(b"\xff\x00")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/x.txt").write_bytes(b"\xff\x00")
    (tmp_path / "c.json").write_bytes(b"\xff\xfe[\x00{\x00")
    FORMS[name][0](tmp_path)
