"""Weight files: those that cannot be used, how they are listed and converted."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from commands import assert_refused, render, run
from pictures import TINY, assignments, contents
from safetensors.torch import save_file

from muralist.model import architecture, registry, weight_files
from muralist.model.weight_files import find_weights


def of_another_network(path: Path) -> None:
    """Weights whose layers have other shapes."""
    save_file({"conv1_1.weight": torch.zeros(64, 3, 3, 3), "conv1_1.bias": torch.zeros(64)}, path)


def cut_short(path: Path) -> None:
    """The first half of the weights that come with muralist."""
    whole = Path(architecture.__file__).parent / "weights" / "compact.safetensors"
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])


BAD_WEIGHTS: dict[str, tuple[Callable[[Path], object], tuple[str, ...]]] = {
    "wrong architecture": (of_another_network, ("does not hold network compact", "(64, 3, 3, 3)", "check --weights")),
    "truncated": (cut_short, ("is not a complete safetensors file", "download it again")),
    "empty": (Path.touch, ("is not a complete safetensors file", "download it again")),
    "text": (lambda path: path.write_text("hello"), ("is not a complete safetensors file", "download it again")),
}


@pytest.mark.parametrize("kind", BAD_WEIGHTS)
@pytest.mark.parametrize("command", ["render", "plan"])
def test_bad_weights_are_refused(folder, scheduler, kind, command):
    """A weight file of another network, or a broken one, is named with its problem, before anything is painted."""
    make, words = BAD_WEIGHTS[kind]
    make(folder / "bad.safetensors")
    before = contents(folder)
    options = [*assignments(TINY), "--weights", "bad.safetensors", "--scheduler", scheduler]
    options += ["--quiet"] if command == "render" else []
    assert_refused(run(command, "photo.png", "-s", "style.png", "-o", "out.png", *options), "bad.safetensors", *words)
    assert contents(folder) == before


def test_weights_that_cannot_be_downloaded(folder, offline):
    """Offline without a cache, the message tells what was tried, where the file would go, and the other ways."""
    result = render("--network", "vgg19")
    assert_refused(
        result, str(offline), "http://127.0.0.1:9/vgg19", "cannot be downloaded", "--weights FILE", "compact"
    )
    assert [name for name, content in contents(folder).items() if content is not None] == ["photo.png", "style.png"]


def test_weights_with_a_wrong_hash(folder, offline):
    """A file in the cache that is not the published one is not used."""
    offline.parent.mkdir(parents=True)
    offline.write_bytes(b"something else")
    assert_refused(render("--network", "vgg19"), str(offline), "SHA-256", "dcbb9e9d", "delete the file")
    assert offline.read_bytes() == b"something else"


def test_bundled_weights_that_were_changed(folder, monkeypatch):
    """Damage to the weights that come with muralist is noticed."""
    table = (replace(each, sha256="0" * 64) for each in weight_files.PUBLISHED if each.network == "compact")
    monkeypatch.setattr(weight_files, "PUBLISHED", tuple(table))
    assert_refused(render(), "compact.safetensors", "SHA-256", "0000")


def test_networks_are_listed(offline):
    """Every network is shown with its files, their licenses, its layers, and how to get what is missing."""
    rows = {row["name"]: row for row in json.loads(run("networks", "--json").stdout)}
    assert rows["compact"]["installed"] is True
    assert rows["vgg19"]["installed"] is False
    assert rows["vgg19"]["file"] == str(offline)
    text = run("networks").stdout
    words = ("compact: installed", "vgg19: not installed", "http://127.0.0.1:9/", f"{offline}: not there")
    words += ("relu5_1", "BSD", "vgg16: not", "alexnet: not", "get it from https://www.cs.toronto.edu/~guerzhoy")
    for word in words:
        assert word in text


def test_weights_are_converted(folder):
    """What was made of which file is said; a painting with the converted weights can be asked for."""
    shutil.copy(registry.BUNDLED / "compact.safetensors", folder / "in.bin")
    done = run("networks", "convert", "in.bin", "out.safetensors")
    assert done.stdout == "out.safetensors: compact, from compact.safetensors (safetensors), license MIT " + (
        "(distilled from VGG-19, CC BY 4.0; see compact.md beside the weights)\n"
    )
    assert find_weights(architecture.architecture("compact"), str(folder / "out.safetensors")).license.startswith("MIT")
    assert_refused(run("networks", "convert", "in.bin", "out.safetensors"), "exists already", "--overwrite")
    assert run("networks", "convert", "in.bin", "out.safetensors", "--overwrite", "--network", "compact").exit_code == 0
    assert_refused(run("networks", "convert", "photo.png", "x.safetensors"), "is not a complete", "photo.png")
    assert_refused(run("networks", "convert", "in.bin", "x", "--network", "vgg19"), "it fits compact: use --network")
