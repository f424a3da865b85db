"""The record beside a painting: the keys that other tools rely on, and settings that can be used again."""

import hashlib
import json
import math
import os
from types import SimpleNamespace

import pytest
from facts import having
from pictures import TINY
from tiny_plans import planned

from muralist.pipeline.errors import OutputError
from muralist.pipeline.output_names import sidecar_path
from muralist.pipeline.presets import load_settings
from muralist.pipeline.records.identity import identity
from muralist.pipeline.records.run_state import RunState
from muralist.pipeline.records.sidecar import describe, write_sidecar
from muralist.pipeline.settings import Settings
from muralist.tiling.seams import Seams

TERMS = {"style", "content", "luminance", "tv"}


def test_the_keys_that_other_tools_rely_on(painted):
    """A sidecar is plain JSON with these keys; losses and seconds are finite numbers."""
    sidecar = painted.sidecar
    wanted = {
        "levels",
        "seam_score",
        "seam_threshold",
        "settings",
        "versions",
        "inputs",
        "network",
        "device",
        "workers",
    }
    assert wanted | {"peak_rss_bytes", "seconds", "notices", "resumed", "identity", "losses"} <= set(sidecar)
    assert (sidecar["resumed"], sidecar["notices"]) == (0, [])
    for level in sidecar["levels"]:
        facts = {"height", "width", "tiles", "halvings", "rounds", "steps", "ended", "kept", "seconds"}
        facts |= {"busy_seconds", "fetched_bytes_per_round", "replayed", "losses_first", "losses_last", "region_losses"}
        assert facts == set(level)
        assert level["ended"] == "steps"
        assert level["kept"] == level["rounds"]
        assert level["losses_first"].keys() == level["losses_last"].keys() == TERMS
        losses = [*level["losses_first"].values(), *level["losses_last"].values()]
        assert all(math.isfinite(number) for number in [level["seconds"], *losses])


def test_the_levels_tell_how_it_was_painted(painted):
    """Sizes, tiles, rounds and steps are those of the settings, and painting brought the style loss down."""
    rows = painted.sidecar["levels"]
    shown = [tuple(row[key] for key in ("height", "width", "tiles", "rounds", "steps")) for row in rows]
    assert shown == [(48, 64, 1, 2, 4), (96, 128, 4, 2, 3)]
    assert all(0 < row["losses_last"]["style"] < row["losses_first"]["style"] for row in rows)
    assert rows[0]["losses_first"]["content"] == 0 < rows[0]["losses_last"]["content"]
    assert 0 < sum(row["busy_seconds"] for row in rows) < sum(row["seconds"] for row in rows)
    assert sum(row["seconds"] for row in rows) <= painted.sidecar["seconds"] + 0.002  # rounded


def test_inputs_and_weights_are_told_by_hash(painted):
    """Path, size and SHA-256 of both pictures and of the weight file are those of the files."""
    sidecar = painted.sidecar
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (painted.content, painted.style)]
    style = {"path": str(painted.style), "sha256": digests[1], "height": 80, "width": 112, "share": 1, "scale": 1}
    assert sidecar["inputs"] == {
        "content": {"path": str(painted.content), "sha256": digests[0], "height": 96, "width": 128},
        "styles": [style],
    }
    assert sidecar["notices"] == []
    with open(sidecar["network"]["weights"], "rb") as weights:
        assert sidecar["network"]["sha256"] == hashlib.file_digest(weights, "sha256").hexdigest()
    assert sidecar["network"]["name"] == "compact"
    assert (sidecar["network"]["format"], sidecar["network"]["published"]) == ("safetensors", "compact.safetensors")
    assert sidecar["network"]["license"].startswith("MIT")


def test_machine_and_versions_are_told(painted):
    """Device, number type, workers, memory and versions are there."""
    sidecar = painted.sidecar
    assert sidecar["device"]["kind"] == "cpu"
    assert sidecar["device"]["name"]
    assert sidecar["device"]["precision"] == "float32"
    assert sidecar["device"]["deterministic"]
    ways = {"first_layer": "transposed", "gram": "float32", "graphs": False}
    assert ways.items() <= sidecar["device"].items()
    workers = {"count": 1, "threads": 1, "scheduler": None, "lost": 0, "tasks_run_again": 0}
    assert sidecar["workers"] == workers
    assert {"python", "muralist", "torch", "numpy", "dask"} <= set(sidecar["versions"])
    assert sidecar["peak_rss_bytes"] > 100 << 20  # torch alone takes more
    assert sidecar["seam_score"] > 0
    assert sidecar["seam_threshold"] is None or sidecar["seam_threshold"] > 0


def test_a_seam_and_nothing_else_is_told_as_a_number(tmp_path):
    """JSON has no infinity, which is the score of a seam in a painting of one color."""
    cluster = SimpleNamespace(notices=[], device="cpu", device_name="", workers=1, threads=1, lost=0, again=0)
    seams = Seams(math.inf, 1.0)
    told = describe(planned(tmp_path), RunState(), cluster, peak_rss=1, seams=seams, borders=([], []), forecast=None)
    assert json.loads(json.dumps(told, allow_nan=False))["seam_score"] > 1000


def test_the_sidecar_tells_what_the_bytes_depend_on(painted):
    """The identity is that of the inputs and settings told beside it."""
    sidecar = painted.sidecar
    inputs = sidecar["inputs"]
    styles = [[style["sha256"]] for style in inputs["styles"]]
    wanted = identity(Settings(**TINY), inputs["content"]["sha256"], styles, None, sidecar["network"]["sha256"])
    assert sidecar["identity"] == wanted


def test_what_is_fetched_in_a_round_is_no_more_than_the_canvas_and_its_overlaps(painted):
    """A worker that holds its own tiles has little to fetch; at most it is all planes of all tiles."""
    planes = 1 + 2 * 2  # pixels, and two pairs
    for row in painted.sidecar["levels"]:
        assert 0 <= row["fetched_bytes_per_round"] <= row["tiles"] * planes * 3 * 4 * 110**2


def test_the_settings_can_be_used_again(painted, tmp_path):
    """The resolved settings are complete, and, but for what of the machine to take, make a preset of the same ones."""
    settings = painted.sidecar["settings"]
    assert set(settings) == set(Settings.model_fields)
    assert Settings.model_validate(settings) == Settings(**TINY)
    looks = {key: value for key, value in settings.items() if key not in Settings.names(scope="machine")}
    (tmp_path / "again.yaml").write_text(json.dumps(looks))
    machine = {key: settings[key] for key in Settings.names(scope="machine")}
    assert load_settings(str(tmp_path / "again.yaml"), machine) == Settings(**TINY)


def test_the_sidecar_lies_beside_the_painting(painted):
    """`poster.png` has `poster.png.json`, and nothing else is left in the folder."""
    assert sidecar_path(painted.output) == painted.output.parent / "poster.png.json"
    assert sorted(os.listdir(painted.output.parent)) == ["poster.png", "poster.png.json"]


def test_a_sidecar_that_cannot_be_written_is_one_clean_error(tmp_path):
    """The message names the sidecar and says that the painting is there."""
    output = tmp_path / "poster.png"
    sidecar_path(output).mkdir()
    with pytest.raises(OutputError, match=r"poster\.png\.json: .*, at ", check=having(OutputError)):
        write_sidecar(output, {})
    assert os.listdir(tmp_path) == ["poster.png.json"]
