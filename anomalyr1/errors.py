"""The one error a user's mistake raises."""


class InputError(ValueError):
    """A file, option or record the user gave cannot be used.

    The message is one line that says what was expected, what was found and what to do next.
    The command line prints it without a traceback and exits with status 2.
    """
