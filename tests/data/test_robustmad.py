"""RobustMAD's own file, read as a benchmark."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commands import invoke
from robustmad_form import robustmad_content, write_robustmad

from anomalyr1.cli import app
from anomalyr1.config import PolicyConfig, PromptConfig
from anomalyr1.data.images import open_image
from anomalyr1.data.mmad import load_benchmark, missing_files, read_benchmark, write_benchmark
from anomalyr1.errors import InputError
from anomalyr1.policy.family import QWEN2_5_VL
from anomalyr1.policy.load import load_processor
from anomalyr1.rows import build_rows
from anomalyr1.schema import PAIRWISE, ROBUSTMAD_TYPES


def test_its_questions_keep_their_categories_and_their_references(tmp_path: Path) -> None:
    benchmark = load_benchmark(write_robustmad(tmp_path))
    assert [sample.image for sample in benchmark.samples] == [
        "MVTec-AD/bottle/test/good/000.png",
        "MVTec-AD/bottle/test/dented/001.png",
        "VisA/pcb3/test/good/002.JPG",
        "VisA/pcb3/test/bad/003.JPG",
    ]
    assert [sample.is_normal for sample in benchmark.samples] == [True, False, True, False]
    dented = benchmark.samples[1]
    assert (dented.dataset, dented.category, dented.defect) == ("MVTec-AD", "bottle", "dented")
    assert dented.similar_templates == ("MVTec-AD/bottle/test/good/000.png",)
    assert tuple(question.type for question in dented.questions) == ROBUSTMAD_TYPES
    assert [question.references for question in dented.questions] == [
        int(question.type == PAIRWISE) for question in dented.questions
    ]
    assert dented.questions[1].answer == "A" and len(dented.questions[1].options) == 5
    assert missing_files(benchmark.samples, 1) == []


def test_the_reference_is_shown_with_the_questions_that_compare(
    tmp_path: Path, tiny_policy: Path
) -> None:
    """A prompt has the images and the tokens that its row says."""
    samples = load_benchmark(write_robustmad(tmp_path)).samples
    policy = load_processor(PolicyConfig(path=str(tiny_policy)))
    rows = build_rows(samples, PromptConfig("robustmad", references=1), policy, QWEN2_5_VL)
    assert len(rows) == 16
    for row in rows:
        compares = row.question.type == PAIRWISE
        shown = (*row.sample.similar_templates, row.sample.image)[0 if compares else 1 :]
        assert row.images == tuple(str(tmp_path / key) for key in shown)
        text = policy.apply_chat_template(row.messages, tokenize=False, add_generation_prompt=True)
        images = [open_image(Path(name)) for name in row.images]
        inputs = policy(text=[text], images=[images], add_special_tokens=False)
        assert len(inputs["input_ids"][0]) == row.tokens
    blind = build_rows(
        samples, PromptConfig("robustmad", references=1), policy, QWEN2_5_VL, blind=True
    )
    assert not any(row.images or row.references for row in blind)


def test_it_is_written_as_any_other_benchmark(tmp_path: Path) -> None:
    benchmark = load_benchmark(write_robustmad(tmp_path))
    write_benchmark(tmp_path / "again", benchmark.samples, records=benchmark.records)
    again = load_benchmark(tmp_path / "again", root=tmp_path)
    assert again.samples == benchmark.samples
    assert again.records["VisA/pcb3/test/bad/003.JPG"]["difficulty"] == "domain"


def test_it_is_checked_as_any_other_benchmark(tmp_path: Path) -> None:
    file = write_robustmad(tmp_path)
    checked = invoke(app, "data", "check", file)
    assert checked.exit_code == 0 and "0 errors" in checked.stdout, checked.stdout
    (tmp_path / "VisA/pcb3/test/bad/003.JPG").unlink()
    assert invoke(app, "data", "check", file).exit_code == 1


def _say(place: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(image: dict[str, Any]) -> None:
        (image if place in image else image["questions"][0])[place] = value

    return change


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (_say("image_path", None), "image 1: expected image_path and questions"),
        (_say("questions", "none"), "image 1: expected image_path and questions"),
        (_say("image_path", "MVTec-AD/bottle/test/good/000.png"), "given twice"),
        (_say("anomaly", 0), "anomaly 0 does not go with the folder"),
        (_say("question_type", "OE"), "found 'OE': an open question, which a language model"),
        (_say("question_type", None), "expected MCQ of General Object Understanding"),
        (_say("robustness_category", "Colour"), "found 'MCQ' of 'Colour'"),
        (_say("answer", "F"), "expected Answer to be one of A, B, C, D, E"),
        (_say("reference_image_path", "../good/1.png"), "expected a path below the root"),
    ],
)
def test_faults_are_named(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], fault: str
) -> None:
    content = robustmad_content()
    change(content["images"][1])
    file = tmp_path / "RobustMAD_MCQ.json"
    file.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(InputError) as refused:
        load_benchmark(file)
    assert fault in str(refused.value)
    assert len(read_benchmark(file)[0].samples) >= 2  # of the images without a fault


def test_a_question_states_a_whole_number_of_references(tmp_path: Path) -> None:
    records = load_benchmark(write_robustmad(tmp_path)).records
    records["VisA/pcb3/test/bad/003.JPG"]["conversation"][0]["references"] = True
    (tmp_path / "mmad.json").write_text(json.dumps(records), encoding="utf-8")
    with pytest.raises(InputError, match="references to be a whole number, found True"):
        load_benchmark(tmp_path)
