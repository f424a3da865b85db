"""Presets that are wrong: each mistake is told in one line, with its place."""

import contextlib
import os
import pickle

import pytest
from complaints import complaint
from hypothesis import given, settings
from hypothesis import strategies as st

from muralist.pipeline.errors import PipelineError, SettingsError
from muralist.pipeline.presets import (
    MAX_BYTES,
    load_settings,
    preset_names,
)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("tile: 12", "tile: got 12, wanted at least 64"),
        ("overlapp: 3", "overlapp: unknown key, did you mean 'overlap'?"),
        ("Tile: 512", "Tile: unknown key, did you mean 'tile'?"),
        ("zzzzzzzz: 3", "zzzzzzzz: unknown key"),
        ("1: 2", "1: unknown key"),
        ("<<: {tile: 512}", "<<: unknown key"),
        ("tile: yes", "tile: got 'yes', wanted a whole number"),
        ("tile: true", "tile: got True, wanted a number, not true or false"),
        ("tile: .inf", "tile: got '.inf', wanted a whole number"),
        ("style_weight: 1e999", "style_weight: got inf, wanted a finite number"),
        ("quality: 300.5", "quality: got 300.5, wanted a whole number"),
        ("seed: " + "9" * 4000, "seed: got "),
        ("betas: [0.5]", "betas: got [0.5], wanted two numbers"),
        ("size: 300px", "size: got '300px', wanted a whole number"),
        ("strength: 70%", "strength: got '70%', wanted a number"),
        ("style_scale: 0", "style_scale: got 0, wanted at least 0.05"),
        ("style_layers: 5", "style_layers: got 5, wanted layers, such as relu3_1,relu4_1, or with a weight each, such"),
        ("steps:", "steps: got nothing, wanted"),
        ("style_layers: {relu1_1: -1}", "style_layers.relu1_1: got -1, wanted at least 0"),
        ("print_size: 60x90", "print_size: got '60x90', wanted two lengths"),
        ("aspect: 0:3", "aspect: got '0:3', wanted sides above 0"),
        ("width: 80\naspect: 1:1\nheight: 70", "aspect: got width 80 and height 70, which contradict aspect 1:1"),
        ("size: 80\nwidth: 70", "width: size and width exclude each other"),
        ("tile: 200", "overlap: got tile 200 and overlap 128"),
        ('"a\\nb": 3', "a b: unknown key"),
        (
            "extends: postr",
            f"extends: unknown preset 'postr'; did you mean 'poster'? known: {preset_names()[0]}, ",
        ),
        ("extends: [default]", "extends: got ['default'], wanted the name of a preset"),
        ("extends:", "extends: got None, wanted the name of a preset"),
        ("extends: mine.yaml", "extends: the preset extends itself (mine.yaml -> mine.yaml)"),
        ("tile: 512\nfit: crop\ntile: 600", "cannot be read as YAML: repeated key 'tile', first on line 2"),
        ("style_layers: {a: 1, a: 2}", "cannot be read as YAML: repeated key 'a', first on line 2"),
        ("tile: &size 512", "cannot be read as YAML: anchors, aliases and tags are not allowed"),
        ("tile: *size", "cannot be read as YAML: anchors, aliases and tags are not allowed"),
        ("tile: !!python/name:os.system", "cannot be read as YAML: anchors, aliases and tags are not allowed"),
        ("tile: " + "[" * 50_000, "cannot be read as YAML: nested too deeply"),
        ("? [a, b]\n: 3", "cannot be read as YAML: a key must be a name"),
        ("tile: [512", "cannot be read as YAML: "),
        ("tile: 512\n  fit: crop", "cannot be read as YAML: "),
        ("tile: 512\n---\ntile: 600", "cannot be read as YAML: "),
    ],
)
def test_a_wrong_line_is_named(preset, line, message):
    """The message begins with the file and the line, then the key, what was found and what was wanted."""
    found = complaint(preset(f"# a comment\n{line}\n"))
    place, _, rest = found.partition("mine.yaml:")
    number, _, rest = rest.partition(": ")
    assert place
    assert 2 <= int(number) <= 5
    assert rest.startswith(message)


@pytest.mark.parametrize("text", ["- tile\n- 512\n", "tile\n", "42\n"])
def test_a_preset_must_be_a_mapping(preset, text):
    """A list or a single value is not a preset."""
    assert "mine.yaml:1: got " in (message := complaint(preset(text)))
    assert "wanted lines of the form 'key: value'" in message


def test_control_characters_and_endless_numbers_are_refused(preset):
    """YAML's own complaints without a line number still name the file."""
    assert "mine.yaml: cannot be read as YAML: unacceptable character" in complaint(preset("tile: \a"))
    assert "mine.yaml: cannot be read as YAML: Exceeds the limit" in complaint(preset("seed: " + "9" * 5000))


def test_a_loop_of_presets_is_refused(preset):
    """Two presets that extend each other are named in order, however their paths are written."""
    preset("extends: ./mine.yaml", "other.yaml")
    message = complaint(preset("tile: 512\nextends: other.yaml\n"))
    assert "other.yaml:1: extends: the preset extends itself (mine.yaml -> other.yaml -> mine.yaml)" in message


def test_all_problems_are_reported_at_once(preset):
    """One line names every wrong setting of every source, each with its place."""
    mine = preset("extends: draft\ntile: 12\nqality: 3\n")
    problems = complaint(mine, {"device": "gpu"}, ["scheduler=here"]).split("; ")
    assert sorted(problems) == sorted(
        [
            f"{mine}:2: tile: got 12, wanted at least 64",
            f"{mine}:3: qality: unknown key, did you mean 'quality'?",
            "device: got 'gpu', wanted 'auto', 'cpu', 'cuda', 'cuda:N' or 'mps'",
            "--set: scheduler: got 'here', wanted an address such as tcp://host:8786",
        ]
    )


def test_a_value_is_placed_where_it_was_last_written(preset):
    """A problem in a line that was overridden is no problem; one in the override is the override's."""
    mine = preset("tile: 12")
    assert load_settings(mine, {"tile": 512}).tile == 512
    assert complaint(mine, assignments=["tile=13"]).startswith("--set: tile: got 13")


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("tile", "--set: got 'tile', wanted key=value"),
        ("=512", "--set: got '=512', wanted key=value"),
        ("", "--set: got '', wanted key=value"),
        ("tile=[1", "--set: tile: cannot be read as YAML: "),
        ("tile=12", "--set: tile: got 12, wanted at least 64"),
        ("tile=200", "--set: overlap: got tile 200"),
        ("tiel=512", "--set: tiel: unknown key, did you mean 'tile'?"),
        ("extends=draft", "--set: extends: unknown key"),
        ("style_layers={a: 1, a: 2}", "--set: style_layers: cannot be read as YAML: repeated key 'a'"),
    ],
)
def test_a_wrong_assignment_is_named(assignment, message):
    """An assignment's message says that it came from the command line."""
    assert complaint(assignments=[assignment]).startswith(message)


def test_unknown_presets_are_refused():
    """The message offers the nearest name and lists all."""
    known = f"known: {', '.join(preset_names())}, or name a .yaml file"
    assert complaint("postr") == f"unknown preset 'postr'; did you mean 'poster'? {known}"
    assert complaint("zzz") == f"unknown preset 'zzz'; {known}"


def test_a_file_is_named_with_its_extension(tmp_path, monkeypatch):
    """What lies here is not taken for a preset that comes with muralist, but the message knows of it."""
    (tmp_path / "mine.yaml").touch()
    monkeypatch.chdir(tmp_path)
    assert complaint("mine") == "unknown preset 'mine'; for the file, write mine.yaml"


@pytest.mark.parametrize("name", ["", ".."])
def test_odd_names_are_unknown_presets(name):
    """A name never leads out of the folder of presets."""
    assert complaint(name).startswith(f"unknown preset {name!r}")


@pytest.mark.parametrize("name", ["missing.yaml", "."])
def test_unreadable_files_are_refused(tmp_path, name):
    """A missing file and a folder are named with the reason."""
    assert "cannot be read (" in (message := complaint(f"{tmp_path}/{name}"))
    assert "wanted a preset file" in message


def test_names_that_no_file_can_have_are_refused(preset):
    """Neither where a preset is named nor in one."""
    assert complaint("a\0b") == r"preset: got 'a\x00b', wanted a file name"
    assert "cannot be read (" in complaint(preset(b'extends: "a\\0.yaml"'))


def test_files_that_are_no_presets_are_refused(preset):
    """A picture given as a preset is not read to its end, nor guessed at."""
    assert "wanted a preset of a few lines" in complaint(preset(b" " * (MAX_BYTES + 1)))
    assert "wanted a text file" in complaint(preset(b"\xff\xd8\xff\xe0"))


def test_a_pipe_is_no_preset(tmp_path):
    """Nothing is read where reading might wait for ever."""
    os.mkfifo(tmp_path / "pipe.yaml")
    assert "pipe.yaml: cannot be read (not a file), wanted a preset file" in complaint(f"{tmp_path}/pipe.yaml")


def test_a_preset_may_extend_no_impossible_name(preset):
    """A NUL, which no file's name has, is told like a file that is not there."""
    assert "cannot be read (" in complaint(preset('extends: "a\\0.yaml"'))


def test_no_more_problems_are_told_than_are_read(preset):
    """Of thousands of wrong lines the first are named, and the others counted."""
    message = complaint(preset("".join(f"wrong{number}: 1\n" for number in range(1000))))
    assert "wrong19: unknown key; and 980 more" in message
    assert "wrong20" not in message


def test_settings_errors_are_pipeline_errors_and_survive_pickling():
    """They can be caught by either parent, on either side of a cluster."""
    error = pickle.loads(pickle.dumps(SettingsError("tile: got 12")))
    assert isinstance(error, PipelineError)
    assert isinstance(error, ValueError)
    assert str(error) == "tile: got 12"


@settings(deadline=None)  # it writes a file
@given(st.text(alphabet=st.sampled_from("tilesz=:[]{},-?&*!#'\"0123.e~\n \t\\%")) | st.text())
def test_any_text_is_settings_or_a_settings_error(tmp_path_factory, text):
    """Whatever is in a file or an assignment, no other kind of error comes out."""
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(text, encoding="utf-8", errors="replace", newline="")
    for arguments in ({"preset": str(path)}, {"assignments": [f"tile={text}"]}, {"assignments": [text]}):
        with contextlib.suppress(SettingsError):
            load_settings(**arguments)


SECRETS = {
    "lines": "root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1::/:/bin/false\n",
    "keys": "password: hunter2\nsize: hunter2\n",
    "a repeated key": "hunter2: 1\nhunter2: 2\n",
    "no YAML": "hunter2: [%hunter2\n",
    "a tag": "!hunter2 x\n",
    "a list": "- hunter2\n",
}


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
def test_a_strangers_preset_shows_no_other_file(preset, tmp_path, secret):
    """What it extends may be any file of the user's; that it is no preset is all that is said, and how to know more."""
    path = tmp_path / "secret"
    path.write_text(secret)
    said = complaint(preset(f"extends: {path}"))
    assert f"{path}: this is not a preset, wanted a file of settings; if it is yours, `muralist presets" in said
    for word in ("hunter2", "root", "password", "bash"):
        assert word not in said.replace(str(tmp_path), "")
    with pytest.raises(SettingsError, match=f"^{path}: ") as caught:
        load_settings(str(path), own={}, place="list.csv:2", foreign=True)
    assert "hunter2" not in str(caught.value)


def test_a_bleed_without_its_unit_is_no_old_word():
    """A flag is a text, and `--bleed 3` lacks its unit; it never meant the edge margin."""
    with pytest.raises(SettingsError, match=r"bleed: got '3', .* 3mm"):
        load_settings("default", {"bleed": "3", "print_size": "A1"})


def test_sizes_in_bytes_are_explained():
    """What is no number of bytes is told with an example."""
    with pytest.raises(SettingsError, match=r"max_file: got 'banana', .* 128MB .* 4GiB"):
        load_settings("default", {"max_file": "banana"})
