"""YAML files and key=value overrides -> a typed Config, with every error reported at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import TypeAdapter, ValidationError
from yaml import YAMLError

from anomalyr1.config.section import problems
from anomalyr1.config.sections import Config
from anomalyr1.errors import InputError, one_line, unknown_key
from anomalyr1.storage import read_yaml


class ConfigFaults(InputError):
    """A config whose keys or values are wrong.

    Attributes:
        faults: a text each: where, what is expected and found.
    """

    def __init__(self, path: Path, faults: Sequence[str]) -> None:
        super().__init__(
            f"expected known keys and fitting values in {path} and its overrides, found "
            f"{'; '.join(faults)}; correct them"
        )
        self.faults = tuple(faults)


_UNREADABLE = (OmegaConfBaseException, YAMLError, ValueError, TypeError, RecursionError)


def load_config(
    path: Path,
    overrides: Sequence[str] = (),
    verbatim: Mapping[str, frozenset[str]] | None = None,
) -> Config:
    """Read a config file.

    `base: other.yaml` in a file inherits that one file (relative to the inheriting one).

    Args:
        path: the YAML file.
        overrides: `section.key=value` strings, applied last; values are read as YAML.
        verbatim: key names that a free section (`grpo`, `sft`) may hold, to be checked as well.

    Raises:
        InputError: one line that names every unknown key (with the nearest known one) and every
            value of a wrong type or out of its range.
    """
    layers = [*_read(path, ()), *map(_override, overrides)]
    try:
        raw: Any = OmegaConf.to_container(OmegaConf.merge(*layers), resolve=True)
    except _UNREADABLE as error:
        raise InputError(
            f"expected a readable config in {path}, found: {one_line(error)}; mend it"
        ) from None
    found: list[str] = []
    try:
        config = TypeAdapter(Config).validate_python(raw)
    except ValidationError as error:
        found += problems(Config, error)
    for section, names in (verbatim or {}).items():
        given = raw.get(section)
        for key in given if isinstance(given, dict) else ():
            if key not in names:
                found.append(unknown_key(f"{section}.{key}", str(key), names))
    if found:
        raise ConfigFaults(path, found)
    return config


def dump_config(config: Config) -> str:
    """The resolved config as YAML; reading it back gives an equal Config."""
    return OmegaConf.to_yaml(OmegaConf.create(asdict(config)))


def _read(path: Path, inherited: tuple[Path, ...]) -> list[dict[str, Any]]:
    """The mappings of a file and its bases, the innermost base first."""
    if not path.is_file():
        raise InputError(f"expected a config file at {path.absolute()}, found none; check the path")
    path = path.resolve()
    if path in inherited:
        raise InputError(
            f"expected a chain of bases that ends, found {path} inheriting itself; cut it"
        )
    loaded = read_yaml(path, "a readable config", resolve=False)
    if not isinstance(loaded, dict):
        raise InputError(
            f"expected a mapping of sections in {path}, found {type(loaded).__name__}; write "
            "section: {key: value}"
        )
    base = loaded.pop("base", None)
    below = [] if base is None else _read(path.parent / str(base), (*inherited, path))
    return [*below, loaded]


def _override(override: str) -> Any:
    key, separator, _ = override.partition("=")
    if not separator or not key.strip():
        raise _not_an_override(override, "no key and value")
    try:
        return OmegaConf.from_dotlist([override])
    except _UNREADABLE as error:
        raise _not_an_override(override, one_line(error)) from None


def _not_an_override(override: str, why: str) -> InputError:
    return InputError(
        f"expected an override like section.key=value, found {override!r} ({why}); correct it"
    )
