"""Old names of settings: understood for one release, with a warning."""

import pytest
from complaints import complaint

from muralist.pipeline.errors import SettingsError
from muralist.pipeline.presets import load_settings
from muralist.pipeline.settings import Settings


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
    with pytest.raises(SettingsError, match="color"):
        Settings(**{"color": "style", "colours": "luminance"})


def test_a_later_source_beats_an_old_name(preset):
    """A preset's old word is the same setting as the command line's new one."""
    with pytest.warns(FutureWarning):
        assert load_settings(preset("colours: luminance\n"), {"color": "statistics"}).color == "statistics"
