"""One run of an ablation, resolved: its configs, checked, and the hash of all that decides it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from anomalyr1.config import Config, load_config, refuse_without_effect
from anomalyr1.config.effects import SECTIONS
from anomalyr1.data.fingerprint import file_sha256
from anomalyr1.data.mixture import read_mixture
from anomalyr1.data.mmad import BENCHMARK_NAME
from anomalyr1.policy.weights import weights_digest
from anomalyr1.rewards.build import build_rewards
from anomalyr1.rewards.own import hashes_of_own
from anomalyr1.training.arguments import trl_defaults, trl_keys

VERBS = ("train", "sft", "none")

# What each verb does not read of its config, and what decides no training.
_UNREAD = {"train": ("sft",), "sft": ("grpo", "reward", "preflight", "signal")}
_NOT_OF_TRAINING = ("run_dir", "guard", "eval", "segmentation")
_OF_EVALUATION = ("seed", "prompt", "policy", "eval", "segmentation")


@dataclass(frozen=True)
class Resolved:
    """What a run is made of.

    Attributes:
        verb: train, sft or none.
        base: config of the training.
        own: overrides of the training, with its seed.
        evaluation: config of the evaluation.
        shared: overrides of both.
        training: the resolved training config.
        digest: hash of all that decides the run.
    """

    verb: str
    base: Path
    own: Sequence[str]
    evaluation: Path
    shared: Sequence[str]
    training: Config
    digest: str


def resolve(verb: str, base: Path, evaluation: Path, shared: Sequence[str], seed: int) -> Resolved:
    """Read and check both configs of a run.

    The hash is of what the verbs read of them, and of the contents of the benchmarks, of the
    weights that the run starts from and of the user's own rewards, as far as they are there: a
    policy that was made anew is trained and evaluated anew.

    Raises:
        InputError: a config cannot be used.
    """
    own = [*shared, f"seed={seed}"]
    kind = _kind(verb)
    training = load_config(base, own, {} if kind is None else {SECTIONS[verb]: trl_keys(kind)})
    terms = build_rewards(training.reward)[0] if verb == "train" else []
    if kind is not None:
        names = [term.__name__ for term in terms]
        refuse_without_effect(training, verb, trl_defaults(kind), names)
    asked_config = load_config(evaluation, shared)
    refuse_without_effect(asked_config, "eval")
    trained, asked = asdict(training), asdict(asked_config)
    asked = {name: asked[name] for name in _OF_EVALUATION}
    del asked["policy"]["path"]
    if verb == "none":
        policy = trained["policy"]
        trained = {key: policy[key] for key in ("path", "revision")}
    else:
        for section in (*_NOT_OF_TRAINING, *_UNREAD[verb]):
            del trained[section]
    decides = [verb, trained, asked, _contents(training, asked_config, verb)]
    if own_hashes := hashes_of_own(terms):
        decides.append(own_hashes)
    digest = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()
    return Resolved(verb, base, own, evaluation, shared, training, digest)


def _kind(verb: str) -> type | None:
    """TRL's arguments of a verb that trains."""
    from trl import GRPOConfig, SFTConfig

    return {"train": GRPOConfig, "sft": SFTConfig}.get(verb)


def _contents(training: Config, evaluation: Config, verb: str) -> list[str | None]:
    """Hashes of the weights, the benchmarks and what else is shown; None for what is not there."""
    data = training.data
    files: list[str | None] = [evaluation.eval.benchmark]
    if verb != "none":
        files += [data.benchmark, data.heldout, data.mixture]
        if training.prompt.domain_knowledge is not None:
            files.append(training.prompt.domain_knowledge)
        if data.mixture is not None and Path(data.mixture).is_file():
            files += [str(part.path) for part in read_mixture(Path(data.mixture))]
    if evaluation.prompt.domain_knowledge is not None:
        files.append(evaluation.prompt.domain_knowledge)
    return [weights_digest(Path(training.policy.path)), *map(_sha256, files)]


def _sha256(path: Any) -> str | None:
    if path is None:
        return None
    file = Path(path) / BENCHMARK_NAME if Path(path).is_dir() else Path(path)
    return file_sha256(file) if file.is_file() else None
