"""A connection to a dask scheduler: which workers exist, and calls to them."""

import asyncio
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from platform import node
from typing import Any

from distributed import Client, Security
from distributed.client import ClosedClientError
from distributed.comm.core import FatalCommClosedError

from ..errors import ClusterError
from ..settings import Settings
from .dispatch import Run
from .handshake import run_and_measure
from .requirements import Facts, WorkerRequirements

CONNECT_SECONDS = 8  # with what leaving takes and starting muralist, an answer within a quarter of a minute
ANSWER_SECONDS = 15  # for a scheduler that is there, but may be busy
CLOSE_SECONDS = 3
RESTART_SECONDS = 60


class TaskDropped(Exception):
    """Dask dropped a task: the connection broke, or somebody restarted the workers."""


class SchedulerClient:
    """A connection to a scheduler that can be reopened. While it is broken, methods that need it raise OSError.

    Attributes
    ----------
    address : str
        Of the scheduler; to be set where the settings name none.
    security : Security or None
        What to identify ourselves with: the certificate that the settings name, or that of a scheduler of our own.
        None leaves it to dask's own configuration.
    """

    def __init__(self, settings: Settings) -> None:
        self.address = settings.scheduler or ""
        self.security = _security(settings)
        self._scheduler = ""  # dask's id of it
        self._whole = False

    async def connect(self) -> None:
        options = {"asynchronous": True, "set_as_default": False, "security": self.security}
        self._client = Client(self.address, timeout=CONNECT_SECONDS, **options)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):  # dask waits forever for an answer to its first message
                await self._client
                self._scheduler = (await self._identity())["id"]
        except BaseException as error:
            await self.close()
            if not isinstance(error, Exception):
                raise
            raise ClusterError(_reason(error).format(self.address)) from error
        self._whole = True

    async def close(self) -> None:
        self._whole = False
        await _closed(self._client)

    async def workers(self) -> Mapping[str, Any]:
        """What the scheduler says of each worker, by address."""
        if not self._whole or self._client.status != "running":
            raise ConnectionError(f"no connection to {self.address}")
        identity = await self._identity()
        if identity["id"] != self._scheduler:  # dask connects to a new one without a word
            raise ConnectionError(f"another scheduler at {self.address}")
        return dict(identity["workers"])

    async def _identity(self) -> Mapping[str, Any]:
        async with asyncio.timeout(ANSWER_SECONDS):  # (Python 3.11's wait_for may forget that it was cancelled)
            return dict(await self._client.scheduler.identity(n_workers=-1))

    async def ask(self, address: str, requirements: WorkerRequirements, what: Callable[[], Facts]) -> Facts:
        """Ask a worker for its versions, which needs nothing but Python there, and if they are right for the rest."""
        facts = {"host": await self._call(address, node)}
        for package in requirements.versions:
            try:
                facts[package] = await self._call(address, version, package)
            except PackageNotFoundError:
                facts[package] = None
        if requirements.other_version(facts):
            return facts
        try:
            seen: Facts = await self._call(address, what)
            return {**facts, **seen}
        except OSError:
            raise
        except Exception as error:  # whatever is wrong there
            return facts | {"trouble": f"{type(error).__name__}: {error}"}

    async def restart(self, address: str) -> None:
        """Have a worker that was started with a nanny killed and started again; it comes back under another address."""
        with suppress(OSError, KeyError):
            await self._client.restart_workers([address], timeout=RESTART_SECONDS, raise_for_error=False)

    async def _call(self, address: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function in a worker, in parallel to its tasks."""
        return (await self._client.run(function, *arguments, workers=[address]))[address]

    async def run(self, run: Run) -> tuple[Any, int]:
        """Have a task run by the worker it was given to; raises what the task raised, or `TaskDropped`."""
        try:
            future = self._submit(run)
        except ClosedClientError as error:
            self._whole = False
            raise TaskDropped from error
        try:
            return await future  # type: ignore[no-any-return]
        except Exception as error:
            if future.status == "error":
                raise
            self._whole = False
            raise TaskDropped from error
        finally:
            future.release()

    def _submit(self, run: Run) -> Any:
        task = run.call.arguments[0]
        return self._client.submit(
            run_and_measure,
            *run.call.arguments,
            key=f"{task}-{uuid.uuid4().hex}",
            workers=[run.worker],
            priority=-run.call.batch.priority,
        )


def _security(settings: Settings) -> Security | None:
    """Make dask's TLS settings from ours; for a scheduler of our own, a certificate that only this process has.

    Raises `ClusterError` if they are not for a tls:// scheduler, or a file does not serve.
    """
    files = {name: getattr(settings, name) for name in ("tls_ca", "tls_cert", "tls_key") if getattr(settings, name)}
    if not files:
        return None if settings.scheduler else Security.temporary()
    if not (settings.scheduler or "").startswith("tls://"):
        raise ClusterError(
            f"{', '.join(files)}: wanted with a tls:// --scheduler only, got {settings.scheduler or 'none'}"
        )
    arguments = {{"tls_ca": "tls_ca_file"}.get(name, name.replace("tls", "tls_client")): files[name] for name in files}
    try:
        security = Security(require_encryption=True, **arguments)
        security.get_connection_args("client")  # reads them
    except OSError as error:
        raise ClusterError(
            f"TLS files {', '.join(files.values())} cannot be used ({error.strerror or error}); wanted PEM files of an "
            "authority, a certificate and its key"
        ) from error
    return security


async def _closed(client: Client) -> None:
    """Close a connection. What is at its other end may answer no more, or never have."""
    with suppress(OSError):  # TimeoutError is one
        async with asyncio.timeout(CLOSE_SECONDS):
            await client.close()


def _reason(error: Exception) -> str:
    """Say in our words why a scheduler cannot be used."""
    if isinstance(error, TypeError):  # dask's way to say that TLS is not set up
        return f"scheduler {{}} cannot be used ({error}); name tls_ca, tls_cert and tls_key, set dask up, or use tcp"
    if isinstance(error, FatalCommClosedError):
        return "scheduler {} and the TLS files do not match; check tls_ca, tls_cert and tls_key"
    if isinstance(error, OSError):
        return (
            f"no dask scheduler answers at {{}} within {CONNECT_SECONDS} s; check the address, or leave --scheduler "
            "out to paint on this machine"
        )
    return (  # bytes that are not a dask message may raise anything, mostly a MemoryError for exabytes
        f"what answers at {{}} is not a dask scheduler ({type(error).__name__}); check the address, or leave "
        "--scheduler out to paint on this machine"
    )
