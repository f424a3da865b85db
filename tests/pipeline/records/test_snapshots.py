"""Pictures on the way: their names, and that none takes the place of anything else."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from facts import having
from pictures import TINY, painting, photograph, save

from muralist.pipeline.errors import OutputError
from muralist.pipeline.levels import plan_levels
from muralist.pipeline.output_names import snapshot_path
from muralist.pipeline.presets import load_settings
from muralist.pipeline.records.snapshots import Snapshot, snapshot_paths
from muralist.pipeline.render_plan import RenderPlan, plan_render
from muralist.pipeline.settings import Settings


def planned(folder: Path, *, output: str = "out.png", content: str = "photo.png", **options: Any) -> RenderPlan:
    """A tiny job with snapshots after 2, 4 and 6 steps."""
    save(folder / content, photograph())
    save(folder / "style.png", painting())
    settings = load_settings(overrides=TINY | {"snapshot_every": 2})
    return plan_render(folder / content, folder / "style.png", folder / output, settings, **options)


def test_snapshots_are_named_after_their_step():
    """The step has six digits, so that names sort; the format is the output's."""
    assert snapshot_path(Path("a/poster.v2.tif"), 100) == Path("a/poster.v2-000100.tif")
    assert snapshot_path(Path("out.png"), 1_234_567) == Path("out-1234567.png")
    found = Snapshot("out-000100.png", 100, 48, 64)
    assert asdict(found) == {"path": "out-000100.png", "step": 100, "height": 48, "width": 64}


def test_steps_are_counted_over_all_levels():
    """Every hundredth step of the run has its name, whichever level it falls into."""
    levels = plan_levels(900, 900, [], Settings(steps=(250, 40, 60), snapshot_every=100, base_size=300), 16, 32)
    assert [level.steps for level in levels] == [250, 40, 60]
    names = [path.name for path in snapshot_paths(Path("out.jpg"), levels)]
    assert names == ["out-000100.jpg", "out-000200.jpg", "out-000300.jpg"]


def test_an_existing_snapshot_is_not_touched(tmp_path):
    """Every name that can be foreseen is looked at before any work; with `overwrite` it may be there."""
    (tmp_path / "out-000006.png").write_bytes(b"precious")
    with pytest.raises(OutputError, match=r"out-000006\.png: .*--overwrite"):
        planned(tmp_path)
    assert planned(tmp_path, overwrite=True).loss_plot is None
    assert (tmp_path / "out-000006.png").read_bytes() == b"precious"


def test_a_snapshot_never_replaces_a_picture_to_be_read(tmp_path):
    """Not even with `overwrite`."""
    with pytest.raises(OutputError, check=having(path=tmp_path / "out-000004.png")):
        planned(tmp_path, content="out-000004.png", overwrite=True)


@pytest.mark.parametrize("plot", ["out.png", "photo.png", "style.png", "out-000002.png"])
def test_a_loss_plot_has_a_name_of_its_own(tmp_path, plot):
    """It is neither an input nor the painting nor a snapshot."""
    with pytest.raises(OutputError, check=having(path=tmp_path / plot)):
        planned(tmp_path, loss_plot=tmp_path / plot, overwrite=True)


def test_a_loss_plot_is_checked_before_any_picture_is_read(tmp_path):
    """A wrong extension is told first."""
    settings = Settings(**TINY)
    with pytest.raises(OutputError, match=r"loss\.gif: .*'\.gif'"):
        plan_render(Path("none.png"), Path("none.png"), tmp_path / "out.png", settings, loss_plot=tmp_path / "loss.gif")
