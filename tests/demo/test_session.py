"""What a session keeps, draws and exports."""

import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from anomalyr1.data.making.builder import build_benchmark
from anomalyr1.data.making.sources.catalogue import read_source
from anomalyr1.data.mmad import load_benchmark
from anomalyr1.demo.session import FORMS, Entry, drawn, entry_of, export, with_entry
from anomalyr1.demo.upload_limits import Limits
from anomalyr1.errors import InputError
from anomalyr1.schema import Box

LIMITS = Limits(kept=3)
BOX = Box(40, 20, 80, 50, "<hole>")


@pytest.fixture(scope="module")
def entry(inspector, tmp_path_factory) -> Entry:
    """An inspection by the policy, whose box is one that is known."""
    file = tmp_path_factory.mktemp("uploads") / "a <b>.png"
    Image.new("RGB", (160, 120), (100, 100, 100)).save(file)
    found = inspector.inspect(file)
    mask = np.zeros((120, 160), bool)
    mask[20:50, 40:80] = True
    return entry_of(file, (), replace(found, name=file.name, boxes=(BOX,), mask=mask))


def test_a_small_image_is_drawn_large_and_a_large_one_small():
    assert drawn(Image.new("RGB", (16, 8))).size == (720, 360)
    assert drawn(Image.new("RGB", (4000, 1))).size == (1600, 1)
    assert drawn(Image.new("RGB", (900, 1000))).size == (900, 1000)


@pytest.mark.parametrize(("opacity", "seen"), [(0, 100), (1, 230), (0.5, 165)])
def test_the_mask_lies_on_the_image_where_it_is(entry, opacity, seen):
    picture = np.asarray(entry.picture(LIMITS, opacity))  # 4.5 times as large
    assert picture.shape == (540, 720, 3)
    assert picture[160, 270, 0] == seen  # inside: (60, 35.5)
    assert picture[400, 270, 0] == 100
    assert max(entry.thumbnail.size) == 160


def test_the_history_keeps_the_newest(entry):
    entries = []
    for number in range(5):
        entries = with_entry(entries, replace(entry, row={"number": number}), LIMITS)
    assert [one.row["number"] for one in entries] == [4, 3, 2]


def test_json_has_all_that_was_found(entry, tmp_path):
    file = export([entry, entry], "json", tmp_path)
    rows = json.loads(file.read_text())
    assert rows == [json.loads(json.dumps(entry.row))] * 2
    assert rows[0]["mask"]["size"] == [120, 160]


@pytest.mark.parametrize("form", ["coco", "label-studio"])
def test_an_archive_comes_back_as_a_benchmark(entry, tmp_path, form):
    with zipfile.ZipFile(export([entry, entry], form, tmp_path)) as archive:
        archive.extractall(tmp_path / "back")
    tasks = tmp_path / "back/tasks.json"
    if form == "label-studio":  # the annotator accepts what was proposed
        accepted = json.loads(tasks.read_text())
        for task in accepted:
            task["annotations"] = [{"result": task["predictions"][0]["result"]}]
        tasks.write_text(json.dumps(accepted))
    build_benchmark(read_source(form, tmp_path / "back"), tmp_path / "bench")
    samples = load_benchmark(tmp_path / "bench").samples
    assert len(samples) == 2
    for sample in samples:
        [box] = sample.boxes
        assert box.label == "<hole>" and box.xyxy == pytest.approx(BOX.xyxy)


def test_nothing_to_export_is_told(entry, tmp_path):
    for form in FORMS:
        with pytest.raises(InputError, match="inspect an image first"):
            export([], form, tmp_path)
    with pytest.raises(InputError, match="form out of json, coco, label-studio"):
        export([entry], "exe", tmp_path)
