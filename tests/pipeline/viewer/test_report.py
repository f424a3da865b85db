"""The page of a picture as files: what is in them, what is refused, and that nothing is ever half there."""

import base64
import json
import os
import re
import shlex
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
import pyvips
from camera_files import dng
from click.testing import CliRunner
from commands import params_of, settings_of
from facts import having
from pictures import contents, painting, photograph, save
from PIL import Image

from muralist.cli import main
from muralist.pipeline import output_files
from muralist.pipeline.errors import OutputError, PictureError, SettingsError
from muralist.pipeline.hashes import file_hash
from muralist.pipeline.output_names import report_path, sidecar_path
from muralist.pipeline.pictures.images import resize
from muralist.pipeline.pictures.limits import ReadLimits
from muralist.pipeline.pictures.reading import read_picture
from muralist.pipeline.viewer import publish as module
from muralist.pipeline.viewer import register
from muralist.pipeline.viewer.compare import write_comparison
from muralist.pipeline.viewer.facts import render_command
from muralist.pipeline.viewer.publish import tiles_path
from muralist.pipeline.viewer.record import read_record
from muralist.pipeline.viewer.report import viewed, write_report


@pytest.fixture
def own(painted, tmp_path):
    """A copy of the painting with its record, for this test alone."""
    path = tmp_path / "poster.png"
    path.write_bytes(painted.output.read_bytes())
    (tmp_path / "poster.png.json").write_text(json.dumps(painted.sidecar))
    return path


def data_of(page):
    """What a page hands to its scripts."""
    (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page.read_text())
    return json.loads(found)


def tiles_of(page):
    """All of a page's tiles, by name below its folder."""
    return {name: stored for name, stored in contents(tiles_path(page)).items() if stored is not None}


def change(own, **facts):
    """Change some of what the record tells."""
    record = json.loads(own.with_name("poster.png.json").read_text())
    own.with_name("poster.png.json").write_text(json.dumps({**record, **facts}))


@pytest.mark.parametrize(("told", "stops"), [(-1.0, -1), (1e9, 0), (None, 0), ("bright", 0)])
def test_a_raw_photograph_is_as_bright_as_it_was_painted(own, tmp_path, told, stops):
    """It is developed with the exposure of its painting, unless that is nonsense."""
    path = tmp_path / "photo.dng"
    samples = np.repeat(np.linspace(500, 30000, 128)[None], 96, 0).astype(np.uint16)
    path.write_bytes(dng(samples))
    record = json.loads(own.with_name("poster.png.json").read_text())
    inputs = {
        **record["inputs"],
        "content": {**record["inputs"]["content"], "path": str(path), "sha256": file_hash(path)},
    }
    change(own, inputs=inputs, settings={**record["settings"], "raw_exposure": told})
    found = register.find_photograph(read_record(own), own, None, ReadLimits()).picture
    np.testing.assert_array_equal(found.pixels, read_picture(path, exposure=stops).pixels)


def test_page_and_tiles_fit_together(own, painted):
    """The page names the tiles that lie beside it: the painting without loss, and the photograph in register."""
    page = write_report(own)
    assert page.name == "poster.png.report.html"
    data = data_of(page)
    assert (data["height"], data["width"], data["left"]["levels"], data["right"]["levels"]) == (96, 128, 1, 1)
    names = {f"{data[side]['path']}/0/0_0.{data[side]['extension']}" for side in ("left", "right")}
    thumbnail = f"{data['right']['path'].rpartition('/')[0]}/thumbnail.jpg"
    assert {f"poster.png.report/{name}" for name in tiles_of(page)} == {*names, thumbnail}
    shown = pyvips.Image.new_from_file(str(page.parent / data["right"]["path"] / "0" / "0_0.webp")).numpy()
    np.testing.assert_array_equal(shown, np.asarray(Image.open(own)))
    before = pyvips.Image.new_from_file(str(page.parent / data["left"]["path"] / "0" / "0_0.jpg")).numpy()
    wanted = resize(np.asarray(Image.open(painted.content)), 96, 128) * 255
    assert abs(before - wanted).mean() < 4
    assert painted.sidecar["tile_borders"] == {"rows": [48], "cols": [64]}
    assert [(layer["name"], layer["lines"]) for layer in data["layers"]] == [
        ("Tiles", [[[48, 0], [48, 128]], [[0, 64], [96, 64]]]),
    ]
    assert len(data["seams"]) == 4
    assert len(data["losses"]) == len(painted.sidecar["losses"])
    assert sorted(os.listdir(own.parent)) == [
        "poster.png",
        "poster.png.json",
        "poster.png.report",
        "poster.png.report.html",
    ]


def test_names_that_are_not_utf_8(painted, old_folder, capfd):
    """Page and tiles are written wherever the picture is, the photograph is found, and names are spelled out."""
    names = [os.fsdecode(name) for name in (b"p\xe9.jpg", b"s\xe9.jpg", b"\xe9.png")]
    photo, style, own = (old_folder / name for name in names)
    for path, source in ((photo, painted.content), (style, painted.style), (own, painted.output)):
        path.write_bytes(source.read_bytes())
    record = painted.sidecar
    record["inputs"]["content"]["path"], record["inputs"]["styles"][0]["path"] = str(photo), str(style)
    own.with_name(f"{own.name}.json").write_text(json.dumps(record))
    page = write_report(own)
    data = data_of(page)
    for side in ("left", "right"):
        assert (old_folder / unquote(data[side]["path"], errors="surrogateescape")).is_dir()
    for name in names:
        assert name.replace("\udce9", r"\udce9") in page.read_text()
    assert capfd.readouterr() == ("", "")


def test_losses_are_those_of_the_record_with_their_weights(own):
    """The total of every row is the sum of its weighted terms."""
    for row in data_of(write_report(own))["losses"]:
        assert row["total"] == pytest.approx(
            sum(row[name] for name in ("style", "content", "luminance", "tv")), rel=1e-5
        )


def test_a_name_that_begins_with_a_dash_is_no_option():
    """The command reads it as the name that it is."""
    found = params_of(render_command("-a.jpg", ["-s.jpg"], "-o.jpg", "default", {"size": 900}))
    assert (found["photo"], found["style"], found["output"]) == (Path("-a.jpg"), (Path("-s.jpg"),), Path("-o.jpg"))


def test_the_command_paints_the_same(own, painted):
    """The command on the page has the settings of the record."""
    page = write_report(own).read_text()
    command = shlex.split(re.search(r'data-copy="([^"]*)"', page)[1].replace("&#34;", '"').replace("&#39;", "'"))
    assert command[:7] == ["muralist", "render", str(painted.content), "-s", str(painted.style), "-o", str(own)]
    assert settings_of(shlex.join(command)).model_dump(mode="json") == painted.sidecar["settings"]


def test_the_policy_lets_nothing_in(own):
    """The page's policy knows its own scripts and style alone, by hash, and there are no others in it."""
    page = write_report(own).read_text()
    (policy,) = re.findall(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', page)
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == rules["connect-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules["img-src"] == "'self' file: data:"
    for kind, tag in (("script-src", "<script>"), ("style-src", "<style>")):
        assert page.count(tag) == len(rules[kind].split())
        assert "unsafe" not in rules[kind]
    assert not re.findall(r'\son\w+="| style="|javascript:', re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL))


def test_an_existing_page_is_not_replaced_unasked(own):
    """A page that is there is refused, and replaced when asked; its old tiles go, and other files stay."""
    page = write_report(own)
    before = tiles_of(page)
    (tiles_path(page) / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"poster\.png\.report\.html: .*--overwrite"):
        write_report(own)
    write_report(own, overwrite=True)
    after = tiles_of(page)
    assert after.pop("mine.txt") == b"mine"
    assert not before.keys() & after.keys()
    assert sorted(before.values()) == sorted(after.values())


def test_a_planted_link_is_not_followed(own, tmp_path):
    """A folder of tiles that is a link, or a file, is refused, and nothing is written through it."""
    (tmp_path / "elsewhere").mkdir()
    tiles_path(report_path(own)).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError, check=having(path=tiles_path(report_path(own)))):
        write_report(own)
    assert os.listdir(tmp_path / "elsewhere") == []
    assert not report_path(own).exists()


def test_a_folder_of_somebody_else_is_refused(own, monkeypatch):
    """Its owner could change the tiles; on a mount that gives all files to another user it is our own."""
    write_report(own)
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    write_report(own, overwrite=True)
    monkeypatch.setattr(output_files, "check_writable", lambda _: owner + 1)
    with pytest.raises(OutputError, check=having(path=tiles_path(report_path(own)))):
        write_report(own, overwrite=True)


def test_a_link_in_place_of_the_page_is_replaced(own, tmp_path):
    """A page that is a link to a file becomes a page, and the file stays."""
    (tmp_path / "precious").write_text("precious")
    report_path(own).symlink_to(tmp_path / "precious")
    page = write_report(own, overwrite=True)
    assert not page.is_symlink()
    assert (tmp_path / "precious").read_text() == "precious"


@pytest.mark.parametrize("step", ["cut_pyramid", "move_tiles", "write_file"])
def test_interrupted_the_old_page_stays_whole(own, monkeypatch, step):
    """Wherever the work on a new page is cut short, the old page has all its tiles, and nothing else is left."""
    page = write_report(own)
    before = contents(own.parent)

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, step, interrupt)
        with pytest.raises(KeyboardInterrupt):
            write_report(own, overwrite=True)
    assert contents(own.parent) == before
    write_report(own, overwrite=True)
    assert len(tiles_of(page)) == 3


def test_tiles_left_by_a_kill_go_with_the_next_page(own):
    """Tiles that no page names, and a folder that a killed process worked in, are removed."""
    page = write_report(own)
    (tiles_path(page) / "0123456789ab" / "painting").mkdir(parents=True)
    (own.parent / ".poster.png.report.html.muralist" / "tiles").mkdir(parents=True)
    write_report(own, overwrite=True)
    assert len(os.listdir(tiles_path(page))) == 1
    assert not [name for name in os.listdir(own.parent) if name.startswith(".")]


def test_a_full_disk_is_told(own, monkeypatch):
    """A disk that takes no more tiles is an error with the folder's name, and nothing is left."""

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("muralist.pipeline.viewer.tile_folder._sync", full)
    before = contents(own.parent)
    with pytest.raises(OutputError, match=r"poster\.png\.report: ", check=having(OSError)):
        write_report(own)
    assert contents(own.parent) == before


def test_little_memory_is_enough(own):
    """A page of pictures that lie on the disk is the same as of pictures in memory."""
    first = tiles_of(write_report(own))
    second = tiles_of(write_report(own, overwrite=True, memory=1000))
    assert sorted(first.values()) == sorted(second.values())


def test_a_photograph_that_is_copied_may_stay_on_the_disk(own, monkeypatch):
    """However small the painting is, its photograph may be larger than memory."""
    folders, crop = [], register.painted_part
    monkeypatch.setattr(register, "painted_part", lambda *given: folders.append(given[2]) or crop(*given))
    write_report(own)
    assert [folder is None for folder in folders] == [False]


def test_any_picture_has_a_page(tmp_path):
    """A picture without a record has a page with the loupe alone, and no notice."""
    page = write_report(save(tmp_path / "any.jpg", painting()))
    assert data_of(page)["left"] is None
    assert "Seam score" not in page.read_text()
    assert 'class="notice"' not in page.read_text()


@pytest.mark.parametrize("fault", ["gone", "changed"])
def test_a_photograph_that_is_not_the_same_is_not_shown(own, tmp_path, fault):
    """Without its photograph a page shows the painting alone, and says why; named, another one is refused."""
    path = save(tmp_path / "other.png", photograph(seed=5))
    record = json.loads(own.with_name("poster.png.json").read_text())
    record["inputs"]["content"]["path"] = str(path if fault == "changed" else tmp_path / "gone.png")
    change(own, inputs=record["inputs"])
    page = write_report(own)
    assert data_of(page)["left"] is None
    assert "The photograph is not shown: " in page.read_text()
    with pytest.raises(PictureError, match=r"other\.png: .*poster\.png"):
        write_report(own, photograph=path, overwrite=True)


def test_a_photograph_that_was_moved_is_found(own, painted, tmp_path):
    """A photograph beside the painting, or named, is taken if it is the same; one that is not there is an error."""
    record = json.loads(own.with_name("poster.png.json").read_text())
    record["inputs"]["content"]["path"] = "/nowhere/photo.png"
    change(own, inputs=record["inputs"])
    (tmp_path / "named.png").write_bytes(painted.content.read_bytes())
    assert data_of(write_report(own, photograph=tmp_path / "named.png"))["left"]
    (tmp_path / "named.png").rename(tmp_path / "photo.png")
    assert data_of(write_report(own, overwrite=True))["left"]
    with pytest.raises(PictureError, check=having(FileNotFoundError, path=tmp_path / "gone.png")):
        write_report(own, photograph=tmp_path / "gone.png", overwrite=True)


def test_a_photograph_is_cropped_as_it_was_painted(own, painted):
    """The part of the photograph that was painted is shown; settings that lead elsewhere are told."""
    settings = painted.sidecar["settings"] | {"aspect": "1:1"}
    save(own, painting(96, 96))
    change(own, settings=settings, width=96, tile_borders=None, sheet=None)
    data = data_of(page := write_report(own))
    shown = pyvips.Image.new_from_file(str(own.parent / data["left"]["path"] / "0" / "0_0.jpg")).numpy()
    wanted = np.asarray(Image.open(painted.content))[:, 16:112].astype(float)
    assert abs(shown - wanted).mean() < 4
    change(own, settings=settings | {"size": 50})
    write_report(own, overwrite=True)
    assert "settings would give a painting of another size" in page.read_text()


@pytest.mark.parametrize(
    ("facts", "fault"),
    [
        ({"losses": 7}, r"losses: "),
        ({"tile_borders": {"rows": [200], "cols": []}}, r"tile_borders: got \[200\]"),
        ({"sheet": {"height": 90, "width": 140}}, r"sheet: got "),
        ({"inputs": {}}, r"inputs\.content: "),
        ({"seconds": float("nan")}, r"\bNaN\b"),
        ({"seconds": 10**30}, r"\b31 digits"),
    ],
)
def test_a_record_that_makes_no_sense_is_refused(own, facts, fault):
    """What is wrong in a record is named, and what to do."""
    change(own, **facts)
    with pytest.raises(PictureError, match=rf"poster\.png\.json: .*{fault}"):
        write_report(own)


def test_a_record_of_another_picture_is_refused(own):
    """A painting that was enlarged since is not what its record tells of."""
    save(own, painting(100, 140))
    with pytest.raises(PictureError, match=r"140 x 100 px,.* 128 x 96 px"):
        write_report(own)


def test_a_record_that_is_no_file_is_refused(own):
    """A pipe in place of a record is not waited for, and one without end is not read."""
    own.with_name("poster.png.json").unlink()
    os.mkfifo(own.with_name("poster.png.json"))
    with pytest.raises(PictureError, match=r"poster\.png\.json: ", check=having(OSError)):
        write_report(own)


def test_a_name_that_leaves_no_room_for_a_record(tmp_path):
    """A picture that can have no sidecar has a page without one."""
    picture = save(tmp_path / ("p" * 250 + ".png"), painting(60, 80))
    done = CliRunner().invoke(main, ["report", str(picture), "--output", str(tmp_path / "page.html")])
    assert (done.exit_code, done.stdout) == (0, f"{tmp_path / 'page.html'}\n")
    assert "no sidecar" in done.stderr


def test_a_record_of_an_older_version_is_enough(own):
    """A record without borders, plan and weights of every loss has a page without what it does not tell."""
    record = json.loads(own.with_name("poster.png.json").read_text())
    for name in ("tile_borders", "plan", "seam_threshold"):
        del record[name]
    own.with_name("poster.png.json").write_text(json.dumps(record))
    page = write_report(own)
    assert "seams" not in data_of(page)
    assert "too few borders to tell" in page.read_text()


def test_a_single_file_holds_all_tiles(own, monkeypatch):
    """A single file has the tiles in itself; a picture that is too large for that is refused."""
    page = write_report(own, single_file=True)
    inline = data_of(page)["right"]["inline"]
    kind, _, stored = inline["0/0_0"].partition(";base64,")
    assert kind == "data:image/webp"
    np.testing.assert_array_equal(
        pyvips.Image.new_from_buffer(base64.b64decode(stored), "").numpy(), np.asarray(Image.open(own))
    )
    assert not tiles_path(page).exists()
    write_report(own, overwrite=True)
    assert tiles_of(page)
    write_report(own, single_file=True, overwrite=True)
    assert not tiles_path(page).exists()
    monkeypatch.setattr(module, "SINGLE_FILE_PIXELS", 1000)
    with pytest.raises(SettingsError, match=r"128 x 96 px .*\b0\.001 megapixels"):
        write_report(own, single_file=True, overwrite=True)


def test_a_view_goes_when_it_ends(own):
    """Without a page a picture is viewed from a folder that goes; with one that is up to date, that is shown."""
    with viewed(own) as page:
        assert page.parent != own.parent
        assert data_of(page)["left"]
    assert not page.parent.exists()
    write_report(own)
    with viewed(own) as page:
        assert page == report_path(own)
    os.utime(own, ns=(0, report_path(own).stat().st_mtime_ns + 1))
    with viewed(own) as page:
        assert page != report_path(own)
    os.utime(own, ns=(0, 0))  # of its photograph
    with viewed(own) as page:
        assert page == report_path(own)
    os.utime(sidecar_path(own), ns=(0, report_path(own).stat().st_mtime_ns + 1))
    with viewed(own) as page:
        assert page != report_path(own)


def test_what_is_transparent_is_white(tmp_path):
    """A page shows a cutout and its photograph as they look on paper, not the colors that their alpha hides."""
    cutout = np.full((80, 90, 4), 40, np.uint8)
    cutout[:30, :, 3], cutout[30:, :, 3] = 0, 255
    page = write_report(save(tmp_path / "a.png", cutout), photograph=save(tmp_path / "b.png", cutout))
    data = data_of(page)
    for side in ("left", "right"):
        tile = page.parent / data[side]["path"] / "0" / f"0_0.{data[side]['extension']}"
        shown = pyvips.Image.new_from_file(str(tile)).numpy().astype(int)
        assert abs(shown[:20] - 255).max() <= 2
        assert abs(shown[40:] - 40).max() <= 2


def test_a_picture_alone_is_not_called_a_painting(tmp_path):
    """Any picture may be viewed; it is called a painting where its sidecar or its photograph is there."""
    path = save(tmp_path / "a.png", photograph())
    assert ">Picture</span>" in write_report(path).read_text()
    assert ">Painting</span>" in write_report(path, photograph=path, overwrite=True).read_text()


def test_pictures_of_the_same_stem_have_pages_of_their_own(own):
    """`poster.png` and `poster.tif`."""
    page = write_report(own)
    before = page.read_text()
    other = own.with_suffix(".tif")
    save(other, photograph())
    assert "<h1>poster.tif</h1>" in write_report(other).read_text()
    assert page.read_text() == before


def test_the_command_writes_a_page(own):
    """`muralist report` prints the page's path; errors are a line."""
    done = CliRunner().invoke(main, ["report", str(own)])
    assert (done.exit_code, done.output) == (0, f"{report_path(own)}\n")
    again = CliRunner().invoke(main, ["report", str(own)])
    assert (again.exit_code, again.output.count("\n")) == (1, 1)
    assert "exists already" in again.output


def test_a_picture_without_a_sidecar_is_told(own):
    """The page cannot say how it was made; the page itself stays as it is."""
    sidecar_path(own).unlink()
    done = CliRunner().invoke(main, ["report", str(own)])
    assert (done.exit_code, done.stdout) == (0, f"{report_path(own)}\n")
    assert "poster.png.json" in done.stderr


@pytest.mark.parametrize("name", ["a.txt", "a"])
def test_a_page_has_the_extension_of_a_page(own, tmp_path, name):
    """Browsers would show another one as text."""
    with pytest.raises(OutputError, match=r"wanted \.html", check=having(path=tmp_path / name)):
        write_report(own, page=tmp_path / name)
    with pytest.raises(OutputError, match=r"wanted \.html", check=having(path=tmp_path / name)):
        write_comparison(own, own, tmp_path / name)


@pytest.mark.parametrize("folder", [".", "/", ".."])
def test_a_folder_is_not_viewed(folder):
    """Also one that has no name."""
    done = CliRunner().invoke(main, ["view", folder, "--no-browser"])
    assert (done.exit_code, done.output) == (1, f"Error: {folder}: this is a folder; name one picture in it\n")


def test_the_command_shows_a_picture(own, monkeypatch):
    """`muralist view` opens the address it prints, until it is interrupted; without a browser it says so."""
    opened = []
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address))
    monkeypatch.setattr("signal.pause", lambda: (_ for _ in ()).throw(KeyboardInterrupt))
    done = CliRunner().invoke(main, ["view", str(own)])
    assert done.exit_code == 0
    assert done.stdout.strip() == opened[0]
    assert opened[0].startswith("file:///")
    assert "no browser was found; open this address yourself" in done.stderr
    write_report(own)
    done = CliRunner().invoke(main, ["view", str(own), "--no-browser"])
    assert (done.stdout.strip(), done.stderr) == (report_path(own).as_uri(), "")
