"""What is asked more than once behind one prefix is what it is asked alone, and survives a cut."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from commands import REPOSITORY

from anomalyr1.config import Config, ConsistencyConfig, EvalConfig, PolicyConfig
from anomalyr1.data.images import open_image
from anomalyr1.data.mmad import load_benchmark
from anomalyr1.errors import InputError
from anomalyr1.evaluation.backends.in_process import answer
from anomalyr1.evaluation.kept_settings import known_settings
from anomalyr1.evaluation.predict import predict_benchmark
from anomalyr1.evaluation.prediction_lines import read_predictions
from anomalyr1.evaluation.score import score
from anomalyr1.evaluation.voting import elect
from anomalyr1.policy.load import load_policy, share_prefixes
from anomalyr1.prompts import build_messages, template_for
from anomalyr1.rows import build_rows
from anomalyr1.schema import Question

ALL = ConsistencyConfig(shifted="all", reworded=True, asked_again=True)


def config(run_dir: Path, benchmark: Path, **more) -> Config:
    """Of the policy that comes with the project: it has something to say."""
    asked = EvalConfig(str(benchmark), batch_size=8, max_new_tokens=32, limit=2, consistency=ALL)
    return Config(
        run_dir=str(run_dir),
        policy=PolicyConfig(path=str(REPOSITORY / "data/tiny-policy"), max_pixels=6272),
        eval=replace(asked, **more),
    )


@pytest.fixture(scope="module")
def greedy(tmp_path_factory, toy_benchmark) -> Path:
    return predict_benchmark(config(tmp_path_factory.mktemp("greedy"), toy_benchmark))


@pytest.fixture(scope="module")
def alone(toy_benchmark):
    """Completes one prompt by plain transformers."""
    policy = load_policy(config(Path(), toy_benchmark).policy)
    samples = {sample.image: sample for sample in load_benchmark(toy_benchmark).samples}

    def answer(prediction, question: Question, said: str) -> str:
        sample = samples[prediction.image]
        messages = build_messages(sample, question, template_for(question), references=1)
        text = policy.processor.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True
        )
        names = (*prediction.references, prediction.image)
        inputs = policy.processor(
            text=[text + said],
            images=[[open_image(sample.root / name) for name in names]],
            return_tensors="pt",
        )
        with torch.inference_mode():
            tokens = policy.model.generate(
                **inputs, max_new_tokens=32, do_sample=False, repetition_penalty=1.0
            )[0, inputs["input_ids"].size(1) :]
        return policy.processor.decode(tokens, skip_special_tokens=True)

    return answer


def test_behind_one_prefix_as_alone(greedy, alone):
    seen = []
    for one in read_predictions(greedy):
        first = Question(one.question, one.question_type, one.options)
        assert one.completion == alone(one, first, "") and one.drawn is one.vote_share is None
        assert bool(one.askings) == bool(one.options)
        for asking in one.askings:
            question = Question(asking.question, one.question_type, asking.options)
            assert asking.completion == alone(one, question, asking.said)
            assert (asking.said != "") == (asking.kind == "asked_again")
            seen.append((asking.kind, len(one.options), asking.number))
    # Of two images, questions with two and with four options.
    expected = [("shifted", 2, 1), *(("shifted", 4, by) for by in (1, 2, 3))]
    for options in (2, 4):
        expected += [("reworded", options, wording) for wording in (1, 2, 3)]
        expected.append(("asked_again", options, 1))
    assert sorted(seen) == sorted(2 * expected)


def test_an_image_is_computed_once_for_all_of_its_askings(toy_benchmark):
    settings = config(Path(), toy_benchmark, max_new_tokens=24)
    policy = load_policy(settings.policy)
    assert share_prefixes(policy.model) is None
    samples = load_benchmark(toy_benchmark).samples[:1]
    rows = build_rows(samples, settings.prompt, policy.processor, policy.family)
    mark, seen = policy.processor.image_token_id, []
    policy.model.get_input_embeddings().register_forward_hook(
        lambda _, given, __: seen.append(int((given[0] == mark).sum()))
    )
    totals = []
    for shared in (True, False):
        seen.clear()
        shares = replace(settings.policy, shared_prefix=shared)
        found = list(answer(policy, rows, replace(settings, policy=shares)))
        totals.append(sum(seen))
    askings = len(found) + sum(len(one.askings) for one in found)
    assert askings == 15 and 0 < 15 * totals[0] == totals[1]


def test_the_card_says_what_was_on_and_figures_are_there(greedy):
    card = known_settings(greedy)
    assert {**card["consistency"], "reworded": len(card["consistency"]["reworded"])} == {
        "shifted": "all",
        "reworded": 64,
        "asked_again": True,
    }
    found = score(greedy, resamples=20)["consistency"]
    assert found["questions"] == 4 and found.keys() >= {"shifted", "reworded", "asked_again"}


def test_without_further_askings_the_answers_are_the_same(greedy, toy_benchmark, tmp_path):
    plain = config(tmp_path, toy_benchmark, consistency=ConsistencyConfig())
    found = read_predictions(predict_benchmark(plain))
    assert found == [replace(one, askings=None) for one in read_predictions(greedy)]
    assert known_settings(tmp_path / "predictions.jsonl")["consistency"] is None
    with pytest.raises(InputError, match="the same options"):  # not gone on with otherwise
        predict_benchmark(config(tmp_path, toy_benchmark))


def test_votes_are_those_of_any_batch_and_of_a_run_that_was_cut(toy_benchmark, tmp_path):
    drawn = {"temperature": 1.0, "votes": 3, "consistency": ConsistencyConfig(asked_again=True)}
    whole = predict_benchmark(config(tmp_path / "whole", toy_benchmark, **drawn))
    for one in read_predictions(whole):
        question = Question(one.question, one.question_type, one.options)
        elected = elect(one.drawn, question)
        assert len(one.drawn) == 3 and one.completion == one.drawn[elected.place]
        assert one.vote_share == elected.share
    assert any(len(set(one.drawn)) > 1 for one in read_predictions(whole))
    lines = whole.read_bytes().splitlines(keepends=True)
    cut = tmp_path / "cut" / whole.name
    cut.parent.mkdir()
    for name in ("predictions.identity.json", "predictions.settings.json"):
        (cut.parent / name).write_bytes(whole.with_name(name).read_bytes())
    cut.write_bytes(b"".join(lines[:2]) + lines[2][:70])
    other = config(cut.parent, toy_benchmark, **{**drawn, "batch_size": 5})
    assert predict_benchmark(other).read_bytes() == whole.read_bytes()
    decoding = known_settings(whole)["decoding"]
    assert decoding == {
        "kind": "drawn",
        "max_new_tokens": 32,
        "repetition_penalty": 1.0,
        "temperature": 1.0,
        "votes": 3,
        "seed": 0,
    }
    with pytest.raises(InputError, match="the same options"):
        predict_benchmark(config(cut.parent, toy_benchmark, **{**drawn, "votes": 4}))
