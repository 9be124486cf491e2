"""`eval.likelihood=true`: letters weighed for every question, in predictions and in metrics."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from evaluation_data import letter, question, write

from anomalyr1.config import Config, EvalConfig, PolicyConfig, PromptConfig
from anomalyr1.errors import InputError
from anomalyr1.evaluation.letter_scores import letter_scores
from anomalyr1.evaluation.predict import predict_benchmark
from anomalyr1.evaluation.prediction_lines import read_predictions
from anomalyr1.evaluation.report.tables import likelihood_tables
from anomalyr1.evaluation.score import score
from anomalyr1.parsing.letter_likelihood import LetterLikelihood, anomaly_probability
from anomalyr1.schema import Question


def config(run_dir: Path, policy: Path, benchmark: Path, *, shared: bool) -> Config:
    return Config(
        run_dir=str(run_dir),
        policy=PolicyConfig(path=str(policy), max_pixels=12544, shared_prefix=shared),
        prompt=PromptConfig(references=1),
        eval=EvalConfig(benchmark=str(benchmark), batch_size=8, max_new_tokens=8, likelihood=True),
    )


def test_letters_are_weighed_behind_shared_prefixes_as_without(
    tiny_policy, toy_benchmark, tmp_path
):
    files = [
        predict_benchmark(config(tmp_path / name, tiny_policy, toy_benchmark, shared=shared))
        for name, shared in (("shared", True), ("plain", False))
    ]
    shared, plain = (read_predictions(file) for file in files)
    for one, other in zip(shared, plain, strict=True):
        if not one.options:
            assert one.letter_logps is None and one.score is None
            continue
        for weigh in ("reasoning", "at_once"):
            assert one.letter_logps[weigh].keys() == one.options.keys()
            assert one.letter_logps[weigh] == pytest.approx(other.letter_logps[weigh], abs=1e-4)
        asked = Question(one.question, one.question_type, one.options)
        found = anomaly_probability(LetterLikelihood(one.letter_logps["reasoning"]), asked)
        assert one.score == found and (found is None) == (one.question_index != 0)
    metrics = score(files[0])
    pooled = metrics["likelihood"]["scores"]["reasoning"]["pooled"]
    assert pooled["auroc"] == pytest.approx(metrics["detection"]["pooled"]["auroc"], abs=1e-3)
    assert (pooled["normal"], pooled["anomalous"]) == (4, 4)
    assert metrics["likelihood"]["questions"] == 16
    # A policy of random weights writes no letter, but always finds one likelier.
    letters = metrics["likelihood"]["letters"]
    assert letters["parsed"]["micro"] == 0.0 < letters["at_once"]["micro"]
    # A folder of predictions without likelihoods is not gone on with.
    file = tmp_path / "shared" / "predictions.identity.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "options": {}}))
    with pytest.raises(InputError, match="the same options"):
        predict_benchmark(config(tmp_path / "shared", tiny_policy, toy_benchmark, shared=True))


def weighed(name: str, normal: bool, written: str, reasoned: float, at_once: float):
    """A prediction whose letters A (a defect) and B are weighed; the numbers are P(A)."""
    logps = {
        weigh: {"A": math.log(p), "B": math.log(1 - p)}
        for weigh, p in (("reasoning", reasoned), ("at_once", at_once))
    }
    asked = question(name, 0, letter(written), normal=normal, score=reasoned)
    return replace(asked, letter_logps=logps)


def test_by_hand(tmp_path):
    """Gold is B of the two normal images, A of the two others."""
    predictions = [
        weighed("1", True, "B", 0.1, 0.2),
        weighed("2", True, "A", 0.6, 0.3),
        weighed("3", False, "A", 0.9, 0.8),
        weighed("4", False, "?", 0.7, 0.4),
    ]
    metrics = score(write(tmp_path / "predictions.jsonl", predictions), resamples=50)
    found = metrics["likelihood"]
    reasoned, at_once = (found["scores"][name]["pooled"] for name in ("reasoning", "at_once"))
    assert reasoned["auroc"] == at_once["auroc"] == 100.0
    assert reasoned["brier"] == pytest.approx((0.01 + 0.36 + 0.01 + 0.09) / 4, abs=1e-6)
    assert at_once["brier"] == pytest.approx((0.04 + 0.09 + 0.04 + 0.36) / 4, abs=1e-6)
    assert reasoned["fpr_at_95_tpr"] == 0.0 and reasoned["f1_max"] == 100.0
    micro = {name: table["micro"] for name, table in found["letters"].items()}
    assert micro == {"parsed": 50.0, "reasoning": 75.0, "at_once": 75.0}
    page = "".join(likelihood_tables(metrics))
    for text in ("letter as written", "after reasoning", "at once", "FPR at 95 % TPR", "50.0"):
        assert text in page


def test_a_file_without_likelihoods_has_none_of_it(tmp_path):
    predictions = [question("1", 0, letter("A"))]
    metrics = score(write(tmp_path / "predictions.jsonl", predictions), resamples=10)
    assert "likelihood" not in metrics and likelihood_tables(metrics) == []
    assert letter_scores([], 10) is None


@pytest.mark.parametrize(
    "logps",
    [{"reasoning": {"A": -1.0}}, {"elsewhere": {"A": -1.0, "B": -1.0}}, {"at_once": {"A": "x"}}, 3],
)
def test_logarithms_of_other_letters_are_refused(logps, tmp_path):
    from anomalyr1.evaluation.prediction_lines import prediction_to_row
    from anomalyr1.storage import write_jsonl

    path = tmp_path / "predictions.jsonl"
    row = prediction_to_row(question("1", 0, letter("A")))
    write_jsonl(path, [{**row, "letter_logps": logps}])
    with pytest.raises(InputError, match="`letter_logps` to be"):
        read_predictions(path)
