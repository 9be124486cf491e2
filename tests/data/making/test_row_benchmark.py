"""Rows of VLM-R1 and ms-swift as benchmarks and as mixtures; export and import are inverse."""

import json
from dataclasses import replace

import numpy as np
import pytest
import source_trees as trees
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from anomalyr1.cli.data import app
from anomalyr1.data.checking.check import check_benchmark
from anomalyr1.data.conversations import read_rows
from anomalyr1.data.export import export_benchmark
from anomalyr1.data.making.builder import build_benchmark
from anomalyr1.data.making.row_benchmark import build_from_rows
from anomalyr1.data.making.sources.catalogue import read_source
from anomalyr1.data.mixture import mix, read_mixture
from anomalyr1.data.mmad import load_benchmark, write_benchmark
from anomalyr1.errors import InputError
from anomalyr1.schema import GROUNDING, Box, Question, Sample

WIDTH, HEIGHT = 60, 40
IMAGES = ("D/part/test/good/1.png", "D/part/test/dent/2.png", "D/part/test/two_dents/3.png")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    for number, key in enumerate(IMAGES):
        trees.save(folder / key, trees.picture(number, (WIDTH, HEIGHT)))
    return folder


texts = st.text(st.characters(exclude_categories=("C", "Z"), exclude_characters="<>"), min_size=1)


@st.composite
def boxes(draw):
    x = sorted(draw(st.tuples(*[st.floats(0, WIDTH, allow_subnormal=False)] * 2)))
    y = sorted(draw(st.tuples(*[st.floats(0, HEIGHT, allow_subnormal=False)] * 2)))
    label = draw(st.none() | st.sampled_from(["dent", "deep scratch", "裂纹", 'a "b"']))
    if (x[1] - x[0]) * (y[1] - y[0]) <= 0:
        x, y = [0.0, 0.25], [0.0, 0.25]
    return Box(x[0], y[0], x[1], y[1], label)


@st.composite
def samples(draw, root):
    found = []
    for key in draw(st.lists(st.sampled_from(IMAGES), min_size=1, unique=True)):
        normal = "/good/" in key
        gold = draw(st.none() | st.lists(boxes(), min_size=1, max_size=3).map(tuple))
        gold = () if normal and gold is not None else gold
        questions = []
        for _ in range(draw(st.integers(1, 3))):
            if gold is not None and draw(st.booleans()):
                questions.append(Question(draw(texts), GROUNDING, boxes=gold))
                continue
            options = draw(st.lists(texts, min_size=2, max_size=4))
            lettered = dict(zip("ABCD", options, strict=False))
            answer = draw(st.sampled_from(sorted(lettered)))
            kind = draw(st.sampled_from(["Object Analysis", "Object Details"]))
            questions.append(Question(draw(texts), kind, lettered, answer))
        found.append(Sample(key, root, tuple(questions), boxes=gold, split=draw(
            st.none() | st.sampled_from(["train", "test"]))))  # fmt: skip
    return found


@pytest.mark.parametrize("form", ["vlm-r1", "ms-swift"])
@pytest.mark.parametrize("template", ["choice", "inspect"])
@settings(max_examples=30, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_export_and_import_give_the_same_questions_boxes_and_answers(
    root, tmp_path_factory, form, template, data
):
    made = data.draw(samples(root))
    folder = tmp_path_factory.mktemp("export")
    write_benchmark(root, made)
    benchmark = load_benchmark(root)
    file, *_ = export_benchmark(benchmark, folder / "rows", form=form, template=template)
    assert read_rows(file, benchmark.root) == list(benchmark.samples)
    built = load_benchmark(build_from_rows(file, folder / "out", form, image_setting(root, form)))
    assert [replace(s, root=benchmark.root) for s in built.samples] == list(benchmark.samples)


def image_setting(root, form):
    """ms-swift's rows name their images absolutely; VLM-R1's are relative to an image folder."""
    return {} if form == "ms-swift" else {"images": str(root)}


def test_a_whole_benchmark_goes_out_and_comes_back(tmp_path):
    source = read_source("mvtec", trees.mvtec(tmp_path / "source"))
    bench = load_benchmark(build_benchmark(source, tmp_path / "bench"))
    file, listing = export_benchmark(bench, tmp_path / "rows", references=1)
    back = load_benchmark(build_from_rows(listing, tmp_path / "back", "vlm-r1"))
    assert file.is_file()
    for old, new in zip(bench.samples, back.samples, strict=True):
        assert new.questions == tuple(replace(q, annotation=None) for q in old.questions)
        assert (new.image, new.boxes, new.mask) == (old.image, old.boxes, old.mask)
        assert new.random_templates == old.similar_templates[:1]
    assert [f for f in check_benchmark(tmp_path / "back", near_bits=-1) if f.level == "error"] == []


def turns(*pairs, image="r.png", **more):
    said = [
        {"from": who, "value": text}
        for pair in pairs
        for who, text in zip(("human", "gpt"), pair, strict=True)
    ]
    return {"image": image, "conversations": said, **more}


def written(tmp_path, *rows):
    if not (tmp_path / "r.png").exists():
        Image.fromarray(np.zeros((224, 224, 3), np.uint8)).save(tmp_path / "r.png")
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(json.dumps(row) if row else "" for row in rows) + "\n")
    return file


MULTI = turns(
    ("<image>Is there a defect?\nA. Yes.\nB. No.", "A"),
    ("Which one?\nA. Dent.\nB. Scratch.", "B. Scratch."),
    ("Where is it?", '[{"bbox_2d": [20, 20, 80, 90], "label": "scratch"}]'),
)


def test_each_turn_is_a_question_in_order(tmp_path):
    file = written(tmp_path, MULTI)
    (sample,) = read_rows(file, tmp_path)
    assert [q.text for q in sample.questions] == [
        "Is there a defect?",
        "Which one?",
        "Where is it?",
    ]
    assert [q.answer for q in sample.questions] == ["A", "B", None]
    assert sample.boxes == sample.questions[2].boxes == (Box(20, 20, 80, 90, "scratch"),)
    built = load_benchmark(build_from_rows(file, tmp_path / "out", "vlm-r1"))
    (kept,) = built.samples
    assert kept.questions == sample.questions
    assert kept.image == "rows/product/test/scratch/r.png" and kept.path.is_file()
    (tmp_path / "mix.yaml").write_text("datasets:\n  - json_path: rows.jsonl\n")
    assert mix(read_mixture(tmp_path / "mix.yaml")) == [sample]


def test_later_turns_may_bring_images(tmp_path):
    trees.save(tmp_path / "q.png", trees.picture(1))
    row = turns(
        ("<image>Any defect?\nA. Yes\nB. No", "B"),
        ("<image>And here?\nA. Yes\nB. No", "A"),
        image=["q.png", "r.png"],
    )
    first, second = read_rows(written(tmp_path, row), tmp_path)
    assert (first.image, second.image) == ("q.png", "r.png")
    assert second.random_templates == ("q.png",) and first.random_templates == ()


def test_ms_swift_turns_objects_and_solution(tmp_path):
    row = {
        "messages": [
            {"role": "system", "content": "You inspect."},
            {"role": "user", "content": "<image>Find the <ref-object>."},
            {"role": "assistant", "content": '[{"bbox_2d": <bbox>, "label": "<ref-object>"}]'},
            {"role": "user", "content": "Good?\nA. Yes\nB. No"},
        ],
        "images": ["r.png"],
        "solution": "<answer>B</answer>",
        "objects": {"ref": ["dent", "dent"], "bbox": [[0.25, 0.5, 0.5, 1]], "bbox_type": "norm1"},
    }
    (sample,) = read_rows(written(tmp_path, row), tmp_path)
    assert sample.questions[0].text == "Find the dent."
    assert sample.boxes == (Box(56, 112, 112, 224, "dent"),)
    assert sample.questions[1].answer == "B"


def boxed(*corners):
    return turns(("<image>Where?", json.dumps([{"bbox_2d": list(corners), "label": "dent"}])))


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (boxed(0.1, 0.2, 0.6, 0.7), r"rows.jsonl:3, found unit boxes \(0 to 1\).*boxes=unit"),
        (boxed(10, 10, 300, 90), r"inside the 224 x 224 pixels of the image at .*rows.jsonl:3"),
        (boxed(-5, 10, 30, 90), "boxes inside"),
        (boxed(10, 10, 10, 90), "with an area"),
        (turns(("<image>Describe it.", "A dent.")), "'A dent.': a free answer cannot be scored"),
        (turns(("<image>Any?\nA. Yes\nB. No", "Maybe")), "none of the options"),
        (turns(("<image><image>Any?\nA. Yes\nB. No", "A")), "2 images for the marks"),
        (turns(("Any?\nA. Yes\nB. No", "A"), image=[]), "no image"),
        ({"image": "r.png", "conversations": [{"from": "gpt", "value": "A"}]}, "no pairs"),
        ({"image": "r.png", "conversations": [{"from": "human"}]}, "no list of turns"),
        ({"image": "r.png", "conversations": 3}, "no list of turns"),
        (turns(("<image>Any?\nA. Yes\nB. No", "A"), image="../r.png"), "images below"),
        (turns(("<image>Any?\nA. Yes\nB. No", "A"), mask=3), "a mask that is no text"),
        (turns(("<image>Any?", "[]"), ("So?\nA. x\nB. y", "C")), "rows.jsonl:3, question 2"),
    ],
)
def test_rows_are_refused_by_file_and_line(tmp_path, row, said):
    """The row stands in line 3, after a blank line."""
    file = written(tmp_path, MULTI, None, row)
    with pytest.raises(InputError, match=said) as caught:
        read_rows(file, tmp_path)
    assert "rows.jsonl:3" in str(caught.value)
    with pytest.raises(InputError, match=said):
        build_from_rows(file, tmp_path / "out", "vlm-r1")
    assert not (tmp_path / "out").exists()


def test_unit_boxes_and_thousandths_are_converted_when_named(tmp_path):
    file = written(tmp_path, boxed(0.25, 0.5, 0.5, 1))
    (sample,) = read_rows(file, tmp_path, frame="unit")
    assert sample.boxes == (Box(56, 112, 112, 224, "dent"),)
    (tmp_path / "mix.yaml").write_text("datasets:\n  - json_path: rows.jsonl\n    boxes: unit\n")
    assert mix(read_mixture(tmp_path / "mix.yaml")) == [sample]
    file = written(tmp_path, boxed(250, 500, 500, 1000))
    with pytest.raises(InputError, match="thousandths"):
        read_rows(file, tmp_path)
    assert read_rows(file, tmp_path, frame="thousand")[0].boxes == sample.boxes
    with pytest.raises(InputError, match="pixels, unit, thousand"):
        read_rows(file, tmp_path, frame="percent")
    (tmp_path / "mix.yaml").write_text("datasets:\n  - json_path: rows.jsonl\n    boxes: inches\n")
    with pytest.raises(InputError, match=r"boxes of .* out of pixels, unit, thousand"):
        read_mixture(tmp_path / "mix.yaml")


def test_an_edited_answer_wins_over_the_record_beside_it(root, tmp_path):
    question = Question("Where?", GROUNDING, boxes=(Box(1.25, 2, 9.5, 9, "dent"),))
    write_benchmark(root, [Sample(IMAGES[1], root, (question,), boxes=question.boxes)])
    file, *_ = export_benchmark(load_benchmark(root), tmp_path)
    assert read_rows(file, root)[0].boxes == question.boxes  # not rounded
    whole = file.read_text()
    file.write_text(whole.replace("[1.25, 2, 9.5, 9,", '["x", 2, null, 9,'))
    assert '"x"' in file.read_text()
    assert read_rows(file, root)[0].boxes == (Box(1, 2, 10, 9, "dent"),)
    file.write_text(whole.replace("[1, 2, 10, 9]", "[1, 2, 20, 9]"))
    assert read_rows(file, root)[0].boxes == (Box(1, 2, 20, 9, "dent"),)


def test_answers_that_contradict_each_other_are_refused(tmp_path):
    says_no = turns(("<image>Is there a defect?\nA. Yes.\nB. No.", "B"))
    file = written(tmp_path, says_no, boxed(10, 10, 30, 30))
    with pytest.raises(InputError, match=r"about r.png that agree"):
        build_from_rows(file, tmp_path / "out", "vlm-r1")


def test_the_command_builds_rows_and_auto_sees_them(tmp_path):
    file = written(tmp_path, MULTI, turns(("<image>Where?", "[]"), image="n.png"))
    trees.save(tmp_path / "n.png", trees.picture(5))
    for arguments in (("vlm-r1", file), ("auto", tmp_path)):
        out = tmp_path / f"out-{arguments[0]}"
        result = CliRunner().invoke(app, ["build", *map(str, arguments), "--out", str(out)])
        assert result.exit_code == 0, result.exception
        assert "2 images, 1 normal, 1 abnormal, 1 boxes, 4 questions" in result.output
        assert [f for f in check_benchmark(out) if f.level == "error"] == []


def asked_for(phrase, *marks, image="r.png"):
    answer = [{"bbox_2d": corners, "label": label} for label, corners in marks]
    return turns((f"<image>Locate the {phrase}.", json.dumps(answer)), image=image)


def test_rows_about_one_thing_each_keep_their_boxes_and_make_up_the_image(tmp_path):
    """As VLM-R1's REC rows do: a row a phrase, several an image."""
    scratch, dent = ("scratch", [10, 10, 20, 20]), ("dent", [60, 30, 80, 50])
    trees.save(tmp_path / "s.png", trees.picture(3, (96, 64)))
    file = written(
        tmp_path,
        asked_for("scratch", scratch),
        asked_for("dent", dent),
        asked_for("scratch", image="s.png"),
        asked_for("dent", ("dent", [30, 30, 40, 40]), image="s.png"),
        asked_for("defects", ("dent", [30, 30.5, 40, 40]), image="s.png"),  # rounded elsewhere
    )
    built = load_benchmark(build_from_rows(file, tmp_path / "out", "vlm-r1"))
    both, one = built.samples
    boxes = (Box(10, 10, 20, 20, "scratch"), Box(60, 30, 80, 50, "dent"))
    assert both.image == "rows/product/test/defect/r.png" and both.boxes == boxes
    assert [q.boxes for q in both.questions] == [boxes[:1], boxes[1:]]
    assert one.image == "rows/product/test/dent/s.png"
    assert one.boxes == (Box(30, 30, 40, 40, "dent"),)
    assert [q.boxes for q in one.questions] == [(), one.boxes, one.boxes]
    assert [f for f in check_benchmark(tmp_path / "out") if f.level == "error"] == []
    write_benchmark(tmp_path / "copy", built.samples, records=built.records)
    assert load_benchmark(tmp_path / "copy", root=built.root).samples == built.samples


def test_an_answer_about_a_part_beside_one_about_all_is_refused(tmp_path):
    marks = '[{"bbox_2d": [10, 10, 20, 20]}, {"bbox_2d": [60, 30, 80, 50]}]'
    both = turns(("<image>Any defect?\nA. Yes\nB. No", f"A {marks}"))
    file = written(tmp_path, both, asked_for("dent", ("dent", [60, 30, 80, 50])))
    with pytest.raises(InputError, match=r"all answers about r.png in those .*; mend its rows"):
        build_from_rows(file, tmp_path / "out", "vlm-r1")


def listing(tmp_path, **entry):
    lines = "\n    ".join(f"{key}: {value}" for key, value in entry.items())
    (tmp_path / "data.yaml").write_text(f"datasets:\n  - {lines}\n")
    return tmp_path / "data.yaml"


@pytest.mark.parametrize("stated", [None, "thousand"])
def test_the_setting_boxes_is_for_the_parts_that_do_not_say_it(tmp_path, stated):
    written(tmp_path, boxed(250, 250, 500, 750))
    entry = {"json_path": "rows.jsonl"} | ({"boxes": stated} if stated else {})
    file = listing(tmp_path, **entry)
    built = build_from_rows(file, tmp_path / "out", "vlm-r1", {"boxes": "thousand"})
    assert load_benchmark(built).samples[0].boxes == (Box(56, 56, 112, 168, "dent"),)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"boxes": "pixels"}, r"data.yaml has them \(pixels\), found boxes=unit; leave"),
        ({"weight": 2}, r"expected no weight for .*rows.jsonl in .*, found 2"),
        ({"sampling_strategy": "some"}, "a sampling strategy like all"),
    ],
)
def test_what_a_listing_says_against_a_benchmark_is_refused(tmp_path, entry, said):
    written(tmp_path, boxed(0.25, 0.25, 0.5, 0.75))
    file = listing(tmp_path, json_path="rows.jsonl", **entry)
    with pytest.raises(InputError, match=said):
        build_from_rows(file, tmp_path / "out", "vlm-r1", {"boxes": "unit"})


def test_the_sampling_strategy_of_a_listing_is_followed(tmp_path):
    trees.save(tmp_path / "s.png", trees.picture(3, (96, 64)))
    written(tmp_path, boxed(20, 20, 40, 60), asked_for("dent", image="s.png"))
    file = listing(tmp_path, json_path="rows.jsonl", sampling_strategy="last:1")
    built = load_benchmark(build_from_rows(file, tmp_path / "out", "vlm-r1"))
    assert [s.image for s in built.samples] == ["data/product/test/good/s.png"]
