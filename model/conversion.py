"""Converts weight files of any known format to safetensors files that describe themselves."""

import json
import os
from pathlib import Path

from safetensors.torch import save

from .architecture import architecture
from .atomic import atomic_write
from .errors import WeightsError
from .formats import Content, Weights, detect
from .loading import read, select
from .weight_files import WeightFile, describe


def convert(source: Path, target: Path, network: str | None = None, *, overwrite: bool = False) -> dict[str, object]:
    """Write a network's convolutions as a safetensors file, for RGB pictures and in the number type they have.

    Parameters
    ----------
    network : str, optional
        Told by the tensors' shapes if not given.
    overwrite : bool
        Replace an existing target.

    Returns
    -------
    dict
        What is written into the file's metadata, as JSON under the key `muralist`: network, mean, std, format, source
        (its name), source_sha256 and license.

    Raises
    ------
    UnknownNetworkError
    WeightsError
        If the source is broken or holds no network that is known, or the target is there already or cannot be written.
    """
    _spare(source, target, overwrite)
    file = describe(source)
    content = read(file)
    arch = architecture(network or _fitting(file, content))
    weights = select(arch, file, content, arch.layers)
    facts = _facts(arch.name, file, weights)
    tensors = {key: value.contiguous() for key, value in weights.tensors.items()}
    _write(target, save(tensors, {"muralist": json.dumps(facts)}))
    return facts


def _facts(network: str, file: WeightFile, weights: Weights) -> dict[str, object]:
    return {
        "network": network,
        "mean": weights.mean,
        "std": weights.std,
        "format": weights.format,
        "source": file.published or Path(file.path).name,
        "source_sha256": file.sha256,
        "license": file.license,
    }


def _spare(source: Path, target: Path, overwrite: bool) -> None:
    """Refuse to overwrite a file that the user did not mean to lose."""
    if os.path.exists(target) and os.path.samefile(source, target):
        raise WeightsError(str(target), "this is the input file; name another one to write")
    if os.path.exists(target) and not overwrite:
        raise WeightsError(str(target), "exists already; use --overwrite to replace it, or another name")


def _fitting(file: WeightFile, content: Content) -> str:
    name = detect(content)
    if name is None:
        raise WeightsError(file.path, "its tensors do not identify a network; name it with --network")
    return name


def _write(target: Path, content: bytes) -> None:
    try:
        with atomic_write(target) as file:
            file.write(content)
    except OSError as error:
        raise WeightsError(str(target), f"cannot be written ({error.strerror}); name another file") from error
