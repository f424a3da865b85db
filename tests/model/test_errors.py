"""How a mistyped name is answered, and what an error says of names that do harm."""

import pytest

from muralist.model.errors import WeightsError, choices, did_you_mean
from muralist.pipeline.errors import OutputError, SettingsError


@pytest.mark.parametrize(
    ("name", "known", "question"),
    [
        ("RELU3-1", ["relu1_1", "relu3_1"], "did you mean 'relu3_1'?"),
        ("relu31", iter(["relu1_1", "Relu3_1"]), "did you mean 'Relu3_1'?"),
        ("banana", ["relu1_1"], ""),
        ("banana", [], ""),
    ],
)
def test_the_nearest_name_is_asked_for(name, known, question):
    """Case does not count, and a name like nothing has no nearest."""
    assert did_you_mean(name, known) == question


def test_all_names_are_told():
    """In their own order, behind the question if there is one."""
    assert choices("tlie", iter(["overlap", "tile"])) == "did you mean 'tile'? known: overlap, tile"
    assert choices("banana", ["overlap", "tile"]) == "known: overlap, tile"


@pytest.mark.parametrize("error", [SettingsError("{}"), OutputError("{}"), WeightsError("{}", "is broken")])
@pytest.mark.parametrize(
    ("name", "told"), [("a\nb", r"a\nb"), ("\x1b[2J", r"\x1b[2J"), ("\udcff", r"\udcff"), ("ä b", "ä b")]
)
def test_a_message_is_one_line_and_steers_no_terminal(error, name, told):
    """Line breaks, control codes and bytes that are no text are written out; the rest of a name stays."""
    arguments = [str(argument).format(name) for argument in error.args]
    assert told in str(type(error)(*arguments))
    assert str(type(error)(*arguments)).isprintable()
