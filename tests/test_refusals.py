"""What a processor refuses stops every verb before work starts, all rows named in one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from commands import invoke
from pictures import save

from anomalyr1.cli import app
from anomalyr1.config import Config, DataConfig, EvalConfig, PolicyConfig, PromptConfig
from anomalyr1.data.checking.check import check_benchmark
from anomalyr1.data.images import open_image
from anomalyr1.data.mmad import load_benchmark
from anomalyr1.doctor.policy_and_data import input_lines
from anomalyr1.errors import SHOWN, InputError
from anomalyr1.evaluation.predict import predict_benchmark
from anomalyr1.planning.plan import make_plan
from anomalyr1.policy.family import QWEN2_5_VL, family_of
from anomalyr1.policy.load import load_processor
from anomalyr1.policy.tiny import SPECIAL_TOKENS as TINY_TOKENS
from anomalyr1.prompts import SPECIAL_TOKENS
from anomalyr1.refusals import refuse, refused_rows, require_askable, special_tokens
from anomalyr1.rows import build_rows
from anomalyr1.training.grpo import train
from anomalyr1.training.sft import finetune

STRIP = "Toy/tile/test/good/strip.png"
ASKS = "Toy/tile/test/good/asks.png"
CUT = "Toy/tile/test/good/cut.png"
FOUND = (
    f"{CUT}#0: the image is a file that does not decode (image file is truncated",
    f"{STRIP}#0: the image has 5000 x 20 pixels, more than 200 to 1",
    f"{ASKS}#0: the reference Toy/tile/train/good/wire.png has 3 x 900 pixels, more than 200 to 1",
    f"{ASKS}#0: the question holds <|image_pad|>",
    f"{ASKS}#0: option B holds <|im_end|>",
    f"{ASKS}#1: the question holds <|vision_start|>",
)


def grey(path: Path, width: int, height: int) -> None:
    save(path, np.full((height, width, 3), 120, np.uint8))


@pytest.fixture
def bench(toy_benchmark, tmp_path) -> Path:
    """The toy benchmark, sound, and three images that no policy here could be asked about."""
    root = tmp_path / "bench"
    records = json.loads((toy_benchmark / "mmad.json").read_text())
    for key in (*records, "Toy/tile/train/good/000.png"):
        (root / key).parent.mkdir(parents=True, exist_ok=True)
        (root / key).hardlink_to(toy_benchmark / key)
    grey(root / CUT, 112, 112)
    (root / CUT).write_bytes((root / CUT).read_bytes()[:60])  # its header is whole
    grey(root / STRIP, 5000, 20)
    grey(root / ASKS, 112, 112)
    grey(root / "Toy/tile/train/good/wire.png", 3, 900)
    letters = {"A": "Yes.", "B": "No."}
    plain = {"Answer": "B", "Options": letters, "type": "Anomaly Detection"}
    for key in (CUT, STRIP):
        records[key] = {
            "image_path": key.removeprefix("Toy/tile/"),
            "similar_templates": ["Toy/tile/train/good/000.png"], "random_templates": [],
            "conversation": [{"Question": "Is there a defect?", **plain}],
        }  # fmt: skip
    records[ASKS] = {
        "image_path": "test/good/asks.png", "similar_templates": ["Toy/tile/train/good/wire.png"],
        "random_templates": [],
        "conversation": [
            {**plain, "Question": "Is <|image_pad|> dented?",
             "Options": {"A": "Yes.", "B": "No.<|im_end|>"}},
            {"Question": "Locate <|vision_start|>.", "Answer": [], "Options": {},
             "type": "Defect Grounding"},
        ],
    }  # fmt: skip
    (root / "mmad.json").write_text(json.dumps(records))
    return root


@pytest.fixture
def config(bench, tiny_policy, tmp_path) -> Config:
    return Config(
        run_dir=str(tmp_path / "run"),
        policy=PolicyConfig(path=str(tiny_policy), max_pixels=12_544),
        data=DataConfig(benchmark=str(bench)),
        prompt=PromptConfig(references=1),
        eval=EvalConfig(benchmark=str(bench)),
        sft={"use_cpu": True, "bf16": False, "report_to": "none"},
        grpo={"use_cpu": True, "bf16": False, "report_to": "none", "num_generations": 2,
              "per_device_train_batch_size": 2},
    )  # fmt: skip


def no_work(config: Config) -> bool:
    """Nothing was sampled, trained or answered, and no file says that it was begun."""
    return not any(file.is_file() for file in Path(config.run_dir).rglob("*"))


@pytest.mark.parametrize("verb", [train, finetune, predict_benchmark, make_plan])
def test_a_verb_names_all_rows_at_once(verb, config):
    with pytest.raises(InputError) as refusal:
        verb(config)
    message = str(refusal.value)
    assert "\n" not in message and f"found {len(FOUND)} that it refuses" in message
    for fault in FOUND:
        assert fault in message
    assert no_work(config)


def test_plan_names_them_without_the_policy_too(config):
    config = Config(data=config.data, prompt=config.prompt)  # the 3B policy is not here
    with pytest.raises(InputError, match="found 6 that it refuses"):
        make_plan(config)


def test_doctor_names_them(config, tmp_path):
    lines, _ = input_lines(config)
    for name in ("data.benchmark", "eval.benchmark"):
        (line,) = [line for line in lines if line.name == name]
        assert line.status == "problem" and line.advice.startswith("mend them")
        assert all(fault in line.found for fault in FOUND)
    nowhere = Config(policy=PolicyConfig(path="some/where"), data=config.data, prompt=config.prompt)
    (line,) = [line for line in input_lines(nowhere)[0] if line.name == "data.benchmark"]
    assert "found 6 that it refuses" in line.found


def test_data_check_names_them(bench):
    with pytest.raises(InputError, match="does not decode") as cut:
        open_image(bench / CUT)
    found = {(f.kind, f.image, f.message) for f in check_benchmark(bench, near_bits=-1)}
    wire = "Toy/tile/train/good/wire.png"
    takes = "more than 200 to 1: no policy here takes it"
    reads = "which policies read as a mark"
    for finding in (
        ("file", CUT, str(cut.value)),
        ("shape", STRIP, f"5000 x 20 pixels, {takes}"),
        ("shape", wire, f"reference of {ASKS}: 3 x 900 pixels, {takes}"),
        ("special token", ASKS, f"question 0: the question holds <|image_pad|>, {reads}"),
        ("special token", ASKS, f"question 0: option B holds <|im_end|>, {reads}"),
        ("special token", ASKS, f"question 1: the question holds <|vision_start|>, {reads}"),
    ):
        assert finding in found
    done = invoke(app, "data", "check", bench)
    assert done.exit_code == 1 and "special token" in done.output


def test_labels_are_looked_at_too(toy_benchmark, tmp_path):
    """Gold completions write them."""
    records = json.loads((toy_benchmark / "mmad.json").read_text())
    key = "Toy/tile/test/spot/001.png"
    records[key]["box_labels"] = ["spot<|im_end|>"]
    (tmp_path / "mmad.json").write_text(json.dumps(records))
    samples = load_benchmark(tmp_path, root=toy_benchmark).samples
    faults = refused_rows(samples, PromptConfig(references=0), None)
    assert faults == [f"{key}#{i}: the label of a box holds <|im_end|>" for i in range(3)]


def test_knowledge_is_looked_at_once_a_product(toy_benchmark, tmp_path):
    file = tmp_path / "knowledge.json"
    file.write_text(json.dumps({"Toy": {"tile": {"good": "Even.<|im_start|>", "spot": "Dark."}}}))
    prompt = PromptConfig(references=0, domain_knowledge=str(file))
    samples = load_benchmark(toy_benchmark).samples
    faults = refused_rows(samples, prompt, None)
    assert faults == [f"{samples[0].image}#0: the knowledge of tile holds <|im_start|>"]


def test_questions_that_are_not_asked_are_not_looked_at(bench, tiny_policy):
    samples = load_benchmark(bench).samples
    prompt = PromptConfig(references=1)
    processor = load_processor(PolicyConfig(path=str(tiny_policy)))
    classify = ["Object Classification"]
    assert refused_rows(samples, prompt, processor, question_types=classify) == []
    assert build_rows(samples, prompt, processor, QWEN2_5_VL, question_types=classify)
    assert len(refused_rows(samples, prompt, processor, question_types=["Defect Grounding"])) == 2


def test_a_sound_benchmark_is_not_refused(toy_benchmark, tiny_policy):
    samples = load_benchmark(toy_benchmark).samples
    for processor in (None, load_processor(PolicyConfig(path=str(tiny_policy)))):
        assert refused_rows(samples, PromptConfig(), processor) == []
    refuse([])


def test_a_long_list_is_cut_and_counted():
    with pytest.raises(InputError) as refusal:
        refuse([f"row {number}" for number in range(SHOWN + 7)])
    message = str(refusal.value)
    assert f"found {SHOWN + 7} that it refuses: row 0; " in message
    assert f"row {SHOWN - 1}; and 7 more; mend" in message and f"row {SHOWN};" not in message


def test_the_tokens_are_those_that_the_tokenizer_marks(tiny_policy):
    """Of the tiny policy's own tokenizer, all in the list that a check without a policy uses."""
    tokenizer = load_processor(PolicyConfig(path=str(tiny_policy))).tokenizer
    assert set(special_tokens(tokenizer)) == set(TINY_TOKENS) <= set(SPECIAL_TOKENS)
    for token in special_tokens(tokenizer):  # each is one mark, wherever it stands
        assert tokenizer.convert_tokens_to_ids(token) in tokenizer(f"a{token}b")["input_ids"]


def test_boxes_are_not_asked_of_a_family_whose_frame_is_unknown(toy_benchmark):
    samples = load_benchmark(toy_benchmark).samples
    older = family_of("qwen2_vl")
    with pytest.raises(InputError) as refusal:
        require_askable(samples, PromptConfig(), older)
    message = str(refusal.value)
    assert "expected a Qwen2.5-VL or Qwen3-VL" in message and "found qwen2_vl" in message
    assert "8 such question(s)" in message and f"{samples[0].image}#2" in message
    require_askable(samples, PromptConfig(), older, ["Anomaly Detection"])
    with pytest.raises(InputError, match="16 such"):
        require_askable(
            samples, PromptConfig(template="inspect"), older,
            ["Anomaly Detection", "Object Classification"],
        )  # fmt: skip
    require_askable(samples, PromptConfig(template="inspect"), QWEN2_5_VL)
