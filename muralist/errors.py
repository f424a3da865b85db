"""The base of all expected errors, so that whoever calls muralist can catch them by one name."""


class MuralistError(Exception):
    """Base of all errors that muralist raises on purpose; the message says what was found and what to do."""
