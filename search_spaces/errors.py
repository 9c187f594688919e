"""The one base of all errors that are the input's fault, not the program's."""


class InputError(ValueError):
    """A value that cannot be used. The message is one line: the field, the value, the way out."""
