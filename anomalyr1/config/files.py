"""YAML files and key=value overrides -> a typed Config, with every error reported at once."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from anomalyr1.config.sections import Config
from anomalyr1.errors import InputError


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
            value of a wrong type.
    """
    try:
        merged = OmegaConf.merge(_read(path, ()), _dotlist(overrides))
        raw = OmegaConf.to_container(merged, resolve=True)
    except (OmegaConfBaseException, YAMLError) as error:
        raise InputError(
            f"expected a readable config in {path}, found: {_one_line(error)}"
        ) from None
    problems: list[str] = []
    config = _build(Config, raw, "", problems)
    for section, names in (verbatim or {}).items():
        given = raw.get(section) if isinstance(raw, dict) else None
        for key in given if isinstance(given, dict) else ():
            if key not in names:
                problems.append(_unknown(f"{section}.{key}", str(key), names))
    if problems:
        raise InputError(f"{path}: {'; '.join(problems)}")
    assert isinstance(config, Config)
    return config


def dump_config(config: Config) -> str:
    """The resolved config as YAML; reading it back gives an equal Config."""
    return OmegaConf.to_yaml(OmegaConf.create(asdict(config)))


def _read(path: Path, inherited: tuple[Path, ...]) -> Any:
    path = path.resolve()
    if path in inherited:
        raise InputError(f"expected a chain of bases that ends, found {path} inheriting itself")
    if not path.is_file():
        raise InputError(f"expected a config file at {path}, found none; check the path")
    loaded: Any = OmegaConf.load(path)
    if not OmegaConf.is_dict(loaded):
        raise InputError(f"expected a mapping of sections in {path}, found something else")
    base = loaded.pop("base", None)
    if base is None:
        return loaded
    return OmegaConf.merge(_read(path.parent / str(base), (*inherited, path)), loaded)


def _dotlist(overrides: Sequence[str]) -> Any:
    for override in overrides:
        key, separator, _ = override.partition("=")
        if not separator or not key.strip():
            raise InputError(f"expected an override like section.key=value, found {override!r}")
    return OmegaConf.from_dotlist(list(overrides))


def _build(kind: Any, value: Any, where: str, problems: list[str]) -> Any:
    """`value` as an instance of the type `kind`; problems are appended, never raised."""
    if kind is Any:
        return value
    if is_dataclass(kind) and isinstance(kind, type):
        return _build_section(kind, value, where, problems)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in arguments:
            return None
        return _build_union([a for a in arguments if a is not type(None)], value, where, problems)
    if origin is Literal:
        if value not in arguments:
            allowed = ", ".join(str(argument) for argument in arguments)
            problems.append(f"{where}: expected one of {allowed}, found {value!r}")
        return value
    if origin is list and isinstance(value, list):
        return [_build(arguments[0], v, f"{where}[{i}]", problems) for i, v in enumerate(value)]
    if origin in (dict, Mapping) and isinstance(value, dict):
        return {k: _build(arguments[1], v, f"{where}.{k}", problems) for k, v in value.items()}
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    wanted = origin or kind
    if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
        name = getattr(wanted, "__name__", str(wanted))
        problems.append(f"{where}: expected {name}, found {value!r}")
    return value


def _build_union(options: Sequence[Any], value: Any, where: str, problems: list[str]) -> Any:
    tried: list[str] = []
    for option in options:
        tried = []
        built = _build(option, value, where, tried)
        if not tried:
            return built
    problems.extend(tried)
    return value


def _build_section(kind: type, value: Any, where: str, problems: list[str]) -> Any:
    if not isinstance(value, dict):
        problems.append(f"{where}: expected a section of keys, found {value!r}")
        return None
    hints = get_type_hints(kind)
    known = [f.name for f in fields(kind)]
    arguments = {}
    for key, item in value.items():
        name = f"{where}.{key}" if where else str(key)
        if key in known:
            arguments[key] = _build(hints[key], item, name, problems)
        else:
            problems.append(_unknown(name, str(key), known))
    try:
        return kind(**arguments)
    except InputError as error:
        problems.append(f"{where}: {error}")
        return None


def _unknown(name: str, key: str, known: Iterable[str]) -> str:
    nearest = difflib.get_close_matches(key, sorted(known), n=1, cutoff=0.0)
    return f"unknown key {name} (nearest: {nearest[0]})" if nearest else f"unknown key {name}"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
