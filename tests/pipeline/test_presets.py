"""Presets: which source wins, and what is said about a wrong one."""

import contextlib
import os
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from muralist.model.architecture import ARCHITECTURES, architecture
from muralist.pipeline.errors import PipelineError, SettingsError
from muralist.pipeline.presets import (
    CONFIGS,
    MAX_BYTES,
    load_settings,
    preset_names,
    preset_text,
)
from muralist.pipeline.settings import Settings


@pytest.fixture
def preset(tmp_path):
    """A function that writes a preset file and gives its path."""

    def write(text, name="mine.yaml"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write


def complaint(*arguments, **sources):
    """The one-line message about some wrong sources."""
    with pytest.raises(SettingsError) as caught:
        load_settings(*arguments, **sources)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    return message


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_is_valid_and_explained(name):
    """A preset that comes with muralist gives settings and says in a comment what it is for."""
    assert isinstance(load_settings(name), Settings)
    assert preset_text(name).startswith(f"# {name}: ")


def test_the_presets_are_those_in_the_folder():
    """The names are computed, not typed by hand."""
    assert {"default", "draft", "poster"} <= set(preset_names())
    assert preset_names() == sorted(path.stem for path in CONFIGS.iterdir() if path.suffix == ".yaml")


def test_the_default_preset_changes_nothing():
    """Defaults live in the model alone."""
    assert load_settings() == Settings()


def test_each_source_beats_those_before_it(preset):
    """Defaults, extended preset, preset, flags, assignments: the last one to speak wins."""
    preset("base_size: 100\ntile: 600\nquality: 1\nedge_margin: 1\n", "base.yaml")
    mine = preset("extends: base.yaml\ntile: 700\nquality: 2\nedge_margin: 2\n")
    read = load_settings(mine, {"quality": 3, "edge_margin": 3}, ["edge_margin=4"])
    assert read == Settings(base_size=100, tile=700, quality=3, edge_margin=4)


def test_a_flag_that_was_not_given_changes_nothing(preset):
    """None stands for a flag the user did not write."""
    assert load_settings(preset("tile: 700"), {"tile": None, "size": None}).tile == 700


def test_an_assignment_can_take_a_setting_back(preset):
    """A null that is spelled out is a value like any other."""
    assert load_settings(preset("size: 700"), assignments=["size=null"]).size is None
    assert load_settings(preset("size: 700"), assignments=["size="]).size is None


def test_a_later_assignment_wins():
    """Repeating an assignment is how shells override aliases."""
    assert load_settings(assignments=["tile=600", "tile=700"]).tile == 700


def test_a_mapping_replaces_the_whole_mapping(preset):
    """Layers are never mixed with those of another source."""
    assert load_settings(preset("style_layers: {relu3_1: 2}")).style_layers == {"relu3_1": 2.0}


def test_what_a_manifest_says_of_a_picture_beats_all(preset):
    """It takes the place of other sizes and other networks' weights, as a source of its own; a null takes back."""
    mine = preset("print_size: 60x90cm\ntile: 600\n")
    assert load_settings(mine, {"size": 900}, ["tile=700"], {"width": 400, "tile": "800"}) == Settings(
        width=400, tile=800
    )
    assert load_settings(mine, {"width": 800, "height": 600}, own={"width": 400}) == Settings(width=400, tile=600)
    other = load_settings(mine, {"weights": "mine.pth"}, own={"network": "vgg19"})
    assert (other.network, other.weights) == ("vgg19", None)
    assert load_settings(mine, {"size": 900}, own={"size": None}).size is None


def test_a_block_is_chosen_by_a_manifests_network(preset):
    """The network of one picture decides which block of the batch's preset holds for it."""
    mine = preset("for_network: {vgg19: {style_weight: 7}}\n")
    assert load_settings(mine, own={"network": "vgg19"}).style_weight == 7


def test_a_manifests_line_is_to_blame(preset):
    """Its place stands before what is wrong in it, and before nothing else."""
    said = complaint(preset("tile: x"), {"quality": 0}, own={"size": 3}, place="list.csv:3").split("; ")
    blamed = {each.partition(": got")[0].rpartition("/")[2] for each in said}
    assert blamed == {"list.csv:3: size", "mine.yaml:1: tile", "quality"}


@pytest.mark.parametrize("key", sorted(Settings.names(scope="machine")))
@pytest.mark.parametrize("form", ["{key}: {value}", "for_network: {{compact: {{{key}: '{value}'}}}}"])
def test_a_preset_does_not_say_what_of_the_machine_to_take(preset, key, form):
    """Presets are handed on; a scheduler runs code, a scratch folder is written to, and workers and memory have to be
    there. Also not by extending.
    """
    value = "tcp://host:8786"
    mine = preset("\n" + form.format(key=key, value=value), "strange.yaml")
    said = (
        f"strange.yaml:2: {key}: got '{value}' in a preset, wanted it on the command line only; use its flag or --set"
    )
    assert said in complaint(mine)
    assert said in complaint(preset("extends: strange.yaml"), {key: "tcp://other:1"})


@pytest.mark.parametrize("line", ["workers: 100000", "threads: 100000", "memory: 900TiB", "max_pixels: 99000000000"])
def test_a_preset_of_a_stranger_takes_no_machine_down(preset, line):
    """Not even a `plan` would begin."""
    assert "in a preset, wanted it on the command line only" in complaint(preset(line))


def test_flags_and_assignments_say_where_to_write_and_whom_to_ask(preset):
    """What the user writes is the user's; a preset that leaves it open, as a sidecar's settings do, is fine."""
    mine = preset("scratch: null\nscheduler:\ntls_ca: null\ndevice: auto\nmax_pixels: 2000000000\n")
    assert load_settings(mine, {"scratch": "/tmp"}, ["scheduler=tls://a:1", "tls_ca=b"]) == Settings(
        scratch="/tmp", scheduler="tls://a:1", tls_ca="b"
    )


def test_a_later_size_takes_the_place_of_a_print_size(preset):
    """A flag beats the preset although the two settings have different names."""
    paper, pixels = preset("print_size: 60x90cm", "paper.yaml"), preset("size: 900", "pixels.yaml")
    assert load_settings(paper, {"size": 1000}) == Settings(size=1000)
    assert load_settings(pixels, assignments=["print_size=6x9in"]) == Settings(print_size="6x9in")
    assert load_settings(paper, assignments=["size=null"]) == Settings(print_size="60x90cm")


@pytest.mark.parametrize("rivals", [{"size": 900}, {"print_size": "6x9in"}])
def test_width_and_height_are_a_size_too(preset, rivals):
    """A flag --size beats a preset's width and height, and a width beats a preset's size."""
    sides = preset("width: 800\nheight: 600\n")
    assert load_settings(sides, rivals) == Settings(**rivals)
    ((key, value),) = rivals.items()
    assert load_settings(preset(f"{key}: {value}"), {"width": 800, "height": 600}) == Settings(width=800, height=600)
    assert load_settings(preset(f"{key}: {value}"), {}, ["width=800", "height=600"]) == Settings(width=800, height=600)
    assert load_settings(overrides={key: value}, assignments=["height=700"]) == Settings(height=700)


def test_a_side_takes_the_place_of_a_presets_other_side(preset):
    """With --width 400 over a preset of 800 x 600 the height follows the photograph; on one command line both stay."""
    sides = preset("width: 800\nheight: 600\naspect: 4:3\n")
    assert load_settings(sides, {"width": 400}) == Settings(width=400, aspect="4:3")
    assert load_settings(sides, {"height": 300}) == Settings(height=300, aspect="4:3")
    assert load_settings(overrides={"width": 400}, assignments=["height=300"]) == Settings(width=400, height=300)


def test_another_network_leaves_a_presets_weights_behind(preset):
    """A preset's weight file belongs to the preset's network; in one preset or on one command line they go together."""
    preset("network: vgg19\nweights: file.mat\n", "base.yaml")
    mine = preset("extends: base.yaml\n")
    assert load_settings(mine) == Settings(network="vgg19", weights="file.mat")
    assert load_settings(mine, {"network": "compact"}) == Settings()
    assert load_settings(mine, assignments=["network=compact"]) == Settings()
    assert load_settings(preset("extends: base.yaml\nnetwork: vgg16\n")) == Settings(network="vgg16")
    assert load_settings(mine, {"weights": "mine.pth"}, ["network=vgg16"]) == Settings(
        network="vgg16", weights="mine.pth"
    )
    assert load_settings(mine, {"network": "vgg16", "weights": "a.pth"}) == Settings(network="vgg16", weights="a.pth")


def test_one_source_cannot_ask_for_two_sizes(preset):
    """Nothing says which of two flags, or of two lines, is meant."""
    assert "exclude each other" in complaint(overrides={"size": 1000, "print_size": "60x90cm"})
    assert "mine.yaml:2: print_size: size and print_size exclude" in complaint(
        preset("size: 1000\nprint_size: 60x90cm\n")
    )


@pytest.mark.parametrize("text", ["", "\n", "# nothing yet\n", "---\n", "null\n", "{}\n", "\ufeff"])
def test_an_empty_preset_changes_nothing(preset, text):
    """A file of comments is a good start for a preset."""
    assert load_settings(preset(text)) == Settings()


def test_presets_are_read_as_plain_values(preset):
    """Numbers mean what they look like, and windows line ends and a byte order mark do no harm."""
    text = "\ufefftile: 0600\r\nloss_pixels: 2e9\r\nlearning_rate: [1e-3]\r\nconsensus: no\r\nnetwork: 'null'\r\n"
    read = load_settings(preset(text))
    expected = {"tile": 600, "loss_pixels": 2_000_000_000, "learning_rate": [0.001], "consensus": False}
    assert read == Settings(network="null", **expected)


def test_a_preset_can_extend_one_that_comes_with_muralist(preset):
    """Names and paths can be mixed."""
    assert load_settings(preset("extends: draft\ntile: 600\n")) == load_settings("draft", {"tile": 600})


def test_extends_counts_from_its_own_file(preset, tmp_path):
    """A preset finds its neighbors wherever muralist is started."""
    (tmp_path / "deeper").mkdir()
    preset("tile: 600", "base.yaml")
    assert load_settings(preset("extends: ../base.yaml", "deeper/mine.yaml")).tile == 600


def test_a_preset_without_suffix_is_found_by_its_folder(preset):
    """Shells offer files such as /dev/fd/63 as presets."""
    assert load_settings(preset("tile: 600", "mine")).tile == 600


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("tile: 12", "tile: got 12, wanted greater than or equal to 64"),
        ("overlapp: 3", "overlapp: unknown key, did you mean 'overlap'?"),
        ("Tile: 512", "Tile: unknown key, did you mean 'tile'?"),
        ("zzzzzzzz: 3", "zzzzzzzz: unknown key"),
        ("1: 2", "1: unknown key"),
        ("<<: {tile: 512}", "<<: unknown key"),
        ("tile: yes", "tile: got 'yes', wanted a valid integer"),
        ("tile: true", "tile: got True, wanted a number, not true or false"),
        ("tile: .inf", "tile: got '.inf', wanted a valid integer"),
        ("style_weight: 1e999", "style_weight: got inf, wanted a finite number"),
        ("quality: 300.5", "quality: got 300.5, wanted a valid integer"),
        ("seed: " + "9" * 4000, "seed: got "),
        ("betas: [0.5]", "betas: got [0.5], wanted two numbers"),
        ("style_layers: {relu1_1: -1}", "style_layers.relu1_1: got -1, wanted greater than or equal to 0"),
        ("print_size: 60x90", "print_size: got print size '60x90', wanted two lengths"),
        ("aspect: 0:3", "aspect: got aspect '0:3', wanted sides above 0"),
        ("width: 80\naspect: 1:1\nheight: 70", "aspect: got width 80 and height 70, which contradict aspect 1:1"),
        ("size: 80\nwidth: 70", "width: size and width exclude each other"),
        ("tile: 200", "overlap: tile too small for its overlap: got tile 200 and overlap 128"),
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
            f"{mine}:2: tile: got 12, wanted greater than or equal to 64",
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
        ("tile=12", "--set: tile: got 12, wanted greater than or equal to 64"),
        ("tile=200", "--set: overlap: tile too small for its overlap"),
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


@pytest.mark.parametrize("name", ["", "..", "a\0b"])
def test_odd_names_are_unknown_presets(name):
    """A name never leads out of the folder of presets."""
    assert complaint(name).startswith(f"unknown preset {name!r}")


@pytest.mark.parametrize("name", ["missing.yaml", ".", "a/\0.yaml"])
def test_unreadable_files_are_refused(tmp_path, name):
    """A missing file, a folder and an impossible name are named with the reason."""
    assert "cannot be read (" in (message := complaint(f"{tmp_path}/{name}"))
    assert "wanted a preset file" in message


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


def test_the_text_of_a_preset_can_be_shown(preset):
    """Names and paths work alike, and a wrong name is an error here too."""
    assert preset_text(preset("tile: 12")) == "tile: 12"
    with pytest.raises(SettingsError, match="'draft'"):
        preset_text("drft")


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


@pytest.mark.parametrize("preset", ["default", "draft", "poster"])
@pytest.mark.parametrize("network", sorted(ARCHITECTURES))
def test_our_presets_suit_every_network(preset, network):
    """Whichever network is named, the layers are its own."""
    architecture(network).check_layers(load_settings(preset, {"network": network}).layers)
    assert load_settings(preset).layers == Settings().layers


BLOCK = "network: vgg19\nstyle_weight: 5\ntile: 300\nfor_network:\n  compact:\n    style_weight: 7\n    tile: 400\n"


@pytest.mark.parametrize(
    ("flags", "wanted"),
    [
        ({}, ("vgg19", 5, 300)),
        ({"network": "compact"}, ("compact", 7, 400)),
        ({"network": "vgg16"}, ("vgg16", 5, 300)),
        ({"network": "compact", "tile": 500}, ("compact", 7, 500)),
    ],
)
def test_a_block_holds_for_its_network_only(preset, flags, wanted):
    """It beats the preset's own lines, and flags beat it; the network counts that is painted with in the end."""
    found = load_settings(preset(BLOCK), flags)
    assert (found.network, found.style_weight, found.tile) == wanted


def test_a_block_is_beaten_by_the_preset_that_extends_it(preset):
    """What stands later counts, be it in a block or not; `--set` names the network as well as a flag."""
    preset(BLOCK, "base.yaml")
    found = load_settings(preset("extends: base.yaml\ntile: 600\n"), assignments=["network=compact"])
    assert (found.style_weight, found.tile) == (7, 600)


@pytest.mark.parametrize(
    ("block", "problem"),
    [
        ("for_network: compact", "for_network: got 'compact', wanted networks with settings each"),
        ("for_network: {compact: 3}", "for_network: got {'compact': 3}, wanted networks with settings each"),
        ("for_network: {compcat: {tile: 300}}", "for_network: unknown network 'compcat'; did you mean 'compact'?"),
        ("for_network: {compact: {tyle: 300}}", "tyle: unknown key"),
        ("for_network: {compact: {tile: 3}}", "tile: got 3, wanted"),
    ],
)
def test_a_wrong_block_is_refused(preset, block, problem):
    """The error says where, what was found and what was wanted."""
    path = preset(f"tile: 400\n{block}\n")
    with pytest.raises(SettingsError) as caught:
        load_settings(path)
    assert f"{path}:2: {problem}" in str(caught.value)


def test_strength_and_a_content_weight_take_each_others_place(preset):
    """The later of the two to be set counts: a flag beats a published preset's weight, and the other way round."""
    assert load_settings("prisma").content_weight == 5
    assert load_settings("poster", {"strength": 0.7}, ["content_weight=2"]).content_weight == 2
    assert load_settings(preset("content_weight: 3"), {"strength": 0.7}).content_weight is None
    weighed = load_settings(preset("strength: 0.2"), {"content_weight": 3.0})
    assert (weighed.content_weight, weighed.strength) == (3.0, Settings().strength)


def test_learning_rate_and_average_suit_the_optimizer(preset):
    """Unless they are set, both are what the optimizer needs: a step of L-BFGS has another unit than one of Adam."""
    lbfgs, adam = load_settings(), load_settings(overrides={"optimizer": "adam"})
    assert (lbfgs.learning_rate, lbfgs.ema_decay) == ((1.0,), 0.0)
    assert (adam.learning_rate, adam.ema_decay) == ((0.02, 0.02, 0.015), 0.9)
    assert load_settings(preset("learning_rate: 0.5"), {"optimizer": "adam"}).learning_rate == (0.5,)


def test_strength_needs_a_relative_content_loss():
    """Other formulas have units: a strength asked of them is refused with both ways out."""
    with pytest.raises(SettingsError, match=r"content_weight: .*content_loss prisma.*content_loss relative"):
        load_settings("prisma", {"strength": 0.7})
    relative = load_settings("prisma", {"strength": 0.7}, ["content_loss=relative"])
    assert (relative.content_weight, relative.strength) == (None, 0.7)


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
    assert f"{path}: this is no preset, wanted a file of settings; if it is yours, `muralist presets" in said
    for word in ("hunter2", "root", "password", "bash"):
        assert word not in said.replace(str(tmp_path), "")
    with pytest.raises(SettingsError, match="no preset") as caught:
        load_settings(str(path), own={}, place="list.csv:2", foreign=True)
    assert "hunter2" not in str(caught.value)


def test_a_bleed_without_its_unit_is_no_old_word():
    """A flag is a text, and `--bleed 3` lacks its unit; it never meant the edge margin."""
    with pytest.raises(SettingsError, match=r"bleed '3', .* 3mm"):
        load_settings("default", {"bleed": "3", "print_size": "A1"})


def test_sizes_in_bytes_are_explained():
    """What is no number of bytes is told with an example."""
    with pytest.raises(SettingsError, match=r"max_file: got 'banana', .* 128MB .* 4GiB"):
        load_settings("default", {"max_file": "banana"})


@pytest.mark.parametrize("place", ["preset", "network", "flag", "assignment"])
def test_old_words_are_understood_with_a_warning(preset, place):
    """For one release, wherever they stand; the warning says where, and the new word."""
    text = {"preset": "bleed: 48\n", "network": "for_network: {compact: {bleed: 48}}\n"}.get(place, "size: 100\n")
    flags, assignments = {"bleed": 48} if place == "flag" else {}, ["bleed=48"] if place == "assignment" else []
    with pytest.warns(FutureWarning, match=r"bleed .*edge_margin: 48") as told:
        found = load_settings(preset(text), flags, assignments)
    assert found.edge_margin == 48
    assert len(told) == 1
    where = {"preset": "mine.yaml:1: ", "network": "mine.yaml:1: ", "assignment": "--set: ", "flag": ""}[place]
    assert str(told[0].message).endswith(f"{where}bleed is called edge_margin now; write edge_margin: 48")


OLD = {
    **{"colours": ("color", "luminance"), "coarse": ("base_size", 128), "history": ("lbfgs_history", 3)},
    **{"plateau": ("early_stop", 0.1), "average_decay": ("ema_decay", 0.5), "chunks": ("tile_grid", (2, 3))},
    **{"save_every": ("snapshot_every", 9), "keep": ("iterate", "best"), "bleed": ("edge_margin", 48)},
}


@pytest.mark.parametrize("old", OLD)
def test_every_old_name_sets_what_has_a_new_one(preset, old):
    """In a preset, in a manifest's line, and from Python."""
    assert old in Settings.old_names()
    new, value = OLD[old]
    text = list(value) if isinstance(value, tuple) else value
    with pytest.warns(FutureWarning, match=f"mine.yaml:1: {old} .*{new}"):
        assert getattr(load_settings(preset(f"{old}: {text}\n")), new) == value
    with pytest.warns(FutureWarning, match=f"list.csv:3: {old} .*{new}"):
        assert getattr(load_settings(own={old: text}, place="list.csv:3"), new) == value
    with pytest.warns(FutureWarning, match=f"^{old} .*{new}"):
        assert getattr(Settings(**{old: text}), new) == value


def test_all_old_names_are_known():
    """None is left out of the test above, and the new meaning of a word is not taken for the old one."""
    assert OLD.keys() == Settings.old_names().keys()
    assert load_settings(overrides={"bleed": "3mm"}).bleed == "3mm"
    assert Settings(bleed="3mm").bleed == "3mm"


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_an_old_name_beside_the_new_one(preset):
    """Which of them counts would be a guess."""
    assert "mine.yaml:2: color: given twice" in complaint(preset("color: style\ncolours: luminance\n"))
    with pytest.raises(ValidationError, match=r"color .*twice"):
        Settings(**{"color": "style", "colours": "luminance"})


def test_a_later_source_beats_an_old_name(preset):
    """A preset's old word is the same setting as the command line's new one."""
    with pytest.warns(FutureWarning):
        assert load_settings(preset("colours: luminance\n"), {"color": "statistics"}).color == "statistics"
