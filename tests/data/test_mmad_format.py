import json
from pathlib import Path

import pytest

from anomalyr1.data.mmad import (
    choose_references,
    load_benchmark,
    missing_files,
    read_benchmark,
    write_benchmark,
)
from anomalyr1.errors import InputError
from anomalyr1.schema import Box, Sample

# Hand-written in MMAD's form.
MMAD = {
    "DS-MVTec/bottle/image/broken_small/900.png": {
        "image_path": "image/broken_small/900.png",
        "mask_path": "rbg_mask/broken_small/900_mask.png",
        "similar_templates": ["MVTec-AD/bottle/train/good/007.png"],
        "random_templates": ["MVTec-AD/bottle/train/good/101.png"],
        "conversation": [
            {
                "Question": "Does this item show any flaw?",
                "Answer": "B",
                "Options": {"A": "No.", "B": "Yes."},
                "type": "Anomaly Detection",
                "annotation": True,
            },
            {
                "Question": "The item is flawed. Which part?",
                "Answer": "C",
                "Options": {"A": "Top.", "B": "Left.", "C": "Rim.", "D": "Base."},
                "type": "Defect Localization",
            },
        ],
    },
    "VisA/candle/test/good/901.JPG": {
        "image_path": "test/good/901.JPG",
        "mask_path": None,
        "similar_templates": [],
        "random_templates": ["VisA/candle/train/good/0001.JPG"],
        "conversation_1": [
            {
                "Question": "How many candles?",
                "Answer": "A",
                "Options": {"A": "Four.", "B": "Two."},
                "type": "Object Details",
                "annotation": False,
            }
        ],
    },
}
BOTTLE = "DS-MVTec/bottle/image/broken_small/900.png"


def write(folder: Path, records: object) -> Path:
    (folder / "mmad.json").write_text(json.dumps(records))
    return folder


def with_record(**changes: object) -> dict:
    record = json.loads(json.dumps(MMAD[BOTTLE]))
    record.update(changes)
    return {BOTTLE: record}


def with_question(**changes: object) -> dict:
    records = with_record()
    records[BOTTLE]["conversation"][0].update(changes)
    return records


def test_reads_mmad(tmp_path):
    first, second = load_benchmark(write(tmp_path, MMAD)).samples
    assert (first.dataset, first.category, first.defect) == ("DS-MVTec", "bottle", "broken_small")
    assert first.mask == "DS-MVTec/bottle/rbg_mask/broken_small/900_mask.png"
    assert list(first.questions[1].options) == ["A", "B", "C", "D"]
    assert first.questions[0].annotation is True and not first.is_normal
    assert (
        second.is_normal
        and second.mask is None
        and second.questions[0].subtask == ("Object Analysis")
    )


def test_round_trip_keeps_what_it_does_not_know(tmp_path):
    records = with_record(note="kept", split="test")
    records[BOTTLE]["conversation"][0]["difficulty"] = 3
    benchmark = load_benchmark(write(tmp_path, records))
    write_benchmark(tmp_path / "copy", benchmark.samples, records=benchmark.records)
    copy = json.loads((tmp_path / "copy/mmad.json").read_text())
    assert copy[BOTTLE]["note"] == "kept"
    assert copy[BOTTLE]["conversation"][0]["difficulty"] == 3
    again = load_benchmark(tmp_path / "copy", root=benchmark.root)
    assert again.samples == benchmark.samples


def test_full_round_trip_is_the_same_json(tmp_path):
    benchmark = load_benchmark(write(tmp_path, MMAD))
    write_benchmark(tmp_path / "copy", benchmark.samples, records=benchmark.records)
    assert json.loads((tmp_path / "copy/mmad.json").read_text()) == MMAD


def test_grounding_and_boxes(tmp_path):
    records = with_record(boxes=[[1, 2, 3, 4]], box_labels=["chip"])
    records[BOTTLE]["conversation"].append(
        {"Question": "Locate.", "Answer": [[9, 9, 10, 10]], "type": "Defect Grounding"}
    )
    sample = load_benchmark(write(tmp_path, records)).samples[0]
    assert sample.boxes == (Box(1, 2, 3, 4, "chip"),)
    assert sample.questions[-1].boxes == sample.boxes  # the record's boxes win
    write_benchmark(tmp_path / "copy", [sample])
    assert load_benchmark(tmp_path / "copy", root=tmp_path).samples == (sample,)


def test_boxes_of_a_grounding_answer_serve_the_record(tmp_path):
    records = with_record()
    records[BOTTLE]["conversation"].append(
        {"Question": "Locate.", "Answer": [], "Options": {}, "type": "Defect Grounding"}
    )
    assert load_benchmark(write(tmp_path, records)).samples[0].boxes == ()


@pytest.mark.parametrize(
    ("records", "said"),
    [
        (with_question(Answer="C"), "expected Answer to be one of A, B, found 'C'"),
        (with_question(Answer=["B"]), "expected Answer to be one of A, B"),
        (with_question(Options=["No.", "Yes."]), "expected Options to be letter -> text"),
        (with_question(Options={"A": "No.", "b": "Yes."}), "expected option letters"),
        (with_question(Options={"A": "No.", "B": 2}), "the text of option B"),
        (with_question(type="Anomaly"), "expected type to be one of"),
        (with_question(Question=""), "expected Question to be a text"),
        (with_question(annotation="yes"), "expected annotation"),
        (with_record(conversation_2=[]), "found conversation, conversation_2"),
        (with_record(conversation=[]), "expected conversation to be a list of questions"),
        (with_record(mask_path=3), "expected mask_path"),
        (with_record(mask_path="../../up.png"), "expected a path below the root"),
        (with_record(mask_path="/etc/x.png"), "expected a path below the root"),
        (with_record(similar_templates="a.png"), "expected similar_templates to be a list"),
        (with_record(random_templates=["../x/good/1.png"]), "expected a path below the root"),
        (with_record(boxes=[[1, 2, 3]]), "expected [x1, y1, x2, y2]"),
        (with_record(boxes=[[1, 2, 3, True]]), "expected [x1, y1, x2, y2]"),
        (with_record(boxes=[[1, 2, 3, float("nan")]]), "expected [x1, y1, x2, y2]"),
        (with_record(boxes=[[1, 2, 3, 4]], box_labels=[]), "one box label for each of 1 boxes"),
        (with_record(box_labels=["a"]), "box_labels without boxes"),
        (with_record(split=3), "expected split"),
        ({"a/b/../../../c.png": MMAD[BOTTLE]}, "expected a path below the root"),
        ({BOTTLE: []}, "expected a record"),
    ],
)
def test_structural_faults_are_named(tmp_path, records, said):
    with pytest.raises(InputError, match=r"has \d+ fault") as caught:
        load_benchmark(write(tmp_path, records))
    assert said in str(caught.value)


def test_all_faults_are_reported_at_once(tmp_path):
    records = {**with_question(Answer="Z"), "a/b/good/1.png": {"conversation": 3}}
    with pytest.raises(InputError) as caught:
        load_benchmark(write(tmp_path, records))
    lines = str(caught.value).splitlines()
    assert lines[0].endswith("has 2 faults; mend the records:") and len(lines) == 3


def test_a_record_given_twice(tmp_path):
    text = json.dumps(MMAD[BOTTLE])
    (tmp_path / "mmad.json").write_text(f'{{"{BOTTLE}": {text}, "{BOTTLE}": {text}}}')
    with pytest.raises(InputError, match="given twice"):
        load_benchmark(tmp_path)


@pytest.mark.parametrize(
    ("content", "said"), [("{", "broken JSON"), ("[]", "found list"), ("{}", "empty")]
)
def test_not_a_benchmark(tmp_path, content, said):
    (tmp_path / "mmad.json").write_text(content)
    with pytest.raises(InputError, match=said):
        load_benchmark(tmp_path)


def test_missing_file_is_one_line(tmp_path):
    with pytest.raises(InputError) as caught:
        load_benchmark(tmp_path / "nowhere")
    assert "\n" not in str(caught.value)


def test_the_manifest_says_where_the_images_are(tmp_path):
    (tmp_path / "bench").mkdir()
    write(tmp_path / "bench", MMAD)
    (tmp_path / "bench/manifest.json").write_text('{"root": "../images"}')
    assert load_benchmark(tmp_path / "bench").root == tmp_path / "images"
    (tmp_path / "bench/manifest.json").write_text(json.dumps({"root": str(tmp_path / "far")}))
    assert load_benchmark(tmp_path / "bench/mmad.json").root == tmp_path / "far"
    (tmp_path / "bench/manifest.json").write_text('{"root": 3}')
    with pytest.raises(InputError, match="expected root to be a folder"):
        load_benchmark(tmp_path / "bench")


def test_symbolic_links_may_not_leave_the_root(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "900.png").write_bytes(b"x")
    root = tmp_path / "root"
    folder = root / "DS-MVTec/bottle/image/broken_small"
    folder.mkdir(parents=True)
    write(root, MMAD)
    load_benchmark(root)
    (folder / "900.png").symlink_to(outside / "900.png")
    with pytest.raises(InputError, match=r"900\.png: a symbolic link leads out of the root"):
        load_benchmark(root)
    (folder / "900.png").unlink()
    (root / "VisA").symlink_to(outside)
    with pytest.raises(InputError, match="a symbolic link leads out of the root"):
        load_benchmark(root)


def test_missing_files_counts_the_references_in_use(tmp_path):
    benchmark = load_benchmark(write(tmp_path, MMAD))
    image = tmp_path / BOTTLE
    image.parent.mkdir(parents=True)
    image.write_bytes(b"x")
    samples = benchmark.samples[:1]
    assert missing_files(samples) == []
    assert missing_files(samples, 1) == ["MVTec-AD/bottle/train/good/007.png"]
    assert missing_files(samples, 1, "random") == ["MVTec-AD/bottle/train/good/101.png"]
    assert len(missing_files(samples, 2)) == 2


def test_choose_references_fills_up_from_the_other_kind():
    sample = Sample("a/b/test/good/1.png", Path(), (), None, ("s",), ("r", "s"))
    assert choose_references(sample, 1) == ("s",)
    assert choose_references(sample, 3) == ("s", "r")
    assert choose_references(sample, 1, "random") == ("r",)


def test_many_questions_load(tmp_path):
    """The size of MMAD; the time (1.3 s) and memory (130 MB) stand in data/README.md."""
    question = MMAD[BOTTLE]["conversation"][0]
    records = {
        f"DS-MVTec/c{n % 38}/image/d/{n:05d}.png": {"conversation": [question] * 5}
        for n in range(8000)
    }
    benchmark, faults = read_benchmark(write(tmp_path, records))
    assert not faults and sum(len(s.questions) for s in benchmark.samples) == 40000


def test_reads_the_mpdd_file(real_data):
    benchmark = load_benchmark(real_data("mmad") / "test_MPDD_format.json")
    assert len(benchmark.samples) == 458
    assert all(not s.similar_templates and s.mask is None for s in benchmark.samples)
