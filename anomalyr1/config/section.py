"""What a section of a config is: a frozen record that is checked whenever it is made.

Pydantic checks types and ranges, and all problems are told in one line. Nothing is converted but a
whole number where a float is wanted: "3" is no number, true is no 1.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import re
from collections.abc import Sequence
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

from pydantic import AfterValidator, ConfigDict, Field, Strict, StrictBool, ValidationError
from pydantic.dataclasses import dataclass
from pydantic_core import ErrorDetails
from typing_extensions import dataclass_transform

from anomalyr1.errors import InputError, one_line, unknown_key
from anomalyr1.values import has_half_character, places

Kind = TypeVar("Kind", bound=type)


def _storable(value: Any) -> Any:
    """Refuse what no file or path can hold (half a character, a null character), and NaN."""
    for place, found in places(value, _cannot_be_stored):
        where = f" at {place}" if place else ""
        raise InputError(f"expected a text or a number, found {found!r}{where}; replace it")
    return value


def _expression(text: str) -> str:
    """Refuse what is no regular expression."""
    try:
        re.compile(text)
    except (re.error, OverflowError) as error:
        raise InputError(
            f"expected a regular expression, found {text!r} ({one_line(error)}); correct it"
        ) from None
    return text


def _cannot_be_stored(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" in value or has_half_character(value)
    return isinstance(value, bytes) or (isinstance(value, float) and math.isnan(value))


# Strict one by one: a section that is strict as a whole cannot be read from a mapping.
Flag = StrictBool
Text = Annotated[str, Strict(), Field(min_length=1), AfterValidator(_storable)]
Number = Annotated[float, Strict()]
AnyWhole = Annotated[int, Strict()]
Whole = Annotated[int, Strict(), Field(ge=0)]
Count = Annotated[int, Strict(), Field(ge=1)]
Share = Annotated[Number, Field(gt=0, le=1)]
Texts = Annotated[list[Text], Field(min_length=1)]
Pattern = Annotated[Text, AfterValidator(_expression)]
Verbatim = Annotated[dict[str, Any], AfterValidator(_storable)]

_FORM = ConfigDict(extra="forbid", allow_inf_nan=False)
_EXPECTED = {
    "int_type": "int",
    "float_type": "float",
    "string_type": "str",
    "bool_type": "bool",
    "list_type": "list",
    "dict_type": "dict",
    "dataclass_type": "a section of keys",
    "string_unicode": "a text",
    "string_too_short": "a text that is not empty",
    "finite_number": "a finite number",
    "too_short": "a list that is not empty",
}
_LIMITS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field,))
def section(kind: Kind) -> Kind:
    """Make a class a section: a frozen dataclass that raises `InputError` for values it refuses."""
    made: Any = dataclass(frozen=True, config=_FORM)(kind)
    check = made.__init__

    @functools.wraps(check)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        try:
            check(self, *args, **kwargs)
        except ValidationError as error:
            raise InputError(
                f"expected values that {kind.__name__} takes, found "
                f"{'; '.join(problems(made, error))}; correct them"
            ) from None

    made.__init__ = __init__
    return made  # type: ignore[no-any-return]


def problems(kind: type, error: ValidationError) -> list[str]:
    """What is wrong in a section of this kind, a text each: where, what is expected and found."""
    texts: list[str] = []
    expected: dict[tuple[str, str], list[str]] = {}  # the branches of a union are one problem
    for found in error.errors(include_url=False):
        name, inside = _follow(kind, found["loc"])
        if found["type"] in ("unexpected_keyword_argument", "invalid_key"):
            known = [field.name for field in dataclasses.fields(inside)]
            texts.append(unknown_key(name, str(found["loc"][-1]), known))
        elif found["type"] == "value_error":
            text = str(found["ctx"]["error"])
            texts.append(f"{name}: {text}" if name else text)
        else:
            expected.setdefault((name, f"{found['input']!r}"), []).append(_wanted(found))
    return texts + [
        f"{name}: expected {' or '.join(dict.fromkeys(wanted))}, found {shown}"
        for (name, shown), wanted in expected.items()
    ]


def _wanted(found: ErrorDetails) -> str:
    limits = found.get("ctx", {})
    if found["type"] == "literal_error":
        return "one of " + str(limits["expected"]).replace("'", "").replace(" or ", ", ")
    for name, words in _LIMITS.items():
        if name in limits:
            limit = limits[name]
            return f"{words} {limit:g}" if isinstance(limit, float) else f"{words} {limit}"
    return _EXPECTED.get(found["type"], found["msg"])


def _follow(kind: Any, loc: Sequence[int | str]) -> tuple[str, Any]:
    """A place by its name, `policy.lora.r` or `data.question_types[0]`, and the section it is in.

    Pydantic's names for the branches of a union are left out.
    """
    name, inside = "", kind
    for part in loc:
        if dataclasses.is_dataclass(kind) or get_origin(kind) is dict:
            name += f".{part}" if name else str(part)
            inside = kind
            hint = get_type_hints(kind).get(str(part)) if dataclasses.is_dataclass(kind) else None
            branches = (hint, *get_args(hint))
            kind = next((b for b in branches if dataclasses.is_dataclass(b)), hint)
        elif isinstance(part, int):
            name += f"[{part}]"
    return name, inside
