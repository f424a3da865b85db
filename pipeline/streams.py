"""A standard error stream whose failures stop nothing. Quick to import, since the command line needs it first."""

import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Forgiving:
    """A text stream that drops what cannot be written: the disk is full, the reader is gone, or it is closed.

    Attributes
    ----------
    stream : text stream or None
        None where standard error was closed before Python began.
    """

    stream: Any

    def write(self, text: str) -> int:
        """Write a text if that is possible."""
        with suppress(OSError, ValueError, AttributeError):
            self.stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush the stream if that is possible."""
        with suppress(OSError, ValueError, AttributeError):
            self.stream.flush()

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        with suppress(OSError, ValueError, AttributeError):
            return bool(self.stream.isatty())
        return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def standard_error() -> Forgiving:
    """Give standard error as it is now, so that writing to it stops nothing."""
    return sys.stderr if isinstance(sys.stderr, Forgiving) else Forgiving(sys.stderr)
