"""What a user is told before painting: settings and transparency that will not be seen in the painting."""

from pathlib import Path

import numpy as np
import pytest
from camera_files import dng
from pictures import TINY, painting, photograph, save

from muralist.pipeline.presets import load_settings
from muralist.pipeline.render_plan import plan_render
from muralist.pipeline.setting_types import spelled

ALPHA = np.full((96, 128, 1), 255, np.uint8)


def notices(folder: Path, output: str = "out.png", pixels: np.ndarray | None = None, **settings: object) -> list[str]:
    """What is told of a painting with these settings beside a tiny one's."""
    content = save(folder / "photo.png", photograph() if pixels is None else pixels)
    style = save(folder / "style.png", painting())
    preset = str(settings.pop("preset", "default"))
    plan = plan_render(content, [style], folder / output, load_settings(preset, TINY | settings))
    return list(plan.notices)


@pytest.mark.parametrize(
    ("name", "value", "output", "enough"),
    [
        ("fit", "crop", "out.png", {"print_size": "2x1in", "dpi": 64, "size": None}),
        ("wrap_edge", "mirror", "out.png", {"print_size": "2x1in", "dpi": 64, "wrap": "1mm", "size": None}),
        ("dpi", 120, "out.png", {"size": 100}),
        ("intent", "absolute", "out.png", {"profile": "p3"}),
        ("region_fit", True, "out.png", {"protect": "mask.png"}),
        ("quality", 50, "out.png", "out.jpg"),
        ("quality", 50, "out.pdf", "out.webp"),
        ("pdf_image", "lossless", "out.png", "out.pdf"),
        ("raw_exposure", 1, "out.png", None),
    ],
)
def test_settings_without_effect_are_told(tmp_path, monkeypatch, name, value, output, enough):
    """By name, with what they are about; not where it is there, nor of a default."""
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "mask.png", 255 * (photograph() > 128).astype(np.uint8)[..., 0])
    pdf = {"pdf_image": "lossless"} if output == "out.pdf" else {}
    (told,) = notices(tmp_path, output, **{"size": None, name: value} | pdf)
    assert told.startswith(f"{name} {spelled(value)} ")
    if isinstance(enough, str):
        assert notices(tmp_path, enough, **{"size": None, name: value}) == []
    elif enough is not None:
        assert notices(tmp_path, output, **{"size": None, name: value} | enough) == []


@pytest.mark.parametrize("other", ["content_weight", "style_weight"])
def test_a_luminance_weight_counts_beside_content_and_style(tmp_path, other):
    """Where one of them has no weight, luminance is not kept."""
    found = notices(tmp_path, **{"content_weight": 5, "luminance_weight": 2, other: 0})
    assert [notice for notice in found if notice.startswith("luminance_weight 2 ")]
    assert notices(tmp_path, content_weight=5, luminance_weight=2) == []
    assert notices(tmp_path, content_weight=0, luminance_weight=0) == []


def test_a_raw_photograph_has_an_exposure(tmp_path):
    """What a raw photograph is developed with has an effect."""
    content, style = tmp_path / "photo.dng", save(tmp_path / "style.png", painting())
    content.write_bytes(dng(np.full((96, 128), 20_000, np.uint16)))
    plan = plan_render(content, [style], tmp_path / "out.png", load_settings("default", TINY | {"raw_exposure": 1}))
    assert not [notice for notice in plan.notices if "raw_exposure" in notice]


def test_presets_may_have_settings_without_effect(tmp_path):
    """None is refused; the preset for walls says that no size was named."""
    (told,) = notices(tmp_path, preset="mural", size=None)
    assert "dpi" in told
    assert "--print" in told
    assert notices(tmp_path, preset="fine-art", print_size="2x1in", size=None, dpi=64) == []


@pytest.mark.parametrize(("output", "told"), [("out.jpg", True), ("out.pdf", True), ("out.png", False)])
def test_lost_transparency_is_told(tmp_path, output, told):
    """Where the photograph has some and the output's format has no room for it."""
    opaque = np.dstack([photograph(), ALPHA])
    assert notices(tmp_path, output, opaque) == []
    opaque[:10, :10, 3] = 100
    found = notices(tmp_path, output, opaque)
    assert [("transparen" in notice, "PNG, WebP, TIFF, AVIF" in notice) for notice in found] == [(True, True)] * told


def test_rounds_of_one_step_are_told(tmp_path):
    """L-BFGS learns nothing in them; Adam does, and one step is no more without a snapshot either."""
    (told,) = notices(tmp_path, snapshot_every=1)
    assert "L-BFGS" in told
    for others in (
        {"snapshot_every": 2},
        {"snapshot_every": 1, "optimizer": "adam"},
        {"snapshot_every": 1, "steps": 1},
    ):
        assert notices(tmp_path, **others) == []
