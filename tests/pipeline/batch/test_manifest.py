"""Manifests: what rows mean, and that nothing wrong or dangerous in one goes through."""

import contextlib
import csv
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muralist.pipeline.batch.manifest import MAX_BYTES, Entry, is_manifest, read_manifest
from muralist.pipeline.errors import SettingsError
from muralist.pipeline.presets import load_settings
from muralist.pipeline.settings import Settings


@pytest.fixture
def manifest(tmp_path):
    """A function that writes a manifest and gives its path."""

    def write(text, name="list.csv"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def complaint(path):
    """The one-line message about a wrong manifest, without the folder."""
    with pytest.raises(SettingsError) as caught:
        read_manifest(path)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    return message.replace(f"{path.parent}/", "")


def test_a_row_with_everything(manifest, tmp_path):
    """Style, preset, output and settings of one picture; paths count from the manifest, also of presets and starts."""
    row = 'a/cat.jpg,wave.jpg|monet,mine.yaml,b/{stem}.png,512,"200,100",start.png,{relu3_1: 2},4:3\n'
    path = manifest("content,style,preset,output,tile,steps,init,style_layers,aspect\n" + row)
    (entry,) = read_manifest(path)
    assert entry.content == tmp_path / "a/cat.jpg"
    assert entry.place == f"{path}:2"
    assert str(entry.folder) == "a"
    assert entry.styles == (tmp_path / "wave.jpg", tmp_path / "monet")
    assert entry.preset == str(tmp_path / "mine.yaml")
    assert entry.output == "b/{stem}.png"
    settings = load_settings(own=entry.overrides)
    assert (settings.tile, settings.steps, settings.aspect) == (512, (200, 100), "4:3")
    assert (settings.init, settings.style_layers) == (str(tmp_path / "start.png"), {"relu3_1": 2.0})


def test_json_lines_say_the_same(manifest):
    """Typed values, a list of styles and nested settings; nulls and blank lines say nothing."""
    rows = [
        {"content": "a.jpg", "style": "b.jpg|c.jpg", "tile": 512, "preset": "draft", "size": None},
        {"content": "a.jpg", "style": ["b.jpg", "c|d.jpg"], "settings": {"tile": 512, "init": "blank"}},
    ]
    path = manifest("\n".join(map(json.dumps, rows)).replace("\n", "\n\n") + "\n", "list.jsonl")
    first, second = read_manifest(path)
    assert first == Entry(
        path.parent / "a.jpg",
        f"{path}:1",
        styles=(path.parent / "b.jpg", path.parent / "c.jpg"),
        preset="draft",
        overrides={"tile": 512},
    )
    assert (second.place, second.overrides) == (f"{path}:3", {"tile": 512, "init": "blank"})
    assert second.styles == (path.parent / "b.jpg", path.parent / "c|d.jpg")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_what_spreadsheets_write_is_read(manifest, encoding, end):
    """Byte order marks, line ends, blank lines, quotes, line breaks in cells, spaces after commas."""
    lines = ["content, style,tile", "", '"a,b.jpg", "x.jpg",', "", '"a', 'b.jpg",,', 'ä.jpg,"  ",512']
    path = manifest(end.join(lines).encode(encoding))
    entries = read_manifest(path)
    assert [entry.place.rpartition(":")[2] for entry in entries] == ["3", "5", "7"]
    assert [entry.content.name for entry in entries] == ["a,b.jpg", f"a{end}b.jpg", "ä.jpg"]
    assert [entry.styles for entry in entries] == [(path.parent / "x.jpg",), None, None]
    assert [entry.overrides for entry in entries] == [{}, {}, {"tile": 512}]


@pytest.mark.parametrize(
    ("content", "folder"),
    [("a/b/c.jpg", "a/b"), ("c.jpg", "."), ("../c.jpg", "."), ("a/../../c.jpg", "."), ("/a/c.jpg", ".")],
)
def test_folders_below_the_manifest_are_mirrored(manifest, content, folder):
    """A photograph from elsewhere is painted straight into the output folder."""
    (entry,) = read_manifest(manifest(f"content\n{content}\n"))
    assert str(entry.folder) == folder


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "list.csv:1: got the columns [], wanted a header with the column 'content'"),
        ("a.jpg,b.jpg\n", "list.csv:1: unknown key 'a.jpg'"),
        ("content;style\n", "list.csv:1: got columns separated by ';', wanted commas"),
        ("content\tstyle\n", "list.csv:1: got columns separated by '\\t', wanted commas"),
        ("photo,style\n", "list.csv:1: unknown key 'photo', did you mean 'content'?"),
        ("content,style\n", "list.csv: got no picture, wanted at least one line"),
        ("style\nb.jpg\n", "list.csv:1: got the columns ['style'], wanted a header with the column 'content'"),
        ("content,tle\n", "list.csv:1: unknown key 'tle', did you mean 'tile'?"),
        ("content,extends\n", "list.csv:1: unknown key 'extends'"),
        ("content,settings\n", "list.csv:1: unknown key 'settings'"),
        ("content,tile,tile\n", "list.csv:1: got 'tile' twice"),
        ("content,tile\na.jpg\n", "list.csv:2: got 1 cells, wanted 2 as in the header"),
        ("content\n\na.jpg,b.jpg\n", "list.csv:3: got 2 cells, wanted 1 as in the header"),
        ("content,tile\n,512\n", "list.csv:2: got no content"),
        ('content\n"a.jpg\n', "list.csv:2: cannot be read as CSV"),
        ('content\n"a"b.jpg\n', "list.csv:2: cannot be read as CSV"),
        (f"content\n{'a' * 200_000}\n", "list.csv:2: cannot be read as CSV: field larger than field limit"),
        ("content,style\na.jpg,b.jpg|\n", "list.csv:2: style: got '', wanted a text"),
        ("content,tile\na.jpg,[1\n", "list.csv:2: tile: cannot be read as YAML"),
        ("content\na\0.jpg\n", "list.csv:2: content: got 'a\\x00.jpg', wanted a file name"),
        ("content,init\na.jpg,\0\n", "list.csv:2: init: cannot be read as YAML"),
        ("content\na.jpg\nb\xff.jpg\n".encode("latin-1"), "list.csv:3: got bytes that are not UTF-8"),
        ("content\na.jpg\n".encode("utf-16"), "list.csv:1: got bytes that are not UTF-8"),
    ],
)
def test_wrong_csv_is_refused(manifest, text, said):
    """With the file, the line a row begins on, and what was wanted."""
    assert complaint(manifest(text)).startswith(said)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "cannot be read as JSON: Expecting property name"),
        ("[1]", "got [1], wanted an object"),
        ("[" * 100_000, "cannot be read as JSON"),
        ('{"content": ' + "9" * 5000 + "}", "cannot be read as JSON"),
        ('{"content": "a", "content": "b"}', "cannot be read as JSON: a key is repeated"),
        ("{}", "got no content"),
        ('{"content": null}', "got no content"),
        ('{"content": ["a.jpg"]}', "content: got ['a.jpg'], wanted a text"),
        ('{"content": " "}', "content: got ' ', wanted a text"),
        ('{"content": "a\\u0000"}', "content: got 'a\\x00', wanted a file name"),
        ('{"content": "\\ud800"}', "content: got '\\ud800', wanted a file name"),
        ('{"content": "a", "style": 3}', "style: got 3, wanted the path of a painting"),
        ('{"content": "a", "style": []}', "style: got [], wanted the path of a painting"),
        ('{"content": "a", "style": [["b"]]}', "style: got ['b'], wanted a text"),
        ('{"content": "a", "preset": {}}', "preset: got {}, wanted a text"),
        ('{"content": "a", "output": 1}', "output: got 1, wanted a text"),
        ('{"content": "a", "settings": [1]}', "settings: got [1], wanted an object of settings"),
        ('{"content": "a", "settings": {"output": "b"}}', "settings: output does not belong there"),
        ('{"content": "a", "tile": 1, "settings": {"tile": 2}}', "settings: tile does not belong there, or is given"),
        ('{"content": "a", "settings": {"tle": 2}}', "unknown key 'tle', did you mean 'tile'?"),
        ('{"content": "a", "weights": "w\\u0000"}', "weights: got 'w\\x00', wanted a file name"),
    ],
)
def test_wrong_json_is_refused(manifest, line, said):
    """With the file and the line; anything but an object with texts where texts belong."""
    assert complaint(manifest('{"content": "a"}\n' + line + "\n", "list.jsonl")).startswith(f"list.jsonl:2: {said}")


@pytest.mark.parametrize("key", sorted(Settings.names(scope="machine")))
def test_a_manifest_decides_nothing_about_the_machine(manifest, key):
    """Where else is written, who is connected to and how much is used stays with who started the batch."""
    said = f"{key} applies to the whole batch, wanted it on the command line"
    assert complaint(manifest(f"content,{key}\na.jpg,\n")) == f"list.csv:1: {said}"
    nested = json.dumps({"content": "a.jpg", "settings": {key: 1}})
    assert complaint(manifest(nested, "list.jsonl")) == f"list.jsonl:1: {said}"


def test_a_manifest_has_an_end(manifest):
    """One that is too large is refused, without reading all of it."""
    path = manifest("content\n")
    with path.open("r+b") as file:
        file.truncate(MAX_BYTES + 1)
    assert complaint(path) == "list.csv: got more than 64 MiB, wanted a smaller manifest; split it"


def test_a_manifest_that_cannot_be_read(tmp_path):
    """The reason is the system's."""
    (tmp_path / "list.csv").mkdir()
    assert complaint(tmp_path / "list.csv") == "list.csv: cannot be read (Is a directory), wanted a manifest"


def test_wrong_values_are_left_to_the_picture(manifest):
    """A bad setting, preset or style must fail one picture, not the night; the message then names the line."""
    path = manifest("content,style,preset,tile\nno.jpg,no.jpg,no-such,12\n")
    (entry,) = read_manifest(path)
    with pytest.raises(SettingsError, match=r"list\.csv:2: tile: got 12,"):
        load_settings(own=entry.overrides, place=entry.place)


def test_deeply_nested_values_are_refused_by_the_settings(manifest):
    """They end in a message, not in a crash of the night."""
    line = '{"content": "a", "steps": ' + "[" * 500 + "]" * 500 + "}"
    (entry,) = read_manifest(manifest(line, "list.jsonl"))
    with pytest.raises(SettingsError, match=r"list.jsonl:1: steps"):
        load_settings(own=entry.overrides, place="list.jsonl:1")


def test_manifests_are_told_by_extension(tmp_path):
    """In any case."""
    assert is_manifest(tmp_path / "a.CSV")
    assert is_manifest(tmp_path / "a.jsonl")
    assert not is_manifest(tmp_path / "a.json")


@given(st.binary(max_size=200) | st.text(st.sampled_from('content,style"|\n\r{}[]:0a/. ')).map(str.encode))
def test_any_bytes_are_entries_or_an_error(tmp_path_factory, data):
    """Both kinds of manifest end in entries or one clean error."""
    for name in ("any.csv", "any.jsonl"):
        path = tmp_path_factory.getbasetemp() / name
        path.write_bytes(data)
        with contextlib.suppress(SettingsError):
            assert all(isinstance(entry, Entry) for entry in read_manifest(path))


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1), min_size=1))
def test_contents_come_through_unchanged(tmp_path_factory, names):
    """Names written by the csv and json modules are read back, whatever is in them."""
    names = [f"x{name}x" for name in names]
    for kind in ("csv", "jsonl"):
        path = tmp_path_factory.getbasetemp() / f"names.{kind}"
        with path.open("w", encoding="utf-8", newline="") as file:
            if kind == "csv":
                csv.writer(file).writerows([["content"], *([name] for name in names)])
            else:
                file.writelines(json.dumps({"content": name}, ensure_ascii=False) + "\n" for name in names)
        assert [entry.content for entry in read_manifest(path)] == [path.parent / name for name in names]


@pytest.mark.parametrize("key", ["content", "style", "output", "preset", "init"])
def test_names_longer_than_any_file_has_are_refused(manifest, key):
    """Following a path of a million folders would take for ever."""
    path = manifest(json.dumps({"content": "a.jpg", key: "a/" * 500_000 + "x.png"}), "list.jsonl")
    assert complaint(path).startswith(f"list.jsonl:1: {key}: got 'a/a/")
    assert "wanted a file name" in complaint(path)
