"""Presets: which source of a setting wins."""

import json
from pathlib import Path

import pytest
from complaints import complaint

from muralist.model.architecture import ARCHITECTURES, architecture
from muralist.pipeline.errors import SettingsError
from muralist.pipeline.presets import (
    CONFIGS,
    load_settings,
    preset_names,
    preset_text,
)
from muralist.pipeline.settings import Settings


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
    assert load_settings(Path(preset("tile: 700")), {"tile": None, "size": None}).tile == 700


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
    said = f"strange.yaml:2: {key}: got '{value}' in a preset, where it is not allowed; use its flag or --set"
    assert said in complaint(mine)
    assert said in complaint(preset("extends: strange.yaml"), {key: "tcp://other:1"})


@pytest.mark.parametrize("line", ["workers: 100000", "threads: 100000", "memory: 900TiB", "max_pixels: 99000000000"])
def test_a_preset_of_a_stranger_takes_no_machine_down(preset, line):
    """Not even a `plan` would begin."""
    assert "in a preset, where it is not allowed" in complaint(preset(line))


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


def test_other_steps_leave_a_presets_finest_level_behind(preset):
    """What a preset does at the finest level belongs to its other steps; set together, they stay together."""
    both = preset("steps: [30, 20]\nfinest_steps: 90\n")
    assert load_settings(both) == Settings(steps=(30, 20), finest_steps=(90,))
    assert load_settings(both, assignments=["steps=50"]).finest_steps == (50,)
    assert load_settings(both, assignments=["finest_steps=70"]) == Settings(steps=(30, 20), finest_steps=(70,))
    assert load_settings(both, assignments=["steps=50", "finest_steps=70"]) == Settings(steps=50, finest_steps=70)


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


def test_usual_values_exclude_others_too(preset):
    """What is given with its usual value is given, by flags and in a manifest; a preset may name every setting."""
    both = {"strength": 0.5, "content_weight": 3}
    wanted = "content_weight: strength and content_weight exclude each other, wanted only one of them"
    assert complaint(overrides=both) == wanted
    assert complaint(own=both, place="list.csv:3") == f"list.csv:3: {wanted}"
    assert load_settings(preset("strength: 0.5\ncontent_weight: 3\n")).content_weight == 3
    assert load_settings(overrides={"strength": 0.5}, assignments=["content_weight=3"]).content_weight == 3
    assert load_settings(overrides={"strength": 0.5}, own={"content_weight": 3}).content_weight == 3


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


def test_the_text_of_a_preset_can_be_shown(preset):
    """Names and paths work alike, and a wrong name is an error here too."""
    assert preset_text(preset("tile: 12")) == "tile: 12"
    with pytest.raises(SettingsError, match="'draft'"):
        preset_text("drft")


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


@pytest.mark.parametrize("preset", ["gcucurull-alexnet", "johnson"])
def test_a_preset_for_another_network_is_named(preset):
    """With the network that it is for, unless the layers are given as well."""
    own, other = load_settings(preset).network, "alexnet" if preset == "johnson" else "compact"
    with pytest.raises(SettingsError, match=f"{preset} .*{own}.*{other}.*--network"):
        load_settings(preset, {"network": other})
    layers = ["style_layers={relu1: 1}", "content_layers={relu4: 1}"] if other == "alexnet" else []
    layers = layers or ["style_layers={relu1_1: 1}", "content_layers={relu4_2: 1}"]
    assert load_settings(preset, {"network": other}, layers).network == other
    assert load_settings("johnson", {"network": "compact"}).network == "compact"
    own = load_settings("johnson", {"network": "compact"}, ["style_layers={relu9_9: 1}"])
    assert own.active_style_layers == {"relu9_9": 1}  # told as unknown where the network is asked for it


def test_strength_needs_a_relative_content_loss():
    """Other formulas have units: a strength asked of them is refused with both ways out."""
    with pytest.raises(SettingsError, match=r"content_weight: .*content_loss prisma.*preset.*content_loss relative"):
        load_settings("prisma", {"strength": 0.7})
    relative = load_settings("prisma", {"strength": 0.7}, ["content_loss=relative"])
    assert (relative.content_weight, relative.strength) == (None, 0.7)


def test_masks_in_a_sidecar_are_named_anew_or_left_out(tmp_path):
    """What the refusal advises works; `faces` belongs to no picture."""
    painted = Settings(protect="faces", strength_map="map.png", regions="sky.png=wave.jpg")
    path = tmp_path / "out.png.json"
    path.write_text(json.dumps({"settings": painted.model_dump(mode="json"), "identity": {}}))
    with pytest.raises(SettingsError, match=r"regions: .*masks belong to one picture; .*--set regions=null"):
        load_settings(path)
    given = {"strength_map": "other.png"}
    assert load_settings(path, given, ["regions=null"]) == Settings(protect="faces", strength_map="other.png")
    assert load_settings(path, {}, ["regions=null"], own=given).strength_map == "other.png"


def test_a_sidecar_is_a_preset(tmp_path):
    """With the settings of its painting, but for those of the machine, however many losses it has."""
    painted = Settings(strength=0.7, tile=600, workers=3, style_layers={"relu3_1": 2})
    sidecar = {"losses": [0] * 50_000, "settings": painted.model_dump(mode="json"), "identity": {}}
    path = tmp_path / "out.png.json"
    path.write_text(json.dumps(sidecar))
    assert load_settings(path, {"size": 900}) == painted.model_copy(update={"workers": None, "size": 900})
    path.write_text(json.dumps(sidecar | {"settings": {"sise": 3}}))
    with pytest.raises(SettingsError, match="sise: unknown key"):
        load_settings(path)
    for foreign in ({"foreign": True}, {"overrides": {"size": 900}}):
        path.write_text(json.dumps({"losses": [0] * 50_000}))
        with pytest.raises(SettingsError, match=r"not a preset|more than 65536 bytes"):
            load_settings(path, **foreign)
