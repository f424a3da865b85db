"""Errors of the pipeline that a user can do something about."""

from pathlib import Path

from muralist.errors import MuralistError

from ..model.errors import printable


class PipelineError(MuralistError):
    """Base of all expected errors of the pipeline. Its message is one line, whatever names and values are in it."""

    def __str__(self) -> str:
        return printable(super().__str__())


class SettingsError(PipelineError, ValueError):
    """A setting, a preset or a size makes no sense; the message says where, and what was wanted."""


class FileError(PipelineError):
    """Base of errors about a file: what was found, what was wanted, what to do.

    Attributes
    ----------
    path
        The file, where one is to blame.
    """

    def __init__(self, message: str, *, path: Path | None = None) -> None:
        super().__init__(message)
        self.path = path


class PictureError(FileError, ValueError):
    """A picture cannot be read."""


class OutputError(FileError, OSError):
    """A picture cannot be written where the user wants it."""


class ClusterError(PipelineError, ConnectionError):
    """The workers cannot be reached, do not suit, or keep dying."""


class DeviceError(PipelineError, RuntimeError):
    """The machine does not have the device that was asked for."""


class DeviceMemoryError(MemoryError, PipelineError):  # in this order, or dask could not unpickle it
    """A tile does not fit into the memory of a worker's device."""
