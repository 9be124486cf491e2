"""AnomalyR1: a reasoning vision-language policy for industrial anomaly detection.

What a program needs most, by name. Nothing is imported before it is asked for, so that
`import anomalyr1` loads neither torch nor transformers.

A benchmark in MMAD's format, as `data build` and `data synth` write it:

>>> import json, pathlib, tempfile
>>> import anomalyr1
>>> folder = pathlib.Path(tempfile.mkdtemp())
>>> asked = {"Question": "Is there a defect?", "Answer": "B", "Options": {"A": "No.", "B": "Yes."},
...          "type": "Anomaly Detection"}
>>> record = {"image_path": "test/dent/1.png", "conversation": [asked]}
>>> _ = (folder / "mmad.json").write_text(json.dumps({"Shop/lid/test/dent/1.png": record}))
>>> [sample] = anomalyr1.load_benchmark(folder).samples
>>> sample.category, sample.is_normal, sample.questions[0].answer
('lid', False, 'B')

A `Sample` holds `Question`s, and both hold a `Box` for each defect, in pixels of the image:

>>> question = anomalyr1.Question("Is there a defect?", "Anomaly Detection", asked["Options"], "B")
>>> anomalyr1.Box(40, 30, 90, 70, "dent").area
2000

What a completion says; the parser never raises:

>>> text = "<think>The rim is bent. So the answer is B.</think><answer>B</answer>"
>>> response = anomalyr1.parse_response(text, question)
>>> response.conclusion, response.answer, response.well_formed
('B', 'B', True)

What it is worth. The terms are callables of the form that TRL calls, with a weight each:

>>> from anomalyr1.config import RewardConfig
>>> terms, weights = anomalyr1.build_rewards(RewardConfig(preset="paper"))
>>> columns = {"options": [asked["Options"]], "answer": ["B"]}
>>> {term.__name__: term([text], **columns) for term in terms}
{'accuracy': [1.0], 'consistency': [1.0]}

Scores of a predictions.jsonl, without policy, image or GPU:

>>> line = {"image": sample.image, "question_index": 0, "question_type": "Anomaly Detection",
...         "options": asked["Options"], "answer": "B", "completion": text}
>>> _ = (folder / "predictions.jsonl").write_text(json.dumps(line))
>>> anomalyr1.score(folder / "predictions.jsonl")["micro"]["strict"]
100.0

`train`, `evaluate` and `load_policy` take what `anomalyr1.config.load_config` reads: the first two
a whole config, the last its section `policy`. The README runs them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from anomalyr1.data.mmad import load_benchmark
    from anomalyr1.evaluation.pipeline import evaluate
    from anomalyr1.evaluation.score import score
    from anomalyr1.inspection.inspector import Inspector
    from anomalyr1.parsing import parse_response
    from anomalyr1.policy.load import load_policy
    from anomalyr1.rewards.build import build_rewards
    from anomalyr1.schema import Box, Question, Sample
    from anomalyr1.training.grpo import train

__version__ = "0.1.0"

__all__ = [
    "Box",
    "Inspector",
    "Question",
    "Sample",
    "build_rewards",
    "evaluate",
    "load_benchmark",
    "load_policy",
    "parse_response",
    "score",
    "train",
]

_HOME = {
    "Box": "schema",
    "Inspector": "inspection.inspector",
    "Question": "schema",
    "Sample": "schema",
    "build_rewards": "rewards.build",
    "evaluate": "evaluation.pipeline",
    "load_benchmark": "data.mmad",
    "load_policy": "policy.load",
    "parse_response": "parsing",
    "score": "evaluation.score",
    "train": "training.grpo",
}


def __getattr__(name: str) -> Any:
    """A public name, from the module that it lives in (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
