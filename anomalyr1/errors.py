"""The one error a user's mistake raises, and what libraries say as part of its line."""


class InputError(ValueError):
    """A file, option or record the user gave cannot be used.

    The message is one line that says what was expected, what was found and what to do next.
    The command line prints it without a traceback and exits with status 2.
    """


def one_line(error: Exception) -> str:
    """What a library says, without its line breaks."""
    if isinstance(error, RecursionError):
        return "values nested too deeply, or inside themselves"
    return " ".join(str(error).split())
