"""Names of paintings: what templates give, and that nothing leads out of the output folder."""

import re
from pathlib import PurePath

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from muralist.pipeline.batch.naming import FIELDS, Template, below, writable
from muralist.pipeline.errors import SettingsError
from muralist.pipeline.pictures.encoding import OUTPUT_EXTENSIONS

VALUES = {"stem": "cat", "style": "wave", "preset": "draft", "ext": "jpg", "number": "07", "folder": "2024"}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("{stem}.{ext}", "cat.jpg"),
        ("{number}-{stem}-{style}-{preset}.tif", "07-cat-wave-draft.tif"),
        ("{style}/{folder}/{stem}.{ext}", "wave/2024/cat.jpg"),
        ("{{{stem}}}.png", "{cat}.png"),
        ("same.PNG", "same.PNG"),
    ],
)
def test_fields_are_filled_in(text, name):
    """Every field, doubled braces, and folders that are written out."""
    assert Template(text).path(VALUES) == PurePath(name)


@pytest.mark.parametrize(
    "text",
    ["{}", "{0}", "{stm}", "{stem.__class__}", "{stem[0]}", "{stem!r}", "{stem:>9}", "{stem:{ext}}", "{stem}{stem!s}"],
)
def test_anything_but_plain_fields_is_refused(text):
    """Attributes, items, conversions and formats are no fields; those that there are get named."""
    with pytest.raises(SettingsError, match=rf"^--name: got {re.escape(repr(text))[:-1]}\.png', .*: \{{stem\}}, "):
        Template(f"{text}.png")


def test_a_mistyped_field_is_recognised():
    """With the one that was meant."""
    with pytest.raises(SettingsError, match=r"'\{style\}'\?"):
        Template("{sytle}.png")


@pytest.mark.parametrize("text", ["{stem.png", "stem}.png", "{stem!}.png"])
def test_braces_that_do_not_match_are_refused(text):
    """The message shows the template and one that would do."""
    with pytest.raises(SettingsError, match=rf"^--name: got {re.escape(repr(text))} .* \{{stem\}}\.\{{ext\}}"):
        Template(text)


@pytest.mark.parametrize("text", ["../{stem}.png", "/tmp/{stem}.png", "a/../b.png", "a//b.png", "./a.png", "a\0.png"])
def test_a_template_stays_below_its_folder(text):
    """Absolute paths, dots, empty parts and NUL are refused, with the place where it was written."""
    with pytest.raises(SettingsError, match=r"^list\.csv:3: output: got .*'\.\.'"):
        Template(text, "list.csv:3: output").path(VALUES)


@pytest.mark.parametrize("text", ["{stem}", "{stem}.gif", "{ext}", "{stem}.{ext}/"])
def test_a_name_must_be_one_of_a_picture(text):
    """Without an extension that can be written there would be nothing but failures."""
    with pytest.raises(SettingsError, match=r"wanted .*(\.jpg|'\.\.'$)"):
        Template(text).path(VALUES)


@pytest.mark.parametrize("value", ["..", ".", "", "a/b", "../a", "a\\b", "\0"])
def test_a_value_cannot_make_a_folder(value):
    """Dots, separators and NUL in a field become underscores."""
    assert str(Template("{stem}/{ext}.png").path({**VALUES, "stem": value})).split("/")[0].replace("_", "") in "..ab"
    assert len(Template("{stem}.png").path({**VALUES, "stem": value}).parts) == 1


@given(st.dictionaries(st.sampled_from(FIELDS), st.text(max_size=8)), st.lists(st.sampled_from(FIELDS), min_size=1))
def test_a_template_without_folders_gives_a_plain_file_name(values, fields):
    """Whatever the fields hold."""
    text = "-".join(f"{{{field}}}" for field in fields) + ".png"
    path = Template(text).path({**VALUES, **values})
    assert len(path.parts) == 1
    assert path.name not in ("..", ".")
    assert not set("/\0") & set(path.name)


@given(st.text(st.sampled_from("./{}aste m\\\0png!:[]"), max_size=12), st.text(st.sampled_from("./\\\0a{"), max_size=5))
def test_no_template_leads_out_of_the_folder(tmp_path_factory, text, stem):
    """Any text is refused or gives a path below."""
    folder = tmp_path_factory.getbasetemp() / "out"
    try:
        path = below(folder, Template(text + ".png").path({**VALUES, "stem": stem}), "here")
    except SettingsError:
        return
    assert path.is_relative_to(folder)
    assert path != folder
    assert ".." not in path.parts


def test_links_do_not_lead_out(tmp_path):
    """A link inside the output folder counts as where it leads; a link to the output folder itself is fine."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "away").symlink_to(tmp_path)
    (tmp_path / "out" / "circle").symlink_to("circle")
    (tmp_path / "door").symlink_to("out")
    with pytest.raises(SettingsError, match=r"list\.csv:2: away/a\.png .*/out\b"):
        below(tmp_path / "out", PurePath("away/a.png"), "list.csv:2")
    with pytest.raises(SettingsError, match=r"list\.csv:2: b/\.\./a\.png .*/out\b"):
        below(tmp_path / "out", PurePath("b/../a.png"), "list.csv:2")
    assert below(tmp_path / "door", PurePath("a.png"), "") == tmp_path / "door" / "a.png"
    assert below(tmp_path / "out", PurePath("circle/a.png"), "") == tmp_path / "out" / "circle" / "a.png"


def test_relative_folders_become_absolute(tmp_path, monkeypatch):
    """An item's output must not depend on who looks at it from where."""
    monkeypatch.chdir(tmp_path)
    assert below(PurePath("out"), PurePath("a/b.png"), "") == tmp_path / "out" / "a" / "b.png"


@given(st.text(max_size=5))
def test_only_formats_that_exist_can_be_written(suffix):
    """Case does not count."""
    formats = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".avif", ".pdf")
    assert all(map(writable, (*formats, ".TIF")))
    assert set(OUTPUT_EXTENSIONS) == set(formats)
    assume(suffix.lower() not in formats)
    assert not writable(suffix)


def test_a_name_longer_than_any_file_has_is_refused():
    """A short template can make a long path, which to follow would take for ever."""
    with pytest.raises(SettingsError, match=r"^--name: got 'cat/.*/\.png', "):
        Template("{stem}/" * 3000 + ".png").path(VALUES | {"stem": "cat"})
