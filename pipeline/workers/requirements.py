"""Decides which workers can take part in a render, from what they report about themselves (`handshake.handshake`).

A worker that would paint another picture, or cannot reach the files it needs, is refused; one that lacks the device
that others have is left out.
"""

import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from ...model.weight_files import WeightFile
from ..errors import DeviceError
from ..settings import Settings
from ..storage.store import Store

Facts = Mapping[str, Any]
BEST_FIRST = ("cuda", "mps", "cpu")


@dataclass(frozen=True)
class WorkerRequirements:
    """What every worker of a render has to have.

    Attributes
    ----------
    versions : dict
        Of packages, without build labels: a driver without a GPU may have another build of torch.
    store : str
        Root of the store.
    token : str
        What the file `name` there holds.
    """

    versions: Mapping[str, str]
    weights: WeightFile
    store: str
    token: str

    @classmethod
    def of(cls, store: Store, weights: WeightFile) -> "WorkerRequirements":
        """Make the requirements of a render on this machine."""
        versions = {package: without_build(version(package)) for package in ("muralist", "torch")}
        return cls(versions, weights, store.root, uuid.uuid4().hex)

    @property
    def name(self) -> str:
        """Name of the token's file. A worker may keep what it read, so it is never the same."""
        return f".seen-by-workers-{self.token}"

    def incompatibility(self, facts: Facts) -> str | None:
        """Say what keeps a worker from this render and what to do about it; None if nothing does."""
        if (reason := self.other_version(facts)) is not None:
            return reason
        if "trouble" in facts:
            return f"cannot be used ({facts['trouble']}); repair it, or stop it"
        return self._other_store(facts) or self._other_weights(facts["weights"])

    def other_version(self, facts: Facts) -> str | None:
        """Say which package a worker has in another version; None if it has none."""
        for package, here in self.versions.items():
            found = facts[package]
            if found is None or without_build(found) != here:
                return f"has {package} {found or 'not installed'}, but here it is {here}; install the same on both"
        return None

    def _other_store(self, facts: Facts) -> str | None:
        if facts["token"] == self.token:
            return None
        return f"does not see {self.store} ({facts['blind']}); name a folder that all workers share with --scratch"

    def _other_weights(self, sha256: str | None) -> str | None:
        path, wanted = self.weights.path, self.weights.sha256
        if sha256 is None:
            return f"cannot read the weight file {path}; put it there, or name one that all workers see with --weights"
        if sha256 != wanted:
            return f"has another weight file at {path} (SHA-256 {sha256[:16]}..., wanted {wanted[:16]}...); copy it"
        return None


def without_build(release: str) -> str:
    """Leave out what comes behind the plus sign.

    >>> without_build("2.11.0+cu130")
    '2.11.0'
    """
    return release.partition("+")[0]


@dataclass(frozen=True)
class Backend:
    """What all workers of a render compute on and in."""

    device: str
    precision: str

    @classmethod
    def common(cls, workers: Collection[Facts], settings: Settings) -> "Backend":
        """Choose the best device that any worker has, and the best number type that all workers with it have.

        Raises `DeviceError` if no worker has the device that was asked for.
        """
        able = [facts for facts in workers if facts["device"] is not None]
        if not able:
            raise DeviceError(next(iter(workers))["lacks"])
        device = min((facts["device"] for facts in able), key=lambda device: BEST_FIRST.index(device.partition(":")[0]))
        fast = all(facts["precision"] == "bfloat16" for facts in able if facts["device"] == device)
        automatic = "bfloat16" if fast else "float32"
        return cls(device, automatic if settings.precision == "auto" else settings.precision)

    def incompatibility(self, facts: Facts, settings: Settings) -> str | None:
        """Say what a worker does not have; None if it can help."""
        if facts["device"] is None:
            return f"has no {self.device}, which others have"
        if facts["device"] != self.device:
            return f"computes on {facts['device']}, the others on {self.device}"
        if settings.precision == "auto" and self.precision == "bfloat16" != facts["precision"]:
            return "does not compute in bfloat16, as the others do"
        return None
