"""The settings card that lies beside predictions, and what is known of predictions without one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anomalyr1.errors import InputError
from anomalyr1.evaluation.rewordings import WORDINGS
from anomalyr1.provenance import read_provenance
from anomalyr1.run_folder import PREDICTIONS_ORIGIN, PREDICTIONS_SETTINGS, PROVENANCE
from anomalyr1.settings_card import code_versions, differences, drawn, greedy, text_digest
from anomalyr1.storage import read_json, write_json

POLICY = "policy"
CHANGED = "changed"  # what a run that was gone on with did otherwise than before

# What a card says, in the order in which it is shown.
FIELDS = (
    POLICY,
    "backend",
    "dtype",
    "attention",
    "shared_prefix",
    "device",
    "pixels",
    "decoding",
    "batch_size",
    "likelihood",
    "consistency",
    "blind",
    "benchmark_sha256",
    "question_types",
    "limit",
    "options_order",
    "template",
    "prompts",
    "prompt_sha256",
    "references",
    "reference_kind",
    "knowledge_sha256",
    "knowledge_tokens",
    "versions",
    "commit",
)
_TOLD_BY_HASH = ("prompts",)


@dataclass(frozen=True)
class Unlike:
    """Where the settings of two evaluations differ.

    Attributes:
        fields: a text each, with both values; of what both sides know.
        unknown: fields that one side at least does not know.
    """

    fields: tuple[str, ...]
    unknown: tuple[str, ...]

    @property
    def told(self) -> str:
        """In one line.

        >>> Unlike(("dtype (float32 and bfloat16)",), ("commit",)).told
        'differ in dtype (float32 and bfloat16); not known of both: commit'
        >>> Unlike((), ()).told
        'equal'
        """
        parts = [f"differ in {', '.join(self.fields)}"] if self.fields else []
        if self.unknown:
            names = "any" if {*FIELDS} <= {*self.unknown, POLICY} else ", ".join(self.unknown)
            parts.append(f"not known of both: {names}")
        return "; ".join(parts) or "equal"


def keep_settings(predictions: Path, card: Mapping[str, Any], *, goes_on: bool) -> None:
    """Write a card beside the predictions it is of.

    Args:
        predictions: the file.
        card: of the answers to come.
        goes_on: the file holds answers already; where those were made otherwise the card says so.
    """
    path = predictions.with_name(PREDICTIONS_SETTINGS)
    changed: list[str] = []
    if goes_on and path.exists():
        before = _read(path)
        changed = [*before.get(CHANGED, []), *unlike(before, card).fields]
    more = {CHANGED: list(dict.fromkeys(changed))} if changed else {}
    write_json(path, {**card, **more})


def known_settings(predictions: Path) -> dict[str, Any]:
    """The fields of the card that are known of a predictions file.

    Without a card these are what the record of the predictions' origin and that of the commands
    tell; nothing where the file is alone.

    Raises:
        InputError: one of those files is broken.
    """
    path = predictions.with_name(PREDICTIONS_SETTINGS)
    if path.exists():
        return _read(path)
    return {**_of_commands(predictions.parent), **_of_origin(predictions.parent)}


def unknown_fields(card: Mapping[str, Any]) -> tuple[str, ...]:
    """The fields that a card does not know."""
    return tuple(name for name in FIELDS if name not in card)


def unlike(first: Mapping[str, Any], second: Mapping[str, Any]) -> Unlike:
    """Where two cards differ, as far as both know a field."""
    names = [name for name in dict.fromkeys((*FIELDS, *first, *second)) if name != CHANGED]
    both = [name for name in names if name in first and name in second]
    compared = [name for name in both if name not in _TOLD_BY_HASH]
    return Unlike(
        tuple(differences({n: first[n] for n in compared}, {n: second[n] for n in compared})),
        tuple(name for name in names if name not in both),
    )


def unlike_but_for_the_policy(first: Mapping[str, Any], second: Mapping[str, Any]) -> Unlike:
    """The same for evaluations of different policies, of which that is no news."""
    found = unlike(
        *(
            {name: value for name, value in card.items() if name != POLICY}
            for card in (first, second)
        )
    )
    return Unlike(found.fields, tuple(name for name in found.unknown if name != POLICY))


def chosen_settings(
    benchmark_sha256: str, prompt: Mapping[str, Any], options: Mapping[str, Any]
) -> dict[str, Any]:
    """The fields that a config alone decides.

    Args:
        benchmark_sha256: of the mmad.json.
        prompt: the section of the config.
        options: of `eval`, and the seed.
    """
    shuffled, limit = options["shuffle_options"], options["limit"]
    blind = bool(options.get("blind"))
    temperature = options.get("temperature")
    references = 0 if blind else prompt["references"]
    return {
        "benchmark_sha256": benchmark_sha256,
        "question_types": options["question_types"],
        "limit": None
        if limit is None
        else {
            "images": limit,
            "seed": options["seed"],
            "stratified": bool(options.get("stratified")),
        },
        "options_order": "on disk" if shuffled is None else f"shuffled from {shuffled}",
        "decoding": drawn(options["max_new_tokens"], temperature, options["votes"], options["seed"])
        if temperature
        else greedy(options["max_new_tokens"]),
        "likelihood": bool(options.get("likelihood")),
        "consistency": consistency_settings(options.get("consistency")),
        "blind": blind,
        "template": prompt["template"],
        "references": references,
        "reference_kind": prompt["reference_kind"] if references else None,
        "knowledge_tokens": prompt["knowledge_tokens"] if prompt["domain_knowledge"] else None,
    }


def consistency_settings(asked: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What is asked more than once, by the section of the config; None where nothing is.

    Other wordings are told by the hash of all of them.
    """
    on = {name: value for name, value in (asked or {}).items() if value}
    if on.get("reworded"):
        on["reworded"] = text_digest(json.dumps(WORDINGS))
    return on or None


def _of_origin(folder: Path) -> dict[str, Any]:
    """What the identity of predictions tells, which runs had before there were cards."""
    path = folder / PREDICTIONS_ORIGIN
    if not path.exists():
        return {}
    record = read_json(path, "the origin of the predictions")
    try:
        policy, prompt = record["policy"], record["prompt"]
        knowledge = {} if prompt["domain_knowledge"] else {"knowledge_sha256": None}
        return {
            POLICY: {
                "path": policy["path"],
                "revision": policy["revision"],
                "sha256": record["weights"],
            },
            "pixels": [policy["min_pixels"], policy["max_pixels"]],
            **chosen_settings(record["benchmark"], prompt, record["options"]),
            **knowledge,
        }
    except (KeyError, TypeError):
        raise InputError(
            f"expected the origin of the predictions in {path}, found another form; put the file "
            "back as it was written, or take it away"
        ) from None


def _of_commands(folder: Path) -> dict[str, Any]:
    """What the last evaluation that the folder remembers tells of its code."""
    if not (folder / PROVENANCE).exists():
        return {}
    runs = [run for run in read_provenance(folder / PROVENANCE)["runs"] if run["verb"] == "eval"]
    last = runs[-1] if runs else {}
    found = {"commit": last["commit"]} if "commit" in last else {}
    installed = last.get("versions")
    return {**found, "versions": code_versions(installed)} if isinstance(installed, dict) else found


def _read(path: Path) -> dict[str, Any]:
    card = read_json(path, "the settings of the predictions")
    if not isinstance(card, dict):
        raise InputError(
            f"expected the settings of the predictions in {path}, found another form; put the file "
            "back as it was written, or take it away"
        )
    return card
