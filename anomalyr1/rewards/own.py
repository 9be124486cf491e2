"""A reward of the user's own, named in the config by the dotted path of a callable of TRL's form.

    reward:
      terms:
        my_package.rewards.brevity: {weight: 0.5, options: {limit: 200}}

    # my_package/rewards.py
    def brevity(completions, limit=100, **columns):
        return [float(len(c[0]["content"]) <= limit) for c in completions]

Naming a callable runs its module: a config is trusted as much as the code that it names.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import math
import numbers
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from anomalyr1.errors import InputError, nearest
from anomalyr1.parsing import Gate
from anomalyr1.rewards.luggage import COLUMNS, shown_options
from anomalyr1.rewards.reading import completion_text, read_batch
from anomalyr1.rewards.telemetry import log_batch

# What TRL hands over besides the luggage; an option of one of these names would hide it.
_OF_TRL = (
    *("prompt", "prompts", "completion", "completions", "images"),
    *("trainer_state", "log_extra", "log_metric", "environments"),
)


@dataclass(frozen=True)
class OwnTerm:
    """A user's callable as a term of the reward.

    Training and replay call it with the same arguments: `completions` as TRL's conversations of one
    assistant message each, and the luggage (luggage.py) as columns, options without Arrow's nulls.
    What else TRL hands over (`prompts`, `images`, `trainer_state`, ...) is there in training only.

    Attributes:
        path: the dotted path.
        function: what stands there, or an instance made with the options where that is a class.
        options: keyword arguments of every call; empty for an instance.
        gate: of the telemetry.
        logs: True for the one term of a reward that logs the batch's telemetry.
    """

    path: str
    function: Callable[..., Any]
    options: Mapping[str, Any] = field(default_factory=dict)
    gate: Gate = "strict"
    logs: bool = False

    @property
    def name(self) -> str:
        """What TRL logs the term under: the last part of the path."""
        return self.path.rpartition(".")[2]

    @property
    def __name__(self) -> str:
        """TRL names a reward after its `__name__`."""
        return self.name

    @property
    def sha256(self) -> str:
        """Of the module that the path names and of the file that the callable is written in.

        What else those import is not seen.
        """
        written = self.function
        while isinstance(written, partial):
            written = written.func
        written = inspect.unwrap(written)
        if not inspect.isroutine(written):
            written = type(written)
        files = [getattr(sys.modules.get(self.path.rpartition(".")[0]), "__file__", None)]
        with suppress(TypeError):  # compiled
            files.append(inspect.getsourcefile(written))
        digest = hashlib.sha256()
        for file in dict.fromkeys(filter(None, files)):
            digest.update(Path(file).read_bytes())
        return digest.hexdigest()

    def __call__(self, completions: Sequence[Any], **columns: Any) -> list[float | None]:
        """Score a batch.

        Raises:
            InputError: the callable asks for a column that is not there, or returns anything but
                one number or None for each completion.
        """
        if self.logs:
            log_batch(read_batch(completions, columns, self.gate), columns)
        if columns.get("options") is not None:
            columns["options"] = [shown_options(options) or None for options in columns["options"]]
        asked = _required(self.function)
        missing = [name for name in asked if name not in columns and name not in self.options]
        if missing:
            raise InputError(
                f"expected the reward {self.path} to ask for columns that are there "
                f"({', '.join(columns)}), found it asking for {', '.join(missing)}; "
                "give it a default"
            )
        conversations = [
            [{"role": "assistant", "content": completion_text(completion)}]
            for completion in completions
        ]
        values = self.function(completions=conversations, **{**columns, **self.options})
        return self._checked(values, len(completions))

    def _checked(self, values: Any, count: int) -> list[float | None]:
        expected = f"expected the reward {self.path} to return a list of {count} numbers or nulls"
        try:
            found = list(values)
        except TypeError:
            raise InputError(f"{expected}, found {values!r:.80}; correct its return") from None
        if len(found) != count:
            raise InputError(f"{expected}, found {len(found)} of them; return one a completion")
        try:
            return [_number(value) for value in found]
        except TypeError as error:
            raise InputError(f"{expected}, found {error} among them; correct its return") from None


def hashes_of_own(terms: Iterable[object]) -> dict[str, str]:
    """Path -> sha256 of the source, for the user's own among the terms of a reward."""
    return {term.path: term.sha256 for term in terms if isinstance(term, OwnTerm)}


def own_term(path: str, options: Mapping[str, Any], gate: Gate) -> OwnTerm:
    """Import a reward.

    Raises:
        InputError: the path leads nowhere or to nothing of TRL's form, or an option does not fit.
    """
    target = _imported(path)
    if not callable(target) or inspect.iscoroutinefunction(target):
        found = "an async function" if callable(target) else f"{target!r:.40}"
        raise InputError(
            f"expected a plain callable at {path} in reward.terms, found {found}; name a function "
            "or a class"
        )
    _check_options(path, target, options)
    if isinstance(target, type):
        try:
            target, options = target(**options), {}
        except (TypeError, ValueError) as error:
            raise InputError(
                f"expected options that {path} can be made with, found {dict(options)} ({error}); "
                "correct reward.terms"
            ) from error
        if not callable(target):
            raise InputError(
                f"expected instances of {path} to be callable, found no __call__; "
                "define __call__(self, completions, **columns)"
            )
    kinds = [parameter.kind for parameter in _parameters(target)]
    if inspect.Parameter.VAR_KEYWORD not in kinds:
        raise InputError(
            f"expected {path} to take TRL's columns as **columns, found a callable without; "
            "write it as f(completions, **columns)"
        )
    return OwnTerm(path, target, dict(options), gate)


def _imported(path: str) -> Any:
    module_name, _, name = path.rpartition(".")
    if not module_name or not all(part.isidentifier() for part in path.split(".")):
        raise InputError(
            f"expected package.module.callable or a built-in term in reward.terms, found {path!r}; "
            "correct it"
        )
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise _broken(path, module_name, error) from error
        raise InputError(
            f"expected a module {module_name} for {path} in reward.terms, found none that Python "
            f"can import (no {error.name}); install it, or name its folder in PYTHONPATH (the "
            "command `anomalyr1` does not look in the working directory, `python -m anomalyr1` and "
            "`accelerate launch -m anomalyr1` do)"
        ) from None
    except Exception as error:
        raise _broken(path, module_name, error) from error
    try:
        return getattr(module, name)
    except AttributeError:
        public = [known for known in dir(module) if not known.startswith("_")]
        near = nearest(name, public)
        advice = f"did you mean {near!r}?" if near else "correct the name"
        raise InputError(
            f"expected a callable {name} in {module_name} (reward.terms), found none; {advice}"
        ) from None


def _broken(path: str, module: str, error: Exception) -> InputError:
    said = " ".join(str(error).split())
    return InputError(
        f"expected the module {module} of {path} in reward.terms to import, "
        f"found {type(error).__name__}: {said}; mend it"
    )


def _check_options(path: str, target: Any, options: Mapping[str, Any]) -> None:
    columns = () if isinstance(target, type) else (*COLUMNS, *_OF_TRL)
    known = [
        parameter.name
        for parameter in _parameters(target)
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        and parameter.name not in columns
    ]
    for option in options:
        if option not in known:
            raise InputError(
                f"expected options of {path} out of {', '.join(known) or 'none'}, "
                f"found {option!r}; correct reward.terms"
            )


def _required(function: Callable[..., Any]) -> list[str]:
    """Columns that a callable cannot do without; `completions` it always gets."""
    return [
        parameter.name
        for parameter in _parameters(function)
        if parameter.default is parameter.empty
        and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        and parameter.name != "completions"
    ]


def _parameters(function: Any) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # a callable written in C tells nothing
        return []


def _number(value: Any) -> float | None:
    if value is None:
        return None
    if not isinstance(value, numbers.Real) and not hasattr(value, "__float__"):
        raise TypeError(f"{value!r:.40}")
    try:
        number = float(value)
    except (ValueError, RuntimeError):  # an array or a tensor of several
        raise TypeError(f"{value!r:.40}") from None
    if math.isinf(number):
        raise TypeError(f"{number}")
    return None if math.isnan(number) else number
