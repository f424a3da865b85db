"""Batches: which pictures inputs name, in which order, and where their paintings go."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muralist.pipeline.batch.collisions import check_collisions
from muralist.pipeline.batch.items import Item, find_doubles, find_items, find_unsupported, told_unsupported
from muralist.pipeline.batch.pairs import told_doubles
from muralist.pipeline.errors import SettingsError
from muralist.pipeline.settings import Settings

STYLE = (Path("style.jpg"),)
OUT = Path("out")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Every test works in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def touch(*names):
    """Make empty files, and the folders they lie in: only names matter here."""
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def found(*inputs, styles=STYLE, output=OUT, **options):
    """Contents and outputs of the items, the outputs below the output folder."""
    items = checked(inputs, styles, output, **options)
    return [(str(item.content), str(item.output.relative_to(Path.cwd() / output))) for item in items]


def checked(inputs, styles, output, **options):
    """The items of a batch that may begin."""
    items = find_items(inputs, styles, output, **options)
    check_collisions(items, lambda item: Settings(**item.overrides), output / "report.jsonl", ())
    return items


def complaint(*inputs, styles=STYLE, output=OUT, **options):
    """The one-line message about inputs."""
    with pytest.raises(SettingsError) as caught:
        checked(inputs, styles, output, **options)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_a_folder_is_mirrored():
    """Everything below it that is a picture by its extension, sorted; nothing hidden."""
    touch("p/b.JPG", "p/a/c.tif", "p/a/z/d.webp", "p/a.png", "p/notes.txt", "p/list.csv", "p/.x.jpg", "p/.git/e.jpg")
    assert found("p") == [
        ("p/a/c.tif", "a/c.tif"),
        ("p/a/z/d.webp", "a/z/d.webp"),
        ("p/a.png", "a.png"),
        ("p/b.JPG", "b.JPG"),
    ]


def test_pictures_of_other_formats_are_counted():
    """What folders and globs would give if it could be read is named, but nothing hidden, painted, or no picture."""
    touch("p/a.jpg", "p/b.TGA", "p/c/d.tga", "p/c/e.exr", "p/f.svg", "p/.g.tga", "p/.h/i.tga", "p/notes.txt")
    touch("p/out/j.bmp")
    output = Path("p/out")
    unsupported = find_unsupported(["p", "p/a.jpg", "p/**/*.tga"], output)
    assert [str(path) for path in unsupported] == ["p/b.TGA", "p/c/d.tga", "p/c/e.exr", "p/f.svg"]
    line = "left out: 2 .tga, 1 .exr, 1 .svg; convert them to JPEG, PNG or TIFF"
    assert told_unsupported(unsupported) == line


def test_a_folder_of_other_formats_alone():
    """Where nothing can be read, it is said what there is instead."""
    touch("p/a.tga", "p/b.tga")
    assert "got no picture" in complaint("p")
    assert "left out: 2 .tga; convert them" in complaint("p")
    assert "left out: 2 .tga; convert them" in complaint("p/*")


def test_an_item_knows_everything():
    """Number, styles, place and an absolute output; preset and settings only if a manifest has some."""
    touch("p/a.jpg")
    styles = (Path("s.jpg"), Path("t.jpg"))
    assert find_items(["p"], styles, OUT) == [Item(1, Path("p/a.jpg"), styles, None, {}, Path.cwd() / "out/a.jpg", "p")]


def test_paths_may_lead_through_parents_and_hidden_folders(here, monkeypatch):
    """Only what lies hidden below a folder that was named is left out."""
    touch(".photos/a/b.jpg", "work/x")
    monkeypatch.chdir("work")
    assert found("../.photos") == [("../.photos/a/b.jpg", "a/b.jpg")]
    assert found("../.photos/*/*.jpg") == [("../.photos/a/b.jpg", "a/b.jpg")]
    assert found(str(here / ".photos")) == [(str(here / ".photos/a/b.jpg"), "a/b.jpg")]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("p/*.jpg", ["a.jpg"]),
        ("p/**/*.jpg", ["a.jpg", "b/c.jpg", "b/d/e.jpg"]),
        ("p/**", ["a.jpg", "b/c.jpg", "b/d/e.jpg", "f.png"]),
        ("p/[bx]/?.jpg", ["b/c.jpg"]),
        ("./p/b/**/e.*", ["d/e.jpg"]),
        ("*/a.jpg", ["p/a.jpg"]),
    ],
)
def test_a_glob_is_mirrored_below_its_fixed_part(pattern, names):
    """Quoted globs are read by muralist; hidden files and other extensions do not count."""
    touch("p/a.jpg", "p/b/c.jpg", "p/b/d/e.jpg", "p/f.png", "p/g.txt", "p/.h.jpg", "p/.i/j.jpg")
    assert [output for _, output in found(pattern)] == names


def test_a_glob_below_a_folder_that_looks_like_one():
    """A folder that is there is meant."""
    touch("p [2024]/q[1]/a.jpg", "p [2024]/b.jpg")
    assert found("p [2024]/*.jpg") == [("p [2024]/b.jpg", "b.jpg")]
    assert found("p [2024]/q[1]/**") == [("p [2024]/q[1]/a.jpg", "a.jpg")]
    assert found("p [2024]/*/*") == [("p [2024]/q[1]/a.jpg", "q[1]/a.jpg")]


def test_a_file_that_looks_like_a_glob_is_a_file():
    """What is there is meant."""
    touch("a[1].jpg")
    assert found("a[1].jpg") == [("a[1].jpg", "a[1].jpg")]


def test_files_go_straight_into_the_output_folder():
    """In the order they were named, whatever their extension; what cannot be written becomes PNG."""
    touch("p/b.jpg", "q/a.dat")
    assert found("p/b.jpg", "q/a.dat") == [("p/b.jpg", "b.jpg"), ("q/a.dat", "a.png")]


def test_the_output_folder_is_no_input():
    """Paintings of the night before are not painted again, neither by a folder nor by a glob."""
    touch("p/a.jpg", "p/out/b.jpg", "p/out/c/d.jpg")
    assert found("p", output=Path("p/out")) == [("p/a.jpg", "a.jpg")]
    assert found("p/**/*.jpg", output=Path("p/out")) == [("p/a.jpg", "a.jpg")]
    assert found("p/out/c", output=Path("p/out")) == [("p/out/c/d.jpg", "d.jpg")]


def test_the_output_folder_may_lie_above_the_inputs():
    """Only an output folder within an input is left out."""
    touch("p/q/a.jpg")
    assert found("p", output=Path(".")) == [("p/q/a.jpg", "q/a.jpg")]
    assert found("p/*/*.jpg", output=Path(".")) == [("p/q/a.jpg", "q/a.jpg")]


def test_links_are_followed_once():
    """Linked folders belong to the archive; circles end, and every real folder is entered once."""
    touch("p/a.jpg", "elsewhere/b.jpg")
    Path("p/x").symlink_to("../elsewhere")
    Path("p/y").symlink_to("../elsewhere")
    Path("elsewhere/back").symlink_to("../p")
    Path("elsewhere/self").symlink_to(".")
    Path("p/out").symlink_to("../out")
    touch("out/painted.jpg")
    assert found("p") == [("p/a.jpg", "a.jpg"), ("p/x/b.jpg", "x/b.jpg")]
    assert [content for content, _ in found("p/**/*.jpg")] == ["p/a.jpg"]


def test_a_picture_that_is_missed_is_not_passed_over():
    """A link that leads nowhere will fail with a reason; a pipe would be waited for without end."""
    touch("p/a.jpg")
    Path("p/b.jpg").symlink_to("gone.jpg")
    os.mkfifo("p/c.jpg")
    assert [content for content, _ in found("p")] == ["p/a.jpg", "p/b.jpg"]


def test_a_folder_that_cannot_be_listed_is_said(monkeypatch):
    """Its pictures would be missing in the morning without a word."""
    touch("p/a.jpg", "p/locked/b.jpg")
    scandir = os.scandir

    def locked(path):
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", locked)
    assert complaint("p") == "p/locked: cannot be listed (Permission denied); change its permissions"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("no", "no: there is no such file or folder; check the path"),
        ("", ": there is no such file or folder"),
        ("empty", "empty: got no picture, wanted at least one (JPEG, PNG, TIFF, WebP, "),
        ("no/*.jpg", "no/*.jpg: got no picture, wanted at least one"),
        pytest.param(
            *("empty/a**/b", "empty/a**/b: not a pattern ("),
            marks=pytest.mark.skipif(sys.version_info >= (3, 13), reason="means a*/b since Python 3.13"),
        ),
        ("out", "out: got no picture, wanted at least one"),
        ("list.csv", "list.csv: got no picture, wanted at least one line"),
        ("list.jsonl", "list.jsonl:1: cannot be read as JSON"),
        ("https://example.com/photos", "https://example.com/photos: URLs are not read"),
        ("s3://bucket/photos/*.jpg", "s3://bucket/photos/*.jpg: URLs are not read"),
        ("https://example.com/a.jpg?w=1", "https://example.com/a.jpg?w=1: URLs are not read"),
        ("x" * 5000, f"{'x' * 5000}: there is no such file"),
    ],
)
def test_an_input_that_names_nothing_is_an_error(text, said):
    """A night that would paint less than was meant does not begin."""
    touch("good/a.jpg", "empty/a.txt", "out/a.jpg")
    Path("list.csv").write_text("content\n")
    Path("list.jsonl").write_text("{")
    assert complaint("good", text).startswith(said)


def test_each_style_gives_an_item_of_its_own():
    """Photographs times styles, named after both; without the option the styles are blended."""
    touch("p/a.jpg", "p/b.jpg", "monet/x.jpg")
    styles = (Path("wave.v2.jpg"), Path("monet"))
    assert [output for _, output in found("p", styles=styles, each_style=True)] == [
        "a-wave.v2.jpg",
        "a-monet.jpg",
        "b-wave.v2.jpg",
        "b-monet.jpg",
    ]
    assert found("p/a.jpg", styles=styles, template="{style}.png") == [("p/a.jpg", "wave.v2+monet.png")]
    assert [item.styles for item in find_items(["p/a.jpg"], styles, OUT, each_style=True)] == [(s,) for s in styles]
    assert find_items(["p/a.jpg"], (), OUT, each_style=True)[0].output.name == "a-none.jpg"


def test_templates_know_the_picture():
    """Numbers have the same number of digits, presets are short, folders are the photograph's."""
    touch(*(f"p/q/{letter}.jpg" for letter in "abcdefghij"))
    names = found("p", template="{number}-{folder}-{preset}.{ext}", preset="configs/mine.yaml")
    assert [output for _, output in names][::9] == ["q/01-q-mine.jpg", "q/10-q-mine.jpg"]


def test_a_manifest_speaks_for_its_pictures():
    """Style, preset, output and settings of its own; what it does not say is the batch's."""
    Path("m").mkdir()
    Path("m/list.csv").write_text(
        "content,style,preset,output,tile\n"
        "a/x.jpg,,,,\n"
        "y.jpg,wave.jpg|monet.jpg,draft,best/{number}-{preset}-{style}.tif,512\n"
    )
    first, second = find_items(["m/list.csv"], STYLE, OUT, preset="poster")
    assert first == Item(1, Path("m/a/x.jpg"), STYLE, None, {}, Path.cwd() / "out/a/x.jpg", "m/list.csv:2")
    assert second.styles == (Path("m/wave.jpg"), Path("m/monet.jpg"))
    assert (second.preset, second.overrides, second.place) == ("draft", {"tile": 512}, "m/list.csv:3")
    assert second.output == Path.cwd() / "out/best/2-draft-wave+monet.tif"


def test_names_that_no_file_can_have_are_left_to_the_picture():
    """A row that names a file of 5000 letters is one that will fail, not the end of the night."""
    Path("list.csv").write_text(f"content,style,output\n{'a' * 5000}.jpg,{'b' * 5000}.jpg,c.png\n")
    (item,) = find_items(["list.csv"], STYLE, OUT)
    assert item.output == Path.cwd() / "out/c.png"


def test_a_row_with_styles_is_not_multiplied():
    """`--each-style` is about the styles of the command line."""
    Path("list.jsonl").write_text('{"content": "a.jpg", "style": ["b.jpg", "c.jpg"]}\n{"content": "d.jpg"}\n')
    items = find_items(["list.jsonl"], [Path("s.jpg"), Path("t.jpg")], OUT, each_style=True)
    assert [item.output.name for item in items] == ["a-b+c.jpg", "d-s.jpg", "d-t.jpg"]


@pytest.mark.parametrize("output", ["../x.png", "/tmp/x.png", "a/../../x.png", "away/x.png", "x", "{stem!r}.png"])
def test_a_manifest_names_no_place_outside(here, output):
    """Neither by dots nor through a link in the output folder; the row is named."""
    Path("out").mkdir()
    Path("out/away").symlink_to(here)
    Path("list.csv").write_text(f"content,output\na.jpg,{output}\n")
    assert complaint("list.csv").startswith("list.csv:2: ")


def test_a_mirrored_link_in_the_output_folder_does_not_lead_out(here):
    """Whoever can write there must not make a batch write elsewhere."""
    touch("p/a/b.jpg", "out/x")
    Path("out/a").symlink_to(here)
    assert "a/b.jpg leads out of the output folder out" in complaint("p")


def test_two_paintings_in_one_file_are_refused():
    """Both are named, with a template that tells them apart."""
    touch("p/a.jpg", "p/a.png", "q/a.jpg")
    said = complaint("p", "q")
    both = "the painting of p/a.jpg (p) and the painting of q/a.jpg (q)"
    assert said.startswith(f"{both} would both be written to {Path.cwd() / 'out/a.jpg'}; ")
    assert said.endswith("with --name '{stem}-{number}.{ext}'")
    assert "would both be" in complaint("p", template="{stem}.tif")
    names = found("p", "q", template="{stem}-{number}.{ext}")
    assert [output for _, output in names] == ["a-1.jpg", "a-2.png", "a-3.jpg"]


def test_no_input_is_painted_over(here):
    """Neither a photograph nor a style, by whatever name; nor is a style folder filled with paintings."""
    touch("p/a.jpg", "p/b.jpg", "s/c.jpg")
    Path("door").symlink_to("p")
    assert "is an input" in complaint("p/a.jpg", output=Path("p"))
    assert "is an input" in complaint("p/a.jpg", output=Path("door"))
    assert "is an input" in complaint("p/a.jpg", output=Path("p"), template="b.jpg", styles=[Path("p/b.jpg")])
    assert "lies in a style folder" in complaint("p/a.jpg", output=Path("s"), styles=[Path("s")])
    assert found("p/a.jpg", output=Path("p"), template="{stem}-painted.png") == [("p/a.jpg", "a-painted.png")]


@given(
    st.lists(st.text("ab.{} -\\é", min_size=1, max_size=6), min_size=1, max_size=4),
    st.sampled_from([None, "{folder}/{stem}.png", "{number}.{ext}", "{stem}", "{stem}/../{stem}.png"]),
)
def test_paintings_stay_in_the_output_folder(names, template):
    """Whatever files are called, every output is a file of its own below the folder, or nothing begins."""
    paths = sorted({f"hold/{name}.jpg" for name in names})
    touch(*paths)
    try:
        items = checked(paths, STYLE, OUT, template=template)
    except SettingsError:
        return
    outputs = [item.output for item in items]
    assert len(set(outputs)) == len(outputs) == len(paths)
    assert all(Path(os.path.realpath(path)).is_relative_to(Path.cwd() / OUT) for path in outputs)


def test_shots_that_are_there_twice():
    """Of a raw photograph and a JPEG or HEIC of the same name, the one that is wanted is painted, or both."""
    touch("p/1.NEF", "p/1.jpg", "p/2.dng", "p/2.HEIC", "p/3.cr2", "p/4.jpg", "p/q/1.nef", "p/5.raf", "p/5.png")

    def contents(pairs, *inputs):
        return [str(item.content) for item in find_items(inputs or ["p"], [], OUT, raw_pairs=pairs)]

    alone = ["p/3.cr2", "p/4.jpg", "p/5.png", "p/5.raf", "p/q/1.nef"]
    assert contents("jpeg") == sorted(["p/1.jpg", "p/2.HEIC", *alone])
    assert contents("raw") == sorted(["p/1.NEF", "p/2.dng", *alone])
    assert len(contents("both")) == 9
    assert contents("jpeg", "p/1.NEF", "p/1.jpg") == ["p/1.NEF", "p/1.jpg"]  # named one by one
    assert contents("jpeg", "p/[12].*") == ["p/1.jpg", "p/2.HEIC"]
    left = find_doubles(["p"], OUT, "jpeg")
    assert left == [Path("p/1.NEF"), Path("p/2.dng")]
    assert told_doubles(left, "jpeg").startswith("left out: 2 raw photographs beside the same shot as JPEG or HEIC;")
    assert told_doubles(left, "raw").startswith("left out: 2 JPEG or HEIC beside the same shot as a raw photograph;")
    assert find_doubles(["p"], OUT, "both") == []


def test_pages_are_pictures():
    """A page of a TIFF is named with `#`; its painting gets the page into its name, and the extension of the file."""
    touch("p/scan.tif")
    items = find_items(["p/scan.tif", "p/scan.tif#2", "p/scan.tif#10"], [], Path("out"))
    assert [item.output.name for item in items] == ["scan.tif", "scan-2.tif", "scan-10.tif"]
    with pytest.raises(SettingsError, match=r"p/other\.tif#2: "):
        find_items(["p/other.tif#2"], [], Path("out"))
