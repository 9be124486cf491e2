"""The foot of the report: commands, versions, hashes and config of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from anomalyr1.evaluation.kept_settings import CHANGED, FIELDS
from anomalyr1.evaluation.report.markup import Markup, join, tag
from anomalyr1.evaluation.report.runs import Run
from anomalyr1.settings_card import flat, shown


def origin(run: Run) -> Markup:
    """All that is recorded about how a run came to be."""
    entries = [entry for entry in run.provenance.get("runs", []) if isinstance(entry, Mapping)]
    return tag(
        "div",
        tag("h3", run.name),
        *(_entry(entry) for entry in entries),
        *_settings(run),
        _facts(_measured(run)),
        _folded("config.yaml", run.config),
        class_="origin",
    )


def _entry(entry: Mapping[str, Any]) -> Markup:
    versions = entry.get("versions") or {}
    facts = {
        "command": entry.get("command"),
        "started": entry.get("started"),
        "seed": entry.get("seed"),
        "commit": entry.get("commit"),
        "data": _flat(entry.get("data")),
        "platform": _line([entry.get("platform"), f"Python {entry.get('python')}"]),
        "versions": _line([f"{name} {version}" for name, version in versions.items()]),
    }
    return join([tag("p", str(entry.get("verb", "run")), class_="label"), _facts(facts)])


def _settings(run: Run) -> list[Markup | None]:
    """The settings card; what is not known of it is named."""
    if run.metrics is None:
        return []
    card, unknown = run.metrics["settings"]["card"], run.metrics["settings"]["unknown"]
    prompts = card.get("prompts")
    told = {name: card[name] for name in (*FIELDS, CHANGED) if name in card and name != "prompts"}
    facts = {name: shown(value) for name, value in flat(told).items()}
    whole = {name: value for name, value in flat(told).items() if name.endswith("sha256")}
    return [
        tag("p", "settings", class_="label"),
        _facts({**facts, **whole, "not known": ", ".join(unknown)}),
        *(
            _folded(f"the prompt: {name}", str(text))
            for name, text in (prompts.items() if isinstance(prompts, Mapping) else ())
        ),
    ]


def _measured(run: Run) -> dict[str, Any]:
    if run.metrics is None:
        return {}
    predictions, intervals = run.metrics["predictions"], run.metrics["intervals"]
    return {
        "predictions": f"sha256 {predictions['sha256']}",
        "intervals": f"{intervals['level']:.0f} %, {intervals['method']}, "
        f"{intervals['resamples']} resamples, seed {intervals['seed']}",
    }


def _facts(facts: Mapping[str, Any]) -> Markup | None:
    there = {name: value for name, value in facts.items() if value not in (None, "", {})}
    if not there:
        return None
    pairs = (join([tag("dt", name), tag("dd", str(value))]) for name, value in there.items())
    return tag("dl", *pairs)


def _flat(data: Any) -> str:
    if not isinstance(data, Mapping):
        return ""
    return _line(
        [f"{key} {value}" for key, value in data.items() if isinstance(value, (str, int, float))]
    )


def _line(parts: list[Any]) -> str:
    return " · ".join(str(part) for part in parts if part)


def _folded(title: str, text: str | None) -> Markup | None:
    if not text:
        return None
    return tag("details", tag("summary", title), tag("pre", text))
