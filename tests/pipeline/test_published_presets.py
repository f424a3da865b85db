"""Presets that follow published systems: each says where it comes from, and paints."""

import re

import numpy as np
import pytest
from layouts import npy, random_weights
from pictures import painting, photograph, save
from PIL import Image
from rendering import render

from muralist.model.architecture import architecture
from muralist.model.registry import PUBLISHED
from muralist.pipeline.presets import load_settings, preset_names, preset_text

OURS = {"default", "draft", "poster", "mural", "canvas", "fine-art"}
OTHERS = sorted(set(preset_names()) - OURS)
FEW_STEPS = {
    **{"size": 112, "base_size": 64, "steps": [4, 2], "steps_per_round": 2},
    **{"tile": 96, "overlap": 32, "precision": "float32", "device": "cpu"},
}


def test_founding_systems_and_peers_are_there():
    """Every published look of the issue has a preset, and fermilab's six experiments have one each."""
    experiments = {f"fermilab-{number}" for number in range(1, 7)}
    founding = {"log0", "gcucurull", "prisma", "fermilab", "chunks"}
    assert founding | experiments | {"gatys-2016", "johnson", "crowson-w2", "spst-fast", "anish"} <= set(OTHERS)


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_says_what_it_is(name):
    """The first line names the preset and ends a sentence; of others, one of those it extends names a source."""
    first, text = preset_text(name).partition("\n")[0], preset_text(name)
    assert re.fullmatch(rf"# {name}: \S.*\.", first)
    while name in OTHERS and "Source:" not in text:
        (parent,) = re.findall(r"^extends: (\S+)$", text, re.MULTILINE)
        text = preset_text(parent)


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_suits_its_network(name):
    """It has the layers that are measured; weights are published for it, or muralist's to choose."""
    settings = load_settings(name)
    architecture(settings.network).check_layers(settings.layers)
    published = {(each.name, each.network) for each in PUBLISHED}
    assert settings.weights is None or (settings.weights, settings.network) in published


@pytest.mark.parametrize("name", OTHERS)
def test_a_preset_paints(name, tmp_path, scheduler):
    """A few steps on a small picture at two sizes, in tiles where there is room, lower the loss it is about."""
    alexnet = tmp_path / "alexnet.npy"
    network = {"network": "compact"}
    if load_settings(name).network == "alexnet":
        alexnet.write_bytes(npy(random_weights(architecture("alexnet"))))
        network = {"weights": str(alexnet)}
    content, style = save(tmp_path / "photo.png", photograph()), save(tmp_path / "style.png", painting())
    output = tmp_path / "out.png"
    sidecar = render(content, style, output, preset=name, scheduler=scheduler, **FEW_STEPS | network)
    with Image.open(output) as image:
        assert max(image.size) == 112
        assert np.asarray(image).std() > 0
    first, *_, last = (row["total"] for row in sidecar["losses"] if row["level"] == 1)
    assert last < first
    assert sidecar["settings"]["style_loss"] == load_settings(name).style_loss
