"""Options that were given where they have no effect: refused, not passed over."""

from __future__ import annotations

import typer

from anomalyr1.cli.verbs import EVERYWHERE
from anomalyr1.errors import InputError


def refuse_idle(
    context: typer.Context, where: str, *, only: tuple[str, ...] = (), but: tuple[str, ...] = ()
) -> None:
    """Refuse options that were given, differ from their defaults and have no effect.

    Args:
        context: of the verb as it was called; it knows the options, their values and defaults.
        where: what leaves them without an effect, in words.
        only: parameters that have no effect there; all of the verb's where empty.
        but: parameters that have one, beside those of every verb.

    Raises:
        InputError: there are such options; all of them are named.
    """
    idle = []
    for option in context.command.params:
        name = option.name or ""
        source = context.get_parameter_source(name)
        given = source is not None and source.name == "COMMANDLINE"
        acts = name not in only if only else name in (*but, *EVERYWHERE)
        if given and not acts and context.params[name] != option.default:
            idle.append(option.opts[0])
    if idle:
        raise InputError(
            f"expected options that have an effect {where}, found {', '.join(idle)}; leave them out"
        )
