"""What `import muralist` gives."""

import inspect
import json
import multiprocessing
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pictures import TINY, painting, photograph, save
from PIL import Image

import muralist
from muralist.model.errors import ModelError
from muralist.pipeline.errors import ClusterError, PictureError, PipelineError
from muralist.tiling.errors import TilingError


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python."""
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)


@pytest.fixture
def paths(tmp_path):
    """A photograph, a style picture, and where to paint."""
    names = ("photo.png", "style.png")
    made = (save(tmp_path / name, pixels) for name, pixels in zip(names, (photograph(), painting()), strict=True))
    return *made, tmp_path / "out.png"


def test_every_name_is_there():
    """What the package lists can be had, and nothing else."""
    assert all(getattr(muralist, name) is not None for name in muralist.__all__)
    assert dir(muralist) == sorted(muralist.__all__)  # what an editor or a notebook completes
    with pytest.raises(AttributeError, match="painter"):
        _ = muralist.painter


def test_all_errors_have_one_base():
    """A caller needs one name to catch them."""
    assert all(issubclass(error, muralist.MuralistError) for error in (PipelineError, ModelError, TilingError))


def test_a_render_gives_its_result(paths, scheduler):
    """Size, score and record, and the picture that was written."""
    settings = muralist.load_settings("default", TINY | {"scheduler": scheduler})
    assert muralist.plan(*paths, settings)["notices"] == []
    result = muralist.render(*paths, settings)
    assert (result.output, result.size) == (paths[2], (128, 96))
    assert (result.seconds, result.seam_score) == (result.sidecar["seconds"], result.sidecar["seam_score"])
    assert result.notices == tuple(result.sidecar["notices"])
    np.testing.assert_array_equal(np.asarray(result.image()), np.asarray(Image.open(paths[2]).convert("RGB")))
    paths[2].unlink()
    with pytest.raises(PictureError):
        result.image()


def test_a_batch_gives_its_report(paths, scheduler, tmp_path):
    """One result for every photograph; settings beat the default."""
    settings = muralist.Settings(**TINY, scheduler=scheduler)
    report = muralist.render_batch(paths[0], paths[1], tmp_path / "painted", settings)
    assert report.exit_code == 0
    (line,) = (tmp_path / "painted" / "report.jsonl").read_text().splitlines()
    assert json.loads(line)["status"] == "done"
    with Image.open(tmp_path / "painted" / "photo.png") as picture:
        assert picture.size == (128, 96)


def test_a_batch_takes_settings_that_are_all_written_out(paths, scheduler, tmp_path):
    """As a sidecar's are, where usual values stand beside settings that take their place."""
    painted = muralist.Settings(**TINY, content_weight=5, style_width="92cm", print_size="2x2cm", dpi=150)
    sidecar = {"identity": {}, "settings": painted.model_dump(mode="json")}
    (tmp_path / "out.png.json").write_text(json.dumps(sidecar))
    settings = muralist.load_settings(tmp_path / "out.png.json", {"scheduler": scheduler})
    muralist.render_batch(paths[0], paths[1], tmp_path / "painted", settings)
    made = json.loads((tmp_path / "painted" / "photo.png.json").read_text())["settings"]
    assert [made[name] for name in ("content_weight", "style_width", "print_size")] == [5, ["92cm"], "2x2cm"]


@pytest.mark.parametrize(
    ("call", "arguments", "named", "name"),
    [
        ("Settings", (), {"sise": 3}, "sise: .*'size'"),
        ("Settings", (), {"size": "300px", "strength": 2}, "strength: .*2.*size: .*300px"),
        ("load_settings", (5,), {}, "preset: .*5.*str"),
        ("load_settings", ("draft", "size=3"), {}, "overrides: .*size=3"),
        ("load_settings", ("draft", {}, "size=3"), {}, "assignments: .*size=3"),
        *(
            (call, arguments, named, name)
            for call in ("render", "plan", "render_batch")
            for arguments, named, name in (
                (("p", "s", "o", {"size": 100}), {}, "settings: .*100.*Settings"),
                (("p", "s", "o", "draft"), {}, "settings: .*draft"),
                (("p", None, "o"), {}, "style: .*None.*Path"),
                (("p", ["s", 3], "o"), {}, "style: .*3"),
                (("p", "s", 3), {}, "output: .*3"),
                (("p", ["s", "s\0"], "o.png"), {}, r"style: .*s\\x00"),
                (("p", "s", Path("o\ud800.png")), {}, r"output: .*o\\ud800.*, wanted a file name"),
                (("p", "s", "o"), {"overwrite": "no"}, "overwrite: .*no"),
            )
        ),
        ("render", (["p", "q"], "s", "o"), {}, "photo: .*'p', 'q'"),
        ("render", ("p", "", "o"), {}, "style: .*''"),
        ("render_batch", ("p", ["s", ""], "o"), {}, "style: .*''"),
        ("render", ("p", "s", "o"), {"on_progress": 5}, "on_progress: .*5"),
        ("render", ("p", "s", "o"), {"live": "8080"}, "live: .*8080"),
        ("render", ("p", "s", "o"), {"live": True}, "live: .*True.*int"),
        ("render_batch", ("p", "s", "o"), {"max_hours": True}, "max_hours: .*True.*float"),
        ("Settings", (), {"strength": 0.7, "content_weight": 5}, "content_weight: strength and content_weight exclude"),
        ("render_batch", ("p", "s", "o"), {"finish_by": 7}, "finish_by: .*7.*str"),
        ("render_batch", ("p", "s", "o"), {"raw_pairs": "none"}, "raw_pairs: .*none.*'both'"),
    ],
)
def test_wrong_arguments_are_expected_errors(call, arguments, named, name):
    """Their names and values are told before anything is done."""
    with pytest.raises(muralist.MuralistError, match=f"^{name}") as caught:
        getattr(muralist, call)(*arguments, **named)
    assert isinstance(caught.value, ValueError)


def test_arguments_that_are_not_there_are_type_errors():
    """As of any function of Python; and the functions keep their own signatures and texts."""
    with pytest.raises(TypeError, match="style"):
        muralist.render("photo.jpg")
    with pytest.raises(TypeError, match=r"^render\(\) .*sise"):
        muralist.render("photo.jpg", "style.jpg", "out.jpg", sise=3)
    assert list(inspect.signature(muralist.plan).parameters)[:4] == ["photo", "style", "output", "settings"]
    assert "Parameters" in (muralist.render.__doc__ or "")


def test_a_worker_that_imports_the_script_does_not_paint(paths, monkeypatch):
    """A script must say what is for the main process only: Python says of the others that they are getting ready."""
    monkeypatch.setattr(multiprocessing.current_process(), "_inheriting", True, raising=False)
    for call in (muralist.render, muralist.render_batch):
        with pytest.raises(ClusterError, match='`if __name__ == "__main__":`'):
            call(*paths)
    assert not paths[2].exists()


def test_importing_takes_nothing_along():
    """The package is there at once: what is heavy is loaded when it is used."""
    code = "import muralist, sys; print(sorted({'torch', 'numpy', 'pydantic', 'distributed'} & set(sys.modules)))"
    assert python("-c", code).stdout == "[]\n"


def test_the_package_is_a_command():
    """`python -m muralist` does what the command does."""
    assert python("-m", "muralist", "--version").stdout.endswith(f"version {muralist.__version__}\n")
