"""The one base of all errors that are the input's fault, not the program's; and any error in one line."""

from __future__ import annotations


class InputError(ValueError):
    """A value that cannot be used. The message is one line: the field, the value, the way out."""


def one_line(error: BaseException, most: int | None = None) -> str:
    """What an error says, in one line of at most so many characters; its type where it says nothing."""
    return " ".join(str(error).split())[:most] or type(error).__name__
