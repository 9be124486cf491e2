"""The whole examination: libraries are tried in processes of their own, the config in this one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from anomalyr1.config import Config
from anomalyr1.doctor.config import need_lines, read_config, training_sections
from anomalyr1.doctor.lines import Line
from anomalyr1.doctor.machine import machine_lines
from anomalyr1.doctor.packages import IMPORTS, installed, package_lines
from anomalyr1.doctor.policy_and_data import Progress, input_lines
from anomalyr1.doctor.probe import Facts, import_error, probe


@dataclass(frozen=True)
class Machine:
    """What the tries gave.

    Attributes:
        facts: what torch sees, or why torch or transformers does not run.
        broken: package that is there and cannot be imported -> what it says.
    """

    facts: Facts | str
    broken: dict[str, str]


def try_libraries() -> Machine:
    """Let torch look around and import what often breaks, two processes at a time."""
    with ThreadPoolExecutor(max_workers=2) as pool:
        facts = pool.submit(probe)
        tried = {
            package: pool.submit(import_error, statement)
            for package, statement in IMPORTS.items()
            if installed(package) is not None
        }
        errors = {package: future.result() for package, future in tried.items()}
        broken = {package: error for package, error in errors.items() if error is not None}
        return Machine(facts.result(), broken)


def examine(
    machine: Machine,
    path: Path | None = None,
    overrides: Sequence[str] = (),
    *,
    progress: Progress = iter,
    prepare: Callable[[], None] = lambda: None,
) -> dict[str, list[Line]]:
    """Everything there is to say about the machine and, where one is given, a config.

    Args:
        machine: what `try_libraries` gave.
        path: the config.
        overrides: `section.key=value` strings.
        progress: wraps the loop over a benchmark's images.
        prepare: called before libraries are imported into this process; that is left out where
            torch does not run.

    Returns:
        Lines under the titles packages, machine and config.
    """
    facts = machine.facts if isinstance(machine.facts, Facts) else None
    config, lines, room = None, [], 0
    if path is not None and facts is None:
        lines = [Line("file", "note", "not read, because torch does not run")]
    elif path is not None and facts is not None:
        prepare()
        config, lines = read_config(path, overrides)
        if config is not None:
            inputs, size = input_lines(config, progress)
            lines += [*inputs, *need_lines(config, facts, machine.broken)]
            room = _room(config, size)
    shown = config or Config()
    parts = {
        "packages": package_lines(machine.facts, machine.broken),
        "machine": machine_lines(facts, Path(shown.run_dir), shown.policy.attention, room),
    }
    return {**parts, "config": lines} if path is not None else parts


def _room(config: Config, size: int) -> int:
    """Bytes of a training's checkpoints: weights and AdamW's two states each, one in writing."""
    if config.policy.lora is not None:
        return 0
    kept = [given.get("save_total_limit") or 1 for given in training_sections(config).values()]
    return 3 * size * (max(kept) + 1) if kept else 0
