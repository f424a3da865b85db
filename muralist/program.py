"""A command as a program: what is logged is shown, expected errors become one line, signals and broken streams.

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
    """SIGTERM, which ends a command in the same way as Ctrl-C."""


def _keep_streams() -> None:
    """Make standard error forgiving, and see that no file gets the number of a standard stream that is closed."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            # Gets the lowest number that is free, in the processes of workers, too.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    if isinstance(sys.stdout, io.TextIOWrapper):  # which may not know the letters of a file's name
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.stderr = cast(TextIO, Forgiving(sys.stderr or os.fdopen(2, "w", closefd=False)))


def print_result(text: str) -> None:
    """Write a result to standard output, line by line; names in it were made printable when a line was put together."""
    try:
        click.echo("\n".join(map(printable, text.split("\n"))))
    except OSError as error:
        sys.stdout = cast(TextIO, Forgiving(sys.stdout))  # or Python would complain of the same once more
        if error.errno == errno.EPIPE:  # the reader has enough, and all is done
            return
        raise click.ClickException(
            f"standard output: the result could not be written ({error.strerror}); everything else is done"
        ) from error


def _terminate(*_: object) -> None:
    raise Terminated


@contextmanager
def _shown(ctx: click.Context) -> Iterator[None]:
    """Show what is logged while a command runs, and words that are to change as of everything else, in a line, once."""
    with shown() as ctx.obj, warnings.catch_warnings():
        warnings.simplefilter("once", FutureWarning)
        warnings.showwarning = lambda message, *_: CHANGES.warning(str(message))
        yield


@contextmanager
def _failure_logged() -> Iterator[None]:
    """Log why a command ends early; on standard error it is told in another way."""
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
        """Run a command as a program. What cannot be written to standard error stops nothing."""
        if sys.stderr is sys.__stderr__:  # and not what somebody put in its place who calls this from Python
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
        except click.ClickException as error:  # of arguments, which may be names of files
            error.message = printable(error.message)  # type: ignore[misc]
            raise
        except KeyboardInterrupt as stop:
            more = "rerun the same command to resume" if ctx.invoked_subcommand in RESUMABLE else ""
            told = "; ".join(filter(None, ["muralist: interrupted", printable(str(stop)) or more]))
            click.echo(told, err=True)
            raise click.exceptions.Exit(TERMINATED if isinstance(stop, Terminated) else INTERRUPTED) from None
        finally:
            signal.signal(signal.SIGTERM, before)
