"""The foot of the report: commands, versions, hashes and config of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from anomalyr1.evaluation.report.markup import Markup, join, tag
from anomalyr1.evaluation.report.runs import Run


def origin(run: Run) -> Markup:
    """All that is recorded about how a run came to be."""
    entries = [entry for entry in run.provenance.get("runs", []) if isinstance(entry, Mapping)]
    return tag(
        "div",
        tag("h3", run.name),
        *(_entry(entry) for entry in entries),
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
