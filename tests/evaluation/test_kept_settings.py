"""Predictions keep the settings they were made with; what is not known of them is said."""

from __future__ import annotations

import io
import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from commands import REPOSITORY
from evaluation_data import letter, question, write
from rich.console import Console

from anomalyr1.config import Config, EvalConfig, PolicyConfig
from anomalyr1.errors import InputError
from anomalyr1.evaluation.before_after import read_before_after
from anomalyr1.evaluation.kept_settings import (
    FIELDS,
    Unlike,
    keep_settings,
    known_settings,
    unlike,
    unlike_but_for_the_policy,
)
from anomalyr1.evaluation.predict import predict_benchmark
from anomalyr1.evaluation.report.page import write_report
from anomalyr1.evaluation.score import score
from anomalyr1.storage import read_json, write_json
from tests.commands import run_here


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny_policy, toy_benchmark) -> Path:
    """Three questions of one image, answered in eight tokens."""
    return predict_benchmark(config(tmp_path_factory.mktemp("run"), tiny_policy, toy_benchmark))


def config(run_dir: Path, policy: Path, benchmark: Path, **more) -> Config:
    asked = EvalConfig(str(benchmark), batch_size=4, max_new_tokens=8, limit=1, allow_seen=True)
    return Config(
        run_dir=str(run_dir),
        policy=PolicyConfig(path=str(policy), max_pixels=12544),
        eval=replace(asked, **more),
    )


def test_an_evaluation_knows_every_field_of_its_card(run, tiny_policy, toy_benchmark):
    metrics = score(run)
    card = metrics["settings"]["card"]
    assert set(card) == set(FIELDS) and metrics["settings"]["unknown"] == []
    assert card["policy"]["path"] == str(tiny_policy) and len(card["policy"]["sha256"]) == 64
    assert card["decoding"] == {"kind": "greedy", "max_new_tokens": 8, "repetition_penalty": 1.0}
    assert (card["dtype"], card["device"], card["references"]) == ("float32", "cpu", 1)
    assert card["limit"] == {"images": 1, "seed": 0, "stratified": True}
    assert card["options_order"] == "on disk"
    choice = card["prompts"]["choice"]
    assert choice.index("<|image_pad|>") < choice.index("{question}\nA. {option A}")
    assert "{question}" in card["prompts"]["grounding"] and "Nut" not in choice
    assert read_json(run.parent / "metrics.json")["settings"] == metrics["settings"]


def test_images_of_another_size_than_in_training_are_told(tmp_path, toy_benchmark):
    """The policy that ships was trained with 3136 to 12544 pixels."""
    for name, most in (("trained", 12544), ("other", 6272)):
        asked = config(tmp_path / name, REPOSITORY / "data/tiny-policy", toy_benchmark)
        policy = replace(asked.policy, max_pixels=most)
        console = Console(file=io.StringIO(), width=200)
        predict_benchmark(replace(asked, policy=policy), console)
        line = f"images of 3136 to {most} pixels, where the policy was trained with 3136 to 12544"
        assert (line in console.file.getvalue()) == (name == "other")


def test_a_run_from_before_there_were_cards_says_what_it_does_not_know(run, tmp_path):
    for name in ("predictions.jsonl", "predictions.identity.json", "provenance.json"):
        (tmp_path / name).write_bytes((run.parent / name).read_bytes())
    whole, found = known_settings(run), known_settings(tmp_path / "predictions.jsonl")
    assert found == {name: whole[name] for name in found}  # what is known is the same
    said = run_here("score", tmp_path / "predictions.jsonl")
    missing = "backend, dtype, attention, shared_prefix, device, batch_size, prompts, prompt_sha256"
    assert f"settings that are not known of these predictions: {missing}" in said
    (tmp_path / "predictions.identity.json").write_text('{"policy": 3}')
    with pytest.raises(InputError, match="another form"):
        known_settings(tmp_path / "predictions.jsonl")


def test_predictions_alone_tell_nothing(tmp_path):
    file = write(tmp_path / "predictions.jsonl", [question("1", 0, letter("A"))])
    assert score(file)["settings"] == {"card": {}, "unknown": list(FIELDS)}


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        ({"dtype": "a"}, {"dtype": "a"}, ()),
        ({"dtype": "a"}, {"dtype": "b"}, ("dtype (a and b)",)),
        ({"dtype": "a"}, {}, ()),  # not known of both
        ({"prompts": {"choice": "x"}}, {"prompts": {"choice": "y"}}, ()),  # their hash tells
        ({"changed": ["x"]}, {"changed": []}, ()),
    ],
)
def test_cards_are_compared_in_what_both_know(first, second, told):
    found = unlike(first, second)
    assert found.fields == told
    assert ("dtype" in found.unknown) == ("dtype" not in first or "dtype" not in second)


def test_that_the_policy_differs_is_no_news():
    card = dict.fromkeys(FIELDS, 1)
    assert unlike_but_for_the_policy(card, {**card, "policy": 2}) == Unlike((), ())
    assert unlike(card, {**card, "policy": 2}).fields == ("policy (1 and 2)",)
    assert Unlike((), FIELDS).told == "not known of both: any"


def test_a_run_gone_on_with_otherwise_says_so(tmp_path):
    file = tmp_path / "predictions.jsonl"
    keep_settings(file, {"device": "cuda", "commit": "1"}, goes_on=False)
    keep_settings(file, {"device": "cpu", "commit": "1"}, goes_on=True)
    keep_settings(file, {"device": "cpu", "commit": "2"}, goes_on=True)
    card = known_settings(file)
    assert card["changed"] == ["device (cuda and cpu)", "commit (1 and 2)"]
    keep_settings(file, {"device": "cpu"}, goes_on=False)  # begun anew
    assert known_settings(file) == {"device": "cpu"}
    (tmp_path / "predictions.settings.json").write_text("[]")
    with pytest.raises(InputError, match="another form"):
        known_settings(file)


def test_unlike_evaluations_say_in_what_they_differ(run, tmp_path):
    card = known_settings(run)
    other = {**card, "references": 0, "policy": {"path": "start"}}
    for folder, settings in ((tmp_path, card), (tmp_path / "before", other)):
        file = write(folder / "predictions.jsonl", [question("1", 0, letter("A"))])
        write_json(file.with_name("predictions.settings.json"), settings)
    assert read_before_after(tmp_path).settings.fields == ("references (0 and 1)",)
    assert "settings    differ in references (0 and 1)" in run_here("compare", tmp_path)
    page = write_report([tmp_path]).read_text()
    told = f"before: its settings and those of {tmp_path.name} differ in references (0 and 1)."
    assert told in page
    assert card["policy"]["sha256"] in page and "the prompt: choice" in page


def test_the_config_of_the_card_is_the_one_of_the_identity(run):
    """What a run without a card is known by is read from the same sections."""
    identity = json.loads((run.parent / "predictions.identity.json").read_text())
    assert set(identity["prompt"]) == set(asdict(Config().prompt))


@pytest.mark.parametrize("share", [True, False])
def test_a_blind_evaluation_asks_in_the_same_words_without_an_image(
    run, tiny_policy, toy_benchmark, tmp_path, share
):
    settings = config(tmp_path, tiny_policy, toy_benchmark, blind=True)
    policy = replace(settings.policy, shared_prefix=share)
    file = predict_benchmark(replace(settings, policy=policy))
    blind, seeing = known_settings(file), known_settings(run)
    assert blind["blind"] and (blind["references"], blind["reference_kind"]) == (0, None)
    assert "<|image_pad|>" in seeing["prompts"]["choice"]
    for prompt in blind["prompts"].values():
        assert "vision" not in prompt and "image_pad" not in prompt and "{question}" in prompt
    one, other = (score(path)["predictions"]["questions"] for path in (file, run))
    assert one == other == 3
    with pytest.raises(InputError, match="the same options"):  # not gone on with as another
        predict_benchmark(config(tmp_path, tiny_policy, toy_benchmark))
