"""Boxes go out to annotation tools and come back; what was changed on the way is told."""

import json
import re

import pytest
import source_trees as trees
from hypothesis import example, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from anomalyr1.cli.data import app
from anomalyr1.data.annotation_files import WRITERS, Proposal, write_annotations
from anomalyr1.data.checking.check import check_benchmark
from anomalyr1.data.making.builder import BuildOptions, build_benchmark
from anomalyr1.data.making.corrections import compare, read_proposed
from anomalyr1.data.making.placing import safe_name
from anomalyr1.data.making.sources.catalogue import read_source
from anomalyr1.data.mmad import load_benchmark
from anomalyr1.errors import InputError
from anomalyr1.evaluation.prediction_lines import prediction_to_row
from anomalyr1.schema import ANOMALY_DETECTION, GROUNDING, Box, Prediction
from anomalyr1.storage import write_jsonl

SIZE = (60, 40)  # original; the policy speaks in a frame of twice that
GOLD = {
    "Mine/lid/test/dent/0.png": [(4, 6, 20, 12, "dent"), (30, 20, 44, 36, "dent")],
    "Mine/lid/test/dent/1.png": [(10, 10, 25, 25, "dent")],
    "Mine/lid/test/scratch/0.png": [(40, 30, 60, 40, "scratch")],
    "Mine/lid/test/good/0.png": [],
    "Mine/lid/test/good/1.png": [],
}


@pytest.fixture
def run_folder(tmp_path):
    """A run that predicted, in its own frame: all right but for what the annotator will mend."""
    root, lines = tmp_path / "bench", []
    for number, (key, gold) in enumerate(GOLD.items()):
        trees.save(root / key, trees.picture(number, SIZE))
        boxes = [{"bbox_2d": [2 * v for v in box[:4]], "label": box[4]} for box in gold]
        common = {"image": key, "frame": (120, 80), "size": SIZE}
        lines.append(Prediction(question_index=0, question_type=ANOMALY_DETECTION,
                                options={"A": "Yes", "B": "No"}, answer="A", score=0.25,
                                completion="<answer>A</answer>", **common))  # fmt: skip
        lines.append(Prediction(question_index=1, question_type=GROUNDING, options={}, answer=None,
                                completion=f"<think>x</think><answer>{json.dumps(boxes)}</answer>",
                                **common))  # fmt: skip
    run = tmp_path / "run"
    write_jsonl(run / "predictions.jsonl", [prediction_to_row(line) for line in lines])
    provenance = {"runs": [{"verb": "eval", "data": {"root": str(root)}}]}
    (run / "provenance.json").write_text(json.dumps(provenance))
    return run


def command(*arguments):
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if isinstance(result.exception, InputError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


# What the annotator does in each tool, written as that tool would:
# - dent/0.png: the second dent is removed, a scratch at (50, 0, 60, 10) is added
# - dent/1.png: the dent is moved five pixels to the right
# - scratch/0.png: the scratch becomes a crack
# - good/1.png: a dent is found


def correct_label_studio(folder):
    tasks = json.loads((folder / "tasks.json").read_text())
    for task in tasks:
        name = task["data"]["image"].rsplit("/", 1)[1]
        regions = task.pop("predictions")[0]["result"]
        for region in regions:
            region.pop("score")
        new = json.loads(
            json.dumps(regions[0] if regions else tasks[0]["annotations"][0]["result"][0])
        )
        if "dent__0" in name:
            new["value"] |= {"x": 100 * 50 / 60, "y": 0, "width": 100 / 6, "height": 25}
            new["value"]["rectanglelabels"] = ["scratch"]
            regions = [regions[0], new]
        elif "dent__1" in name:
            regions[0]["value"]["x"] += 100 * 5 / 60
        elif "scratch__0" in name:
            regions[0]["value"]["rectanglelabels"] = ["crack"]
        elif "good__1" in name:
            new["value"] |= {"x": 10, "y": 10, "width": 20, "height": 20}
            regions = [new]
        task["annotations"] = [{"id": 1, "was_cancelled": False, "result": regions}]
    (folder / "tasks.json").write_text(json.dumps(tasks))


def correct_cvat(folder):
    file = folder / "annotations.xml"
    blocks = re.split(r"(?=<image )", file.read_text())
    for number, block in enumerate(blocks):
        boxes = re.findall(r"<box .*?</box>", block)
        if "dent__0" in block:
            new = '<box label="scratch" xtl="50" ytl="0" xbr="60" ybr="10"></box>'
            block = block.replace(boxes[1], new)
        elif "dent__1" in block:
            block = block.replace('xtl="10.00"', 'xtl="15.00"').replace('xbr="25.00"', 'xbr="30"')
        elif "scratch__0" in block:
            block = block.replace('"scratch"', '"crack"')
        elif "good__1" in block:
            new = '<box label="dent" xtl="6" ytl="4" xbr="18" ybr="12"></box>'
            block = block.replace("</image>", f"{new}</image>")
        blocks[number] = block
    file.write_text("".join(blocks))


def correct_coco(folder):
    file = folder / "annotations/instances_default.json"
    content = json.loads(file.read_text())
    names = {image["id"]: image["file_name"] for image in content["images"]}
    labels = {entry["name"]: entry["id"] for entry in content["categories"]}
    content["categories"].append({"id": 9, "name": "crack"})
    kept = []
    for entry in content["annotations"]:
        name = names[entry["image_id"]]
        if "dent__0" in name and entry["bbox"][0] == 30:
            entry |= {"bbox": [50, 0, 10, 10], "category_id": labels["scratch"]}
        elif "dent__1" in name:
            entry["bbox"][0] += 5
        elif "scratch__0" in name:
            entry["category_id"] = 9
        kept.append(entry)
    good = next(n for n, name in names.items() if "good__1" in name)
    kept.append({"id": 99, "image_id": good, "category_id": labels["dent"], "bbox": [6, 4, 12, 8]})
    file.write_text(json.dumps({**content, "annotations": kept}))


def correct_voc(folder):
    def edit(name, *pairs):
        (file,) = folder.glob(f"Annotations/*{name}.xml")
        text = file.read_text()
        for old, new in pairs:
            assert old in text
            text = text.replace(old, new)
        file.write_text(text)

    def corners(x1, y1, x2, y2):
        return f"<xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax>"

    (file,) = folder.glob("Annotations/*dent__0.xml")
    first, second, third = file.read_text().split("<object>")
    file.write_text(f"{first}<object>{second}<object><name>scratch</name><bndbox>"
                    f"{corners(50, 0, 60, 10)}</bndbox></object></annotation>")  # fmt: skip
    assert corners(30, 20, 44, 36) in third
    edit("dent__1", (corners(10, 10, 25, 25), corners(15, 10, 30, 25)))
    edit("scratch__0", ("<name>scratch<", "<name>crack<"))
    edit("good__1", ("</annotation>\n", "<object><name>dent</name><bndbox>"
                     f"{corners(6, 4, 18, 12)}</bndbox></object></annotation>"))  # fmt: skip


def correct_yolo(folder):
    names = folder / "data.yaml"
    names.write_text(names.read_text() + "  2: crack\n")  # 0 dent, 1 scratch
    (file,) = folder.glob("labels/*dent__0.txt")
    file.write_text(file.read_text().splitlines()[0] + f"\n1 {55 / 60} 0.125 {10 / 60} 0.25\n")
    (file,) = folder.glob("labels/*dent__1.txt")
    file.write_text(f"0 {22.5 / 60} {17.5 / 40} 0.25 0.375\n")
    (file,) = folder.glob("labels/*scratch__0.txt")
    file.write_text("2" + file.read_text()[1:])
    (file,) = folder.glob("labels/*good__1.txt")
    file.write_text("0 0.2 0.2 0.2 0.2\n")


CORRECT = {
    "label-studio": correct_label_studio,
    "cvat": correct_cvat,
    "coco": correct_coco,
    "voc": correct_voc,
    "yolo": correct_yolo,
}


@pytest.mark.parametrize("form", WRITERS)
def test_inspect_correct_and_back(run_folder, tmp_path, form):
    sent, back = tmp_path / "sent", tmp_path / "back"
    said = command("export", run_folder, "--out", sent, "--format", form)
    assert "(5 images, 4 boxes)" in said
    CORRECT[form](sent)
    said = command("build", form, sent, "--out", back, "--against", sent)
    assert (
        "boxes against the proposed ones in 5 images: 1 unchanged, 1 moved, 1 relabelled, "
        "2 added, 1 removed" in said
    )
    assert "0 images turned normal, 1 defective" in said
    changes = json.loads((back / "changes.json").read_text())
    told = {(c["kind"], c["image"].split("test/")[1]): c for c in changes["changes"]}
    moved = told["moved", "dent/1.png"]
    # 15 wide, moved by 5: 10 of 20 columns are shared
    assert moved["iou"] == pytest.approx(0.5, abs=1e-5)
    assert moved["before"]["box"] == [10, 10, 25, 25]
    assert moved["after"]["box"] == pytest.approx([15, 10, 30, 25], abs=1e-4)
    relabelled = told["relabelled", "scratch/0.png"]
    assert (relabelled["before"]["label"], relabelled["after"]["label"]) == ("scratch", "crack")
    assert told["removed", "dent/0.png"]["before"]["box"] == [30, 20, 44, 36]
    assert told["added", "dent/0.png"]["after"]["label"] == "scratch"
    assert told["added", "good/1.png"]["iou"] == 0
    kept = (1 + 0.5 + 1) / 3  # unchanged, moved, relabelled
    assert changes["summary"]["mean_iou"] == pytest.approx(kept, abs=1e-4)
    benchmark = load_benchmark(back)
    assert {(s.dataset, s.category) for s in benchmark.samples} == {("Mine", "lid")}
    assert [f for f in check_benchmark(back, near_bits=-1) if f.level == "error"] == []


@pytest.mark.parametrize("form", WRITERS)
def test_what_nobody_touched_is_unchanged(run_folder, tmp_path, form):
    command("export", run_folder, "--out", tmp_path / "sent", "--format", form)
    if form == "label-studio":
        file = tmp_path / "sent/tasks.json"
        tasks = json.loads(file.read_text())
        assert tasks[0]["predictions"][0]["score"] == 0.25
        assert tasks[0]["predictions"][0]["model_version"] == "run"
        for task in tasks:
            task["annotations"] = [{"result": task["predictions"][0]["result"]}]
        file.write_text(json.dumps(tasks))
    said = command("build", form, tmp_path / "sent", "--out", tmp_path / "back",
                   "--against", tmp_path / "sent")  # fmt: skip
    assert "4 unchanged, 0 moved, 0 relabelled, 0 added, 0 removed; mean IoU of the kept 1" in said


@pytest.mark.parametrize("form", WRITERS)
@settings(max_examples=25)
@given(data=st.data())
def test_every_form_carries_every_box(tmp_path_factory, form, data):
    """Export and the reader of the same name are inverse."""
    folder = tmp_path_factory.mktemp("boxes")
    proposals = []
    for number in range(data.draw(st.integers(1, 3))):
        file = trees.save(folder / f"in/{number}.png", trees.picture(number, SIZE))
        boxes = {}  # no two alike: COCO and YOLO take a repetition once
        for _ in range(data.draw(st.integers(0, 3))):
            x = sorted(data.draw(st.tuples(st.integers(0, 118), st.integers(0, 118))))
            y = sorted(data.draw(st.tuples(st.integers(0, 78), st.integers(0, 78))))
            label = data.draw(st.sampled_from(["dent", 'a & "b" <c>', "裂纹", "deep scratch"]))
            boxes[Box(x[0] / 2, y[0] / 2, x[1] / 2 + 1, y[1] / 2 + 1, label)] = None
        proposals.append(Proposal(f"D/c/test/x/{number}.png", file, tuple(boxes)))
    write_annotations(proposals, folder / "sent", form, "a run & more")
    if form == "label-studio":
        annotate(folder / "sent/tasks.json")
    out = build_benchmark(
        read_source(form, folder / "sent"), folder / "out", BuildOptions(reserve=0)
    )
    found = {s.path.name.split("__")[-1]: s.boxes for s in load_benchmark(out).samples}
    for proposal in proposals:
        expected = sorted((b.label, *written(b, form)) for b in proposal.boxes)
        got = sorted((b.label, *(round(v, 4) for v in b.xyxy)) for b in found[proposal.file.name])
        assert [label for label, *_ in got] == [label for label, *_ in expected]
        for (_, *a), (_, *b) in zip(expected, got, strict=True):
            assert a == pytest.approx(b, abs=1e-4)


names = st.text(
    st.one_of(st.characters(categories=("L", "N", "Pc")), st.sampled_from("-. ()[]+,&@=#~%'")),
    min_size=1,
    max_size=12,
).filter(lambda name: safe_name(name) == name and safe_name(f"{name}.png") == f"{name}.png")


@pytest.mark.parametrize("form", WRITERS)
@settings(max_examples=40)
@given(dataset=names, stems=st.lists(names, min_size=1, max_size=3, unique_by=str.casefold))
@example(dataset=" of a blank", stems=["a"])
@example(dataset="A&B #1", stems=["50%", "%41", "a+b", "c#d", "x=1,[2]", "d@~'(e)"])
def test_every_form_carries_every_safe_name(tmp_path_factory, form, dataset, stems):
    """What `data build` names an image, its annotations name too, and their reader finds."""
    folder = tmp_path_factory.mktemp("names")
    boxes = (Box(4, 6, 20, 12, "dent"),)
    proposals = []
    for number, stem in enumerate(stems):
        file = trees.save(folder / f"in/{number}.png", trees.picture(number, SIZE))
        proposals.append(Proposal(f"{dataset}/c/test/dent/{stem}.png", file, boxes))
    write_annotations(proposals, folder / "sent", form, "run")
    if form == "label-studio":
        annotate(folder / "sent/tasks.json")
    found = read_source(form, folder / "sent").items
    sent = sorted(f"{dataset.lstrip()}__c__test__dent__{stem}.png" for stem in stems)
    assert sorted(item.file.name for item in found) == sent
    assert all(item.file.is_file() and len(item.boxes) == 1 for item in found)


def annotate(file):
    """An annotator of Label Studio accepts what is proposed."""
    tasks = json.loads(file.read_text())
    for task in tasks:
        task["annotations"] = [{"result": task.pop("predictions")[0]["result"]}]
    file.write_text(json.dumps(tasks))


def written(box, form):
    """VOC holds whole pixels, at least one; the others hold halves."""
    if form != "voc":
        return box.xyxy
    x1, y1 = min(round(box.x1), SIZE[0] - 1), min(round(box.y1), SIZE[1] - 1)
    return x1, y1, max(round(box.x2), x1 + 1), max(round(box.y2), y1 + 1)


def test_a_benchmark_goes_out_too(tmp_path):
    source = read_source("mvtec", trees.mvtec(tmp_path / "source"))
    build_benchmark(source, tmp_path / "bench")
    said = command("export", tmp_path / "bench", "--out", tmp_path / "sent", "--format", "coco")
    assert "(10 images, 6 boxes)" in said
    command("build", "coco", tmp_path / "sent", "--out", tmp_path / "back")
    old = load_benchmark(tmp_path / "bench").samples
    new = load_benchmark(tmp_path / "back").samples
    assert sum(len(s.boxes) for s in old) == sum(len(s.boxes) for s in new) == 6


@pytest.mark.parametrize(
    ("before", "after", "kinds"),
    [
        ([], [], []),
        ([(0, 0, 9, 9, "a")], [(0.9, 0, 9, 9.9, "a")], ["unchanged"]),  # rounding of a tool
        ([(0, 0, 9, 9, "a")], [(1.1, 0, 9, 9, "a")], ["moved"]),
        ([(0, 0, 9, 9, "a")], [(3, 0, 9, 9, "b")], ["relabelled"]),  # moved as well
        ([(0, 0, 9, 9, None)], [(0, 0, 9, 9, "defect")], ["unchanged"]),  # names no type
        ([(0, 0, 9, 9, "Deep_Scratch")], [(0, 0, 9, 9, "deep scratch")], ["unchanged"]),
        ([(0, 0, 9, 9, "a")], [(20, 20, 29, 29, "a")], ["removed", "added"]),  # no overlap
        ([(0, 0, 9, 9, "a")] * 2, [(0, 0, 9, 9, "a")], ["unchanged", "removed"]),
    ],
)
def test_kinds_of_change(before, after, kinds):
    changes = compare([Box(*b) for b in before], [Box(*b) for b in after])
    assert [change.kind for change in changes] == kinds


def test_what_cannot_go_out_or_be_compared(run_folder, tmp_path):
    with pytest.raises(InputError, match="label-studio, cvat, coco, voc, yolo, found 'excel'"):
        command("export", run_folder, "--out", tmp_path / "sent", "--format", "excel")
    with pytest.raises(InputError, match="expected a benchmark for rows of vlm-r1"):
        command("export", run_folder, "--out", tmp_path / "sent")
    (run_folder / "provenance.json").unlink()
    with pytest.raises(InputError, match="give --root"):
        command("export", run_folder, "--out", tmp_path / "sent", "--format", "coco")
    assert not (tmp_path / "sent").exists()
    root = ("--root", tmp_path / "bench")
    command("export", run_folder / "predictions.jsonl", "--out", tmp_path / "sent",
            "--format", "coco", *root)  # fmt: skip
    other = trees.coco(tmp_path / "other")
    with pytest.raises(InputError, match="found none of them"):
        command("build", "coco", other, "--out", tmp_path / "b", "--against", tmp_path / "sent")
    for line in (
        '{"image": "a", "boxes": 3}',
        '{"image": "a", "sha256": "b", "boxes": [[1, 2, 3, "x"]], "labels": [null]}',
        '{"image": "a", "sha256": "b", "boxes": [[1, 2, 3, 4]], "labels": [5]}',
        '{"image": "a", "sha256": "b", "boxes": [[1, 2, 3, 4]], "labels": []}',
    ):
        (tmp_path / "sent/proposed.jsonl").write_text(line)
        with pytest.raises(InputError, match="found another form; export again"):
            read_proposed(tmp_path / "sent")
    with pytest.raises(InputError, match=r"expected proposed.jsonl"):
        read_proposed(tmp_path / "nowhere")
