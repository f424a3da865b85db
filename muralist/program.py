"""Runs a command as a program: log records are shown, expected errors become one line, signals and streams are handled.

Exit codes: 0 done, 1 an expected error (one line on standard error), 2 wrong usage, 130 interrupted, 143 terminated.
"""

import errno
import io
import os
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

import click

from muralist.errors import MuralistError

from .model.errors import printable
from .pipeline.console import CHANGES, ELSEWHERE, LOG, shown
from .pipeline.streams import Forgiving

INTERRUPTED, TERMINATED = 130, 143
RESUMABLE = ("render", "batch")


class Terminated(KeyboardInterrupt):
    """SIGTERM was received. It ends a command in the same way as Ctrl-C."""


def _keep_streams() -> None:
    """Let writes to standard error fail silently, and keep the numbers of closed standard streams from being reused."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            # `open` takes the lowest free number, which is this one. Worker processes inherit it.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    if isinstance(sys.stdout, io.TextIOWrapper):  # its encoding may lack characters of a file's name
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.stderr = cast(TextIO, Forgiving(sys.stderr or os.fdopen(2, "w", closefd=False)))


def print_result(text: str) -> None:
    """Write a result to standard output, with control characters escaped in each line."""
    try:
        click.echo("\n".join(map(printable, text.split("\n"))))
    except OSError as error:
        sys.stdout = cast(TextIO, Forgiving(sys.stdout))  # otherwise Python reports the same error again at exit
        if error.errno == errno.EPIPE:  # the reader has closed the pipe; the work itself is done
            return
        raise click.ClickException(
            f"standard output: the result could not be written ({error.strerror}); everything else is done"
        ) from error


def _terminate(*_: object) -> None:
    raise Terminated


@contextmanager
def _shown(ctx: click.Context) -> Iterator[None]:
    """Show log records while a command runs, and each warning about a renamed option or setting once, in one line."""
    with shown() as ctx.obj, warnings.catch_warnings():
        warnings.simplefilter("once", FutureWarning)
        warnings.showwarning = lambda message, *_: CHANGES.warning(str(message))
        yield


@contextmanager
def _failure_logged() -> Iterator[None]:
    """Log why a command ends early, for log files only: standard error gets its own message."""
    try:
        yield
    except click.exceptions.Exit:
        raise
    except (MuralistError, click.ClickException) as error:
        LOG.error(getattr(error, "message", None) or " ".join(str(error).split()), extra=ELSEWHERE)
        raise
    except KeyboardInterrupt:
        LOG.error("interrupted", extra=ELSEWHERE)
        raise
    except Exception as error:
        LOG.critical("failed because of a bug", exc_info=error, extra=ELSEWHERE)
        raise


class ErrorHandlingGroup(click.Group):
    """Turns expected errors into one line; a bug keeps its traceback."""

    def main(self, *args: Any, **options: Any) -> Any:
        """Run a command as a program. A failed write to standard error does not stop it."""
        if sys.stderr is sys.__stderr__:  # a Python caller may have replaced it; then leave it alone
            _keep_streams()
        return super().main(*args, **options)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        before = signal.signal(signal.SIGTERM, _terminate)
        try:
            with _shown(ctx), _failure_logged():
                return super().invoke(ctx)
        except MuralistError as error:
            raise click.ClickException(printable(" ".join(str(error).split()))) from error
        except click.ClickException as error:  # the message may contain names of files
            error.message = printable(error.message)  # type: ignore[misc]
            raise
        except KeyboardInterrupt as stop:
            more = "rerun the same command to resume" if ctx.invoked_subcommand in RESUMABLE else ""
            told = "; ".join(filter(None, ["muralist: interrupted", printable(str(stop)) or more]))
            click.echo(told, err=True)
            raise click.exceptions.Exit(TERMINATED if isinstance(stop, Terminated) else INTERRUPTED) from None
        finally:
            signal.signal(signal.SIGTERM, before)
