import json
from dataclasses import replace

import pytest

from anomalyr1.data.conversations import read_rows
from anomalyr1.data.export import export_benchmark
from anomalyr1.data.mixture import Part, balanced, mix, read_mixture, sample_part, write_mixture
from anomalyr1.data.mmad import load_benchmark
from anomalyr1.errors import InputError
from anomalyr1.gold_completions import format_answer
from anomalyr1.prompts import template_for
from anomalyr1.schema import GROUNDING, Box, Question


@pytest.fixture(scope="module")
def bench(mvtec_benchmark):
    return load_benchmark(mvtec_benchmark)


def comparable(samples, references):
    return [
        replace(
            s,
            similar_templates=(),
            random_templates=s.similar_templates[:references],
            questions=tuple(replace(q, annotation=None) for q in s.questions),
        )
        for s in samples
    ]


@pytest.mark.parametrize("form", ["vlm-r1", "ms-swift"])
@pytest.mark.parametrize("references", [0, 1])
def test_export_round_trip(bench, tmp_path, form, references):
    file, *_ = export_benchmark(bench, tmp_path, form=form, references=references)
    assert read_rows(file, bench.root) == comparable(bench.samples, references)


@pytest.mark.parametrize("form", ["vlm-r1", "ms-swift"])
def test_a_box_without_a_label_is_written_as_a_defect_and_read_back_without(bench, tmp_path, form):
    """The word belongs to the written answer; in the data the box stays without a label."""
    boxes = (Box(0, 0, 9, 9), Box(4, 4, 8, 8, "hole"))
    question = Question("Locate.", GROUNDING, boxes=boxes)
    sample = replace(bench.samples[0], questions=(question,), boxes=boxes)
    file, *_ = export_benchmark(replace(bench, samples=(sample,)), tmp_path, form=form)
    assert '\\"label\\": \\"defect\\"' in file.read_text()
    assert read_rows(file, bench.root)[0].questions[0].boxes == boxes


def test_a_balanced_set_repeats_the_rarer_of_normal_and_defective_images(bench):
    """Two products, each with 2 normal images, 2 cracks and 1 hole."""
    samples = list(bench.samples)
    more = balanced(samples, seed=1)
    assert more[: len(samples)] == samples and more == balanced(samples, seed=1)
    assert len(more) == len(samples) + 2
    for product in {s.category for s in samples}:
        normal = [s.is_normal for s in more if s.category == product]
        assert normal.count(True) == normal.count(False) == 3
    defective = [s for s in samples if not s.is_normal]
    assert balanced(defective) == defective  # nothing to repeat
    one = defective[0]
    normals = [s for s in samples if s.is_normal and s.category == one.category]
    assert balanced([one, *normals]) == [one, *normals, one]  # the defective ones may be rarer


def rows(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_vlm_r1_rows(bench, tmp_path):
    file, listing = export_benchmark(bench, tmp_path, references=1)
    row = rows(file)[0]
    assert [turn["from"] for turn in row["conversations"]] == ["human", "gpt"]
    assert row["conversations"][0]["value"].count("<image>") == len(row["image"]) == 2
    assert row["image"][-1] == bench.samples[0].image
    part = read_mixture(listing)[0]
    assert part.path == file and part.image_root == bench.root
    assert len(mix([part])) == len(bench.samples)


def test_ms_swift_rows(bench, tmp_path):
    (file,) = export_benchmark(bench, tmp_path, form="ms-swift")
    row = rows(file)[0]
    assert [m["role"] for m in row["messages"]] == ["system", "user"]
    question = bench.samples[0].questions[0]
    assert row["solution"] == format_answer(question, template_for(question), ())
    assert row["images"] == [str(bench.samples[0].path)]


def test_rows_of_another_program(tmp_path):
    """No keys of ours: options are read from the text, the answer from its tag."""
    lines = [
        {
            "image": "a/good/1.png",
            "conversations": [
                {"from": "human", "value": "<image>Any defect?\nA. Yes\nB. No"},
                {"from": "gpt", "value": "<answer> b </answer>"},
            ],
        },
        {
            "messages": [
                {"role": "user", "content": "<image><image>Where is it?"},
                {"role": "assistant", "content": '[{"bbox_2d": [1, 2, 3, 4], "label": "dent"}]'},
            ],
            "images": ["a/ref.png", str(tmp_path / "a/bad/2.png")],
        },
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, lines)))
    first, second = read_rows(tmp_path / "rows.jsonl", tmp_path)
    (question,) = first.questions
    assert (question.type, question.answer, question.text) == (
        "Anomaly Detection",
        "B",
        "Any defect?",
    )
    assert question.options == {"A": "Yes", "B": "No"}
    assert second.boxes[0].xyxy == (1, 2, 3, 4) and second.boxes[0].label == "dent"
    assert second.image == "a/bad/2.png" and second.random_templates == ("a/ref.png",)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"text": "x"}, "expected a row of VLM-R1 or ms-swift"),
        ({"messages": [], "images": ["a.png"]}, "expected a row"),
        (
            {
                "conversations": [
                    {"from": "human", "value": "A. x\nB. y"},
                    {"from": "gpt", "value": "Z"},
                ],
                "image": "a.png",
            },
            "none of the options",
        ),
        (
            {
                "conversations": [
                    {"from": "human", "value": "A. x\nB. y"},
                    {"from": "gpt", "value": "A"},
                ],
                "image": "/elsewhere/a.png",
            },
            "expected images below",
        ),
    ],
)
def test_other_rows_are_refused_by_line(tmp_path, row, said):
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))
    with pytest.raises(InputError, match=said) as caught:
        read_rows(tmp_path / "rows.jsonl", tmp_path)
    assert "rows.jsonl:1" in str(caught.value)


def test_an_unknown_form(bench, tmp_path):
    with pytest.raises(InputError, match="vlm-r1, ms-swift"):
        export_benchmark(bench, tmp_path, form="llava")


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("all", list(range(10))),
        ("first:3", [0, 1, 2]),
        ("last:2", [8, 9]),
        ("end:2", [8, 9]),  # VLM-R1's word
        ("first:20%", [0, 1]),
        ("last:0", []),
    ],
)
def test_strategies(strategy, expected):
    assert sample_part(list(range(10)), strategy, (0,)) == expected


def test_random_is_seeded_and_keeps_the_order():
    chosen = sample_part(list(range(50)), "random:30%", (1,))
    assert chosen == sorted(chosen) and len(chosen) == 15
    assert chosen == sample_part(list(range(50)), "random:15", (1,))
    assert chosen != sample_part(list(range(50)), "random:15", (2,))


@pytest.mark.parametrize("strategy", ["some", "first:", "first:x", "random:-1", "first:11"])
def test_strategies_are_checked(strategy):
    with pytest.raises(InputError, match="expected"):
        sample_part(list(range(10)), strategy, (0,))


def test_weights(bench):
    n = len(bench.samples)
    mixed = mix([Part(bench.path, weight=2.5), Part(bench.path, "first:2")], seed=3)
    assert len(mixed) == 2 * n + round(n / 2) + 2
    assert mixed == mix([Part(bench.path, weight=2.5), Part(bench.path, "first:2")], seed=3)
    assert mixed[:n] == mixed[n : 2 * n] == list(bench.samples)
    with pytest.raises(InputError, match="a weight above 0"):
        mix([Part(bench.path, weight=0)])


def test_the_yaml_round_trip(bench, tmp_path):
    parts = (Part(bench.path, "random:25%", 2.0), Part(bench.path.parent))
    write_mixture(tmp_path / "mix.yaml", parts)
    assert read_mixture(tmp_path / "mix.yaml") == parts


@pytest.mark.parametrize(
    "text",
    [
        "",
        "datasets: []",
        "datasets: [3]",
        "datasets: [{json_path: a, speed: 1}]",
        "datasets: [{json_path: a, weight: much}]",
        "a: [",
    ],
)
def test_the_yaml_is_checked(tmp_path, text):
    (tmp_path / "mix.yaml").write_text(text)
    with pytest.raises(InputError, match="expected"):
        read_mixture(tmp_path / "mix.yaml")
