"""How a mistyped name is answered."""

import pytest

from muralist.model.errors import choices, did_you_mean


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
